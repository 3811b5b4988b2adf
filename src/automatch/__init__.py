"""Auto-Match: automatic face matching in the background."""

__version__ = "0.1.0"
