"""A list of people who are to be enrolled: read, checked, kept, and what was refused told."""
