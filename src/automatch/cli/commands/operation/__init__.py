"""Commands of operation: checks, measurements, settings and secrets."""
