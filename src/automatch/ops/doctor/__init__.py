"""Checks of an installation, each with a fix and some with a repair."""
