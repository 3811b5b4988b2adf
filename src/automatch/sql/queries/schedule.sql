-- name: is_there
-- Without the schema of pg_cron, and the right to use it, there is no schedule to show.
select coalesce(has_schema_privilege(to_regnamespace('cron'), 'usage'), false)

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
union all
select null, k.name, k.schedule, false, current_user, null, null, null, false
from automatch.kept_cron_jobs as k
where not k.active and not exists (
    select from cron.job as j where j.jobname = k.name and j.username = current_user
)
order by jobid
