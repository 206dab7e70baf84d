"""Image-level tasks of a pretrained encoder: zero-shot classification and retrieval."""
