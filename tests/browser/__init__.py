"""Tests in a browser, which share one installation and the browsers of a process."""
