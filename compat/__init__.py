"""Mends that let the wheels of today work together (filled in below)."""
