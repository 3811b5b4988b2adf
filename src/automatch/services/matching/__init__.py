"""Matching: the feed of a person, the similarity from which two match, the face model."""
