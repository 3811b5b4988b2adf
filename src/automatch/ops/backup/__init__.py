"""Backups: made while everything runs, kept elsewhere, checked, and restored."""
