"""JSON over HTTP: middleware, thin routes, and the one place where an error becomes a status."""
