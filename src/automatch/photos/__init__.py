"""Storage of photos: a folder or a bucket behind one Protocol."""
