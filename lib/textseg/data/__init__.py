"""Records (picture, finding, mask), data-set readers, augmentation and drawn phantoms."""
