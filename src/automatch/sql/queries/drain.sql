-- name: is_trigger_key
select public.is_trigger_key(%(sha256)s)

-- name: list_due
select public.list_due_match_jobs(%(limit)s)

-- name: follow
-- How far these jobs are.
select open, matches, paused, worker_is_alive from public.get_match_job_progress(%(job_ids)s)
