-- name: list_jobs
-- Of everybody, newest first; each parameter that is null lets all through.
select
    id, face_id, user_id, school, status, priority, attempts, max_attempts,
    case when error_code is not null
        then jsonb_build_object('code', error_code, 'message', error_message)
    end as error,
    created_at, run_at, started_at, completed_at, scheduled, isolated, worker_id, lease_expires_at,
    threshold, match_count, timings, reached, seen_later
from public.list_match_jobs(
    %(status)s, %(school)s, %(code)s, %(job_ids)s, %(limit)s, %(user_id)s, %(before)s
)
