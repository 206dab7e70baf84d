"""The data of pretraining: samples, augmentation, captions, tags, stored teachers."""
