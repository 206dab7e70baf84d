"""What a run is: its configuration, its seeded data order, its loop, its exact resume and its result record.

This package stays free of heavy imports so that `scenes` and `reports` can use `engine.errors` and `engine.files`
alone; `engine.parts` registers what a configuration names.
"""
