-- name: parts
-- Which of pg_cron and pg_net exist, as extensions or as our replacements.
select
    coalesce(has_schema_privilege(to_regnamespace('cron'), 'usage'), false) as has_cron,
    coalesce(has_schema_privilege(to_regnamespace('net'), 'usage'), false) as has_net,
    exists (select from pg_catalog.pg_extension as e where e.extname = 'pg_cron') as is_pg_cron

-- name: jobs
-- The commands may contain keys; they are searched, and never shown.
select
    j.jobid as id, coalesce(j.jobname, j.jobid::text) as name, j.schedule, j.active, j.command,
    j.username = current_user as is_own
from cron.job as j
where j.jobname = 'process-match-jobs' or j.jobname = 'cleanup-match-jobs'
   or j.command like '%%match-generator%%' or j.command like '%%match_jobs%%'
order by j.jobid

-- name: last_run
select
    d.status, d.return_message as message,
    extract(epoch from now() - coalesce(d.end_time, d.start_time))::double precision as ago_s
from cron.job_run_details as d
where d.jobid = %(job)s
order by d.start_time desc nulls last
limit 1

-- name: leader
-- For how long the server that runs the jobs has been connected.
select extract(epoch from now() - a.backend_start)::double precision
from pg_catalog.pg_locks as l
join pg_catalog.pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted
  and a.application_name = 'automatch-schedule' and a.datname = current_database()

-- name: responses
-- The responses of the last hour.
select
    count(*)::integer as all_of_them,
    (count(*) filter (where r.status_code between 200 and 299))::integer as successful,
    coalesce((array_agg(r.status_code order by r.created desc, r.id desc))[1] between 200 and 299, false)
        as last_succeeded,
    (array_agg(r.status_code order by r.created desc) filter (where r.status_code not between 200 and 299))[1] as status,
    (array_agg(coalesce(r.error_msg, case when r.timed_out then 'it took too long' end) order by r.created desc)
        filter (where r.status_code is null))[1] as error
from net._http_response as r
where r.created > now() - interval '1 hour'

-- name: requests
-- Requests that wait, and whether the leading server or pg_net's own process is there to send them.
select
    (select count(*) from net.http_request_queue)::integer as waiting, own.is_ours,
    exists (
        select from pg_catalog.pg_stat_activity as a
        where case when own.is_ours
            then a.application_name = 'automatch-schedule' and a.datname = current_database()
            else a.backend_type like 'pg_net%%' end
    ) as is_served
from (
    select starts_with(obj_description(to_regnamespace('net'), 'pg_namespace'), 'Auto-Match stands in') as is_ours
) as own

-- name: reschedule
select cron.schedule(%(name)s::text, %(schedule)s::text, %(command)s::text)
