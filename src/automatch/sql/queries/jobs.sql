-- name: list
-- The caller's jobs, newest first.
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings, face_boxes, refused_picture,
    request_id,
    case when status = 'completed' then automatch.count_shown_matches(face_id) end as matches_now
from public.match_jobs
where user_id = automatch.uid()
order by created_at desc, id
limit %(limit)s

-- name: load
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings, face_boxes, refused_picture,
    request_id,
    case when status = 'completed' then automatch.count_shown_matches(face_id) end as matches_now
from public.match_jobs
where id = %(job_id)s
