-- name: is_there
-- Without the schema of pg_cron there is no schedule to show.
select to_regclass('cron.job') is not null

-- name: list
-- The scheduled jobs, and the last run of each.
select
    j.jobid, j.jobname as name, j.schedule, j.active, j.username,
    run.start_time as last_run_at, run.status as last_status, run.return_message as last_message,
    -- pg_cron reads five fields and ignores the rest of the line.
    j.schedule ~ '^\s*(\S+\s+){5}\S' and exists (select from pg_catalog.pg_extension where extname = 'pg_cron')
        as ignores_seconds
from cron.job as j
left join lateral (
    select d.start_time, d.status, d.return_message
    from cron.job_run_details as d
    where d.jobid = j.jobid
    order by d.runid desc
    limit 1
) as run on true
order by j.jobid

-- name: find
-- The job of the guide that starts matching, as this login scheduled it.
select j.jobid, j.command from cron.job as j
where j.jobname = 'process-match-jobs' and j.username = current_user

-- name: set
select cron.schedule('process-match-jobs', %(schedule)s, %(command)s)

-- name: set_active
select cron.alter_job(%(jobid)s, active => %(active)s)
