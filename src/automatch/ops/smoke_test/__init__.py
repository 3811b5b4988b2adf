"""The deployment guide's success criteria, tried on a live installation over HTTP."""
