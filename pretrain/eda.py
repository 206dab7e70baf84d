"""Easy data augmentation of a caption (Wei and Zou 2019): one edit of synonym replacement, random swap or deletion."""


def edit(caption: str) -> str:
    """One randomly chosen edit of a caption, drawn from numpy's global generator."""
    raise NotImplementedError
