"""Scale "study": the same tests on the scenes of the study; each config names its folders."""
