"""The embedded data: a procedural room-like world with exact labels, and its export to the standard layouts."""
