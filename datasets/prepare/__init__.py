"""Data sets as a user has them, checked and put where the configs read them: `tools/prepare.py`, docs/data.md."""
