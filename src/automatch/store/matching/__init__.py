"""Matching: the search, its model and scale, the matches, and the feed that shows them."""
