"""What a process tells of its work: metrics, the ids that join log lines, and traces."""
