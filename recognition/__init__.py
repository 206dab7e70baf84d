"""Image-level tasks of a pretrained encoder: zero-shot classification, retrieval and k-nearest neighbours."""
