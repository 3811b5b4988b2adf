"""Commands that start an installation, and those for its database as a whole."""
