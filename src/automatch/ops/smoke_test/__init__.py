"""The smoke test: the deployment guide's success criteria, over HTTP."""
