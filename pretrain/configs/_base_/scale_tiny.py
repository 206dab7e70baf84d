"""Scale "tiny": embedded scenes at 64 pixels; each method trains in about three minutes of one core."""

recipe = dict(updates=400)
