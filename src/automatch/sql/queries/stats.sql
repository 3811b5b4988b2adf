-- name: be_careful
-- For a session that only reads and blocks nobody.
select
    set_config('default_transaction_read_only', 'on', false),
    set_config('statement_timeout', '10s', false),
    set_config('lock_timeout', '2s', false)

-- name: times
-- Seconds from the upload to completion.
select
    count(*) as jobs,
    avg(t.s)::double precision as average_s,
    percentile_cont(0.5) within group (order by t.s)::double precision as p50_s,
    percentile_cont(0.95) within group (order by t.s)::double precision as p95_s,
    percentile_cont(0.99) within group (order by t.s)::double precision as p99_s
from (
    select extract(epoch from j.completed_at - j.created_at) as s
    from public.match_jobs as j
    where j.status = 'completed' and j.completed_at is not null
) as t

-- name: to_screen
-- Seconds from the upload to the first match on the open page of the uploader, where somebody waited for it.
select
    count(*) as jobs,
    avg(t.s)::double precision as average_s,
    percentile_cont(0.5) within group (order by t.s)::double precision as p50_s,
    percentile_cont(0.95) within group (order by t.s)::double precision as p95_s,
    percentile_cont(0.99) within group (order by t.s)::double precision as p99_s
from (
    select extract(epoch from d.delivered_at - j.created_at) as s
    from automatch.deliveries as d
    join public.match_jobs as j on j.id = d.job_id and j.user_id = d.profile_id
    where d.was_open and j.priority < 3
) as t

-- name: rate
-- Jobs queued and finished in the last minute, hour and day.
select
    count(*) filter (where j.created_at > n.now - interval '1 minute') as queued_minute,
    count(*) filter (where j.completed_at > n.now - interval '1 minute') as ended_minute,
    count(*) filter (where j.created_at > n.now - interval '1 hour') as queued_hour,
    count(*) filter (where j.completed_at > n.now - interval '1 hour') as ended_hour,
    count(*) filter (where j.created_at > n.now - interval '1 day') as queued_day,
    count(*) filter (where j.completed_at > n.now - interval '1 day') as ended_day
from (select automatch.now() as now) as n
left join public.match_jobs as j on true

-- name: recent
select
    j.id, j.status, j.attempts, j.created_at, j.completed_at,
    extract(epoch from j.completed_at - j.created_at)::double precision as took_s,
    j.error_code as code
from public.match_jobs as j
order by j.created_at desc, j.id
limit %(limit)s

-- name: failed
-- Failed jobs by error code.
select j.error_code as code, count(*) as jobs, max(j.completed_at) as last_at
from public.match_jobs as j
where j.status = 'failed'
group by j.error_code
order by count(*) desc, j.error_code

-- name: stuck_erasures
-- Deleted photos whose files still exist a minute later, by the reason; null when nobody has tried yet.
select e.error, count(*) as photos
from automatch.photo_erasures as e
where e.queued_at < automatch.now() - interval '1 minute'
group by e.error
order by count(*) desc, e.error

-- name: parts
-- Where a login may not use the schema, to_regclass() would be an error.
select
    coalesce(has_schema_privilege(to_regnamespace('cron'), 'usage'), false) as has_cron,
    coalesce(has_schema_privilege(to_regnamespace('net'), 'usage'), false) as has_net

-- name: schedule
-- The scheduled jobs without their commands, which may contain a key.
select coalesce(j.jobname, j.jobid::text) as name, j.schedule, j.active, (
    select max(d.start_time) from cron.job_run_details as d where d.jobid = j.jobid
) as last_run_at
from cron.job as j
order by j.jobid

-- name: runs
-- The newest runs of scheduled jobs.
select
    coalesce(j.jobname, d.jobid::text) as name, d.status, d.return_message as message, d.start_time as started_at,
    extract(epoch from d.end_time - d.start_time)::double precision as took_s
from cron.job_run_details as d
left join cron.job as j on j.jobid = d.jobid
order by d.start_time desc nulls last
limit %(limit)s

-- name: log_of_jobs
-- The last event of each job, newest first; earlier attempts are not recorded.
select l.at, 'worker' as source, l.event, l.job::text as subject, l.details
from (
    select
        coalesce(j.completed_at, j.started_at) as at,
        case j.status
            when 'completed' then 'job completed'
            when 'failed' then 'job failed'
            when 'processing' then 'job started'
            else 'job put off'
        end as event,
        j.id as job,
        jsonb_strip_nulls(jsonb_build_object(
            'attempt', j.attempts,
            'matches', j.match_count,
            'code', j.error_code,
            'seconds', round(extract(epoch from j.completed_at - j.created_at), 3)
        )) as details
    from public.match_jobs as j
    where j.started_at is not null
      and (%(after)s::timestamptz is null or j.created_at > %(after)s::timestamptz - interval '1 day')
) as l
where l.at is not null and (%(after)s::timestamptz is null or l.at > %(after)s::timestamptz)
order by l.at desc
limit %(limit)s

-- name: log_of_calls
-- The responses to the requests of the schedule.
select
    r.created as at, 'function' as source,
    case when r.status_code between 200 and 299 then 'call answered' else 'call failed' end as event,
    r.id::text as subject,
    jsonb_strip_nulls(jsonb_build_object(
        'status', r.status_code,
        'error', coalesce(r.error_msg, case when r.timed_out then 'it took too long' end)
    )) as details
from net._http_response as r
where %(after)s::timestamptz is null or r.created > %(after)s::timestamptz
order by r.created desc
limit %(limit)s

-- name: log_of_runs
-- The runs of the schedule.
select
    d.start_time as at, 'schedule' as source, 'run ' || coalesce(d.status, 'unknown') as event,
    d.runid::text as subject,
    jsonb_strip_nulls(jsonb_build_object(
        'job', coalesce(j.jobname, d.jobid::text),
        'message', case when d.status = 'failed' then d.return_message end,
        'seconds', round(extract(epoch from d.end_time - d.start_time), 3)
    )) as details
from cron.job_run_details as d
left join cron.job as j on j.jobid = d.jobid
where d.start_time is not null and (%(after)s::timestamptz is null or d.start_time > %(after)s::timestamptz)
order by d.start_time desc
limit %(limit)s
