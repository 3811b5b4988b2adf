"""The queue: jobs as people, workers and operators see them, cron jobs, statistics."""
