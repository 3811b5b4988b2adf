"""The live feed: a notifier with one LISTEN for many readers, and resumable server-sent events."""
