"""Scale "tiny": the embedded scenes at 64 pixels, 256 of them held out."""
