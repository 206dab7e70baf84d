"""What a run is: its configuration, its seeded data order, its loop, its exact resume and its result record."""
