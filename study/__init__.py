"""A run from data to record, and many of them."""
