"""One module per group of routes: parse the request, call a service, serialise the answer."""
