-- name: list
-- The caller's jobs, newest first.
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings, face_boxes
from public.match_jobs
where user_id = automatch.uid()
order by created_at desc, id
limit %(limit)s

-- name: load
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings, face_boxes
from public.match_jobs
where id = %(job_id)s

-- name: choose_face
select job_status from public.choose_face(%(job_id)s, %(index)s)

-- name: pool
-- Among how many people the caller is searched for.
select school, other_gender, findable, hidden, threshold from public.match_pool()

-- name: explain
select school, other_gender, findable, hidden, threshold, over_threshold
from public.explain_match_job(%(job_id)s)
