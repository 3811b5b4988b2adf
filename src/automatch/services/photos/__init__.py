"""Photos: whether one is accepted, whose it is, and who may see it."""
