"""Face detectors, quality checks, and redaction of other people's faces."""
