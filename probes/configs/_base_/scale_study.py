"""Scale "study": the same probes on the scenes of the study."""

data = dict(root="data/scenes-study", scenes_root="data/scenes-study")
