"""Serving HTTP: listening sockets, connections, the protocols on them, and the servers."""
