-- name: load_queue
select
    paused, concurrency, paused_schools, waiting, scheduled, processing, expired_leases, workers,
    oldest_waiting_s
from public.get_match_queue()

-- name: count_jobs
select status, count, oldest_created_at, avg_seconds from public.get_match_job_stats()

-- name: list_jobs
-- Of everybody, newest first; each parameter that is null lets all through.
select
    id, face_id, user_id, school, status, priority, attempts, max_attempts,
    case when error_code is not null
        then jsonb_build_object('code', error_code, 'message', error_message)
    end as error,
    created_at, run_at, started_at, completed_at, scheduled, isolated, worker_id, lease_expires_at,
    threshold, match_count, timings
from public.list_match_jobs(%(status)s, %(school)s, %(code)s, %(job_ids)s, %(limit)s)

-- name: pause
-- The number of jobs that wait now.
select public.pause_match_jobs(%(school)s, %(actor)s)

-- name: resume
-- The number of jobs that go on.
select public.resume_match_jobs(%(school)s, %(actor)s)

-- name: set_concurrency
select public.set_match_concurrency(%(jobs)s, %(actor)s)

-- name: retry_failed
select public.retry_failed_match_jobs(%(job_ids)s, %(code)s, %(actor)s)

-- name: cancel
select public.cancel_match_jobs(%(job_ids)s, %(actor)s)

-- name: requeue
-- The id of the job that searches once more.
select public.requeue_match_job(%(job_id)s, %(threshold)s, %(actor)s)

-- name: prioritize
select public.prioritize_match_jobs(%(job_ids)s, %(priority)s::smallint, %(actor)s)

-- name: list_audit
select id, recorded_at, actor, action, details from public.list_audit_log(%(limit)s)
