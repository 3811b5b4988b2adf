"""Commands about matching: the threshold, the scale, the search, the face models."""
