"""Draws the portraits of the simulated people: `make portraits` writes them into the package."""
