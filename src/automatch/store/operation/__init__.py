"""Operation: settings, history, and what servers and workers tell of themselves."""
