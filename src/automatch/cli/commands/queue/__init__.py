"""Commands about the queue: jobs, cron jobs, and what became of them."""
