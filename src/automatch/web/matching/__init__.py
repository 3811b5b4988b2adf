"""Pages of matches: the feed, what it says while it is empty, a match, likes."""
