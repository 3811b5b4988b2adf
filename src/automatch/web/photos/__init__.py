"""Pages of photos: sending them, which face is one's own, what one waits for."""
