"""From an aligned face to an embedding."""
