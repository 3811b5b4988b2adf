"""Operation: what an installation tells of itself, and its settings."""
