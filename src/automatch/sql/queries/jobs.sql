-- name: list
-- The caller's jobs, newest first.
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings
from public.match_jobs
where user_id = automatch.uid()
order by created_at desc, id
limit %(limit)s

-- name: load
select
    id, face_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings
from public.match_jobs
where id = %(job_id)s

-- name: claim
select
    j.id,
    j.lease_token as token,
    j.attempts,
    j.max_attempts,
    j.face_id,
    f.image_path,
    coalesce(m.active, false) as is_embedded
from public.claim_match_jobs(
    %(worker_id)s, %(limit)s, make_interval(secs => %(lease_s)s)
) as j
join public.faces as f on f.id = j.face_id
left join public.embedding_models as m on m.id = f.embedding_model
order by j.pos

-- name: renew
-- The jobs still held.
select public.renew_match_leases(%(job_ids)s, %(tokens)s, make_interval(secs => %(lease_s)s))

-- name: store_embedding
select public.store_face_embedding(
    %(job_id)s, %(token)s, %(embedding)s, %(model)s, %(quality)s, %(timings)s
)

-- name: complete
-- Number of matches; null when the lease is lost.
select public.complete_match_job(%(job_id)s, %(token)s)

-- name: fail
select public.fail_match_job(%(job_id)s, %(token)s, %(code)s, %(message)s)

-- name: retry
-- The new status; null when the lease is lost.
select public.retry_match_job(
    %(job_id)s, %(token)s, %(code)s, %(message)s, %(first_delay_s)s, %(longest_delay_s)s
)

-- name: release
select public.release_match_jobs(
    %(job_ids)s, %(tokens)s, make_interval(secs => %(delay_s)s)
)

-- name: sweep
select public.sweep_match_jobs(%(first_delay_s)s, %(longest_delay_s)s)

-- name: clean_up
select public.cleanup_old_match_jobs(make_interval(days => %(days)s))

-- name: seconds_to_next
-- Until the first waiting job is due; null when none waits.
select extract(epoch from min(run_at) - automatch.now())::double precision
from public.match_jobs
where status = 'pending'
