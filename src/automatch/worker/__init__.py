"""Run: claim jobs, look at photos, settle; and what has to be done from time to time."""
