"""The queue: the jobs of people, what operators do with them, and the cron jobs."""
