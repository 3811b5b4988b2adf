"""Looks an installation over: what is wrong with it, and what to do about it."""
