"""What an encoder attends to, where it finds things and how fast it is: one analysis per file, each with one figure.

`python tools/analyse.py NAME` runs one. Each file has a function `run` that returns a `Finding`: scalars with units,
the numbers behind the figure, and the figure.
"""
