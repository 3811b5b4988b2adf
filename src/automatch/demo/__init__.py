"""Simulated people who fill a school, so that a first real photo has somebody to match."""
