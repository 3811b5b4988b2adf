"""What commands need to run processes: supervisor, sockets, signals, logging, progress."""
