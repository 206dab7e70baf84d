"""What lies on disk and how it is read: images, class folders, shards, segmentation, detection and depth folders."""
