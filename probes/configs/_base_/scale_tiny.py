"""Scale "tiny": the embedded scenes at 64 pixels, 128 to learn from and 256 held out."""
