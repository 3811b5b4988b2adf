"""What commands need to run processes: supervisor, signals, logging, progress; `serving` HTTP."""
