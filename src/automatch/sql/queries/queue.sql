-- name: claim
-- With the model to be seen with; store_embeddings refuses another, should it change meanwhile.
select
    c.id, c.lease_token as token, c.attempts, c.max_attempts, c.face_id, c.image_path, c.is_embedded,
    c.isolated, c.position,
    -- Asked for those alone whose photo is to be looked at.
    case when not c.is_embedded then public.get_chosen_face(c.face_id) end as chosen,
    (select public.active_embedding_model()) as model
from public.claim_match_jobs(
    %(worker_id)s, %(limit)s, make_interval(secs => %(lease_s)s), %(floor)s
) as c

-- name: seconds_to_next
-- Until a waiting job can be claimed; null when none waits for its time.
select public.seconds_to_next_match_job()

-- name: renew
-- The jobs still held.
select public.renew_match_leases(%(job_ids)s, %(tokens)s, make_interval(secs => %(lease_s)s))

-- name: store_embeddings
-- The jobs still held.
select public.store_face_embeddings(
    %(job_ids)s, %(tokens)s, %(embeddings)s, %(model)s, %(quality)s, %(timings)s
)

-- name: complete
-- The jobs still held, each with its number of matches.
select job_id, match_count from public.complete_match_jobs(%(job_ids)s, %(tokens)s)

-- name: finish
-- The same, with shortlists for some of the jobs.
select job_id, match_count
from public.finish_match_jobs(
    %(job_ids)s, %(tokens)s, %(schools)s, %(genders)s, %(lengths)s, %(face_ids)s
)

-- name: fail
-- The jobs still held.
select public.fail_match_jobs(
    %(job_ids)s, %(tokens)s, %(codes)s, %(messages)s, %(face_boxes)s::jsonb[]
)

-- name: retry
-- The jobs still held.
select job_id
from public.retry_match_jobs(
    %(job_ids)s, %(tokens)s, %(codes)s, %(messages)s, %(first_delay_s)s, %(longest_delay_s)s
)

-- name: release
select public.release_match_jobs(
    %(job_ids)s, %(tokens)s, make_interval(secs => %(delay_s)s)
)

-- name: sweep
select public.sweep_match_jobs()

-- name: clean_up
select public.cleanup_old_match_jobs(make_interval(days => %(days)s))

-- name: erase_unanswered
select public.erase_unanswered_photo(make_interval(secs => %(seconds)s))

-- name: count_waiting
select public.count_waiting_match_jobs(%(most)s)

-- name: register_idle
-- False: another sleeps already, or a job is being queued this moment.
select public.register_idle()

-- name: unregister_idle
select public.unregister_idle()
