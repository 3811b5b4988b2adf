"""The worker: fetch jobs, extract embeddings, complete jobs, renew leases, run maintenance."""
