"""Out: one LISTEN, many readers; server-sent events that resume."""
