-- name: progress
select
    q.paused, q.paused_schools, q.waiting, q.expired_leases, q.oldest_waiting_s,
    (
        select count(*) from public.match_jobs as j
        where j.completed_at > automatch.now() - interval '1 minute'
    ) as ended_last_minute,
    (
        select count(*) from public.match_jobs as j
        where j.completed_at is null and j.lease_expires_at < automatch.now() - interval '1 minute'
    ) as long_expired
from public.get_match_queue() as q

-- name: failed
-- By error code, without photos that have a later job that did not fail.
select f.error_code as code, count(*) as jobs
from public.match_jobs as f
where f.status = 'failed' and not exists (
    select from public.match_jobs as later
    where later.face_id = f.face_id and later.status <> 'failed' and later.created_at >= f.created_at
)
group by f.error_code
order by count(*) desc, f.error_code

-- name: latency
-- Time from upload to end of the jobs of the last hour.
select
    count(*) as jobs,
    percentile_cont(0.95) within group (
        order by extract(epoch from j.completed_at - j.created_at)
    )::double precision as p95_s
from public.match_jobs as j
where j.status = 'completed' and j.created_at > automatch.now() - interval '1 hour'
