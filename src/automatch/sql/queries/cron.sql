-- name: lead
-- Only one runner works at a time. The lock ends with its session.
select pg_try_advisory_lock(automatch.lock_key('cron'))

-- name: stand_ins
-- Which of the two extensions are ours. The oids tell when one takes the place of another.
select
    coalesce(starts_with(obj_description(to_regnamespace('cron'), 'pg_namespace'), 'Auto-Match stands in'), false) as cron,
    coalesce(starts_with(obj_description(to_regnamespace('net'), 'pg_namespace'), 'Auto-Match stands in'), false) as net,
    to_regnamespace('cron')::oid as cron_oid,
    to_regnamespace('net')::oid as net_oid

-- name: listen_cron
listen automatch_cron

-- name: listen_net
listen automatch_net

-- name: load_jobs
-- Active jobs. Those of another login are listed too: their runs fail with the reason.
select
    jobid, schedule, command, username,
    username = (
        select pg_get_userbyid(n.nspowner) from pg_catalog.pg_namespace as n where n.nspname = 'cron'
    ) as is_owners
from cron.job
where active and database = current_database()
order by jobid

-- name: hold_job
-- Held by the session of the run, so that two runs of a job never overlap.
select pg_try_advisory_lock(hashtextextended('automatch cron job ' || %(jobid)s, 0))

-- name: free_job
-- And whatever else the command has locked.
select pg_advisory_unlock_all()

-- name: begin_run
insert into cron.job_run_details (jobid, job_pid, database, username, command, status, start_time)
values (%(jobid)s, %(pid)s, current_database(), %(username)s, %(command)s, %(status)s, clock_timestamp())
returning runid

-- name: end_run
update cron.job_run_details
set status = %(status)s, return_message = %(message)s, end_time = clock_timestamp()
where runid = %(runid)s

-- name: forget_lost_runs
-- Runs whose runner has stopped.
update cron.job_run_details
set status = 'failed', return_message = 'server restarted', end_time = clock_timestamp()
where status = 'running'
