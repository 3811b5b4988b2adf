"""What every request passes before its route: identity, limits, and the bounded body."""
