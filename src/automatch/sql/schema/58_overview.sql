-- What operators see at a glance, for the server's login. The queue itself is in 36_queue_admin.sql.

create function public.get_job_rates()
returns table (queued_minute bigint, ended_minute bigint, queued_hour bigint, ended_hour bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- For match_jobs_created_idx and match_jobs_completed_idx, whatever the statistics say.
set enable_seqscan = off
as $$
    select
        count(*) filter (where t.queued_at > t.now - interval '1 minute'),
        count(*) filter (where t.ended_at > t.now - interval '1 minute'),
        count(t.queued_at),
        count(t.ended_at)
    from (
        select n.now, j.created_at as queued_at, null as ended_at
        from (select automatch.now() as now) as n
        join public.match_jobs as j on j.created_at > n.now - interval '1 hour'
        union all
        select n.now, null, j.completed_at
        from (select automatch.now() as now) as n
        join public.match_jobs as j on j.completed_at > n.now - interval '1 hour'
    ) as t
$$;
comment on function public.get_job_rates() is 'Jobs that were queued and that ended in the last minute and hour.';

create function public.list_failure_reasons(p_age interval)
returns table (code text, jobs bigint, last_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    select j.error_code, count(*), max(j.completed_at)
    from public.match_jobs as j
    where j.completed_at > (select automatch.now() - p_age) and j.status = 'failed'
    group by j.error_code
    order by count(*) desc, j.error_code
$$;
comment on function public.list_failure_reasons(interval) is
    'Why jobs failed since then, of those that are kept and have not been retried.';

create function public.count_workers()
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- By what they hold, whatever a pooler makes of the names of sessions: a lock each, and the leases of their jobs.
    select greatest(
        (
            select count(*) from pg_locks as l
            join pg_database as d on d.oid = l.database and d.datname = current_database()
            where l.locktype = 'advisory' and l.objsubid = 1 and l.mode = 'ShareLock' and l.granted
              and (l.classid::bigint << 32) | l.objid::bigint = automatch.lock_key('worker')
        ),
        (
            select count(distinct j.worker_id) from automatch.held_jobs as j where j.lease_expires_at > automatch.now()
        )
    )::integer
$$;
comment on function public.count_workers() is 'How many workers are connected, busy or idle.';

create function public.list_worker_faults()
returns table (message text, workers bigint, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- A pause is no longer than a minute, and a worker reports at each.
    select f.message, count(*), min(f.since)
    from automatch.worker_faults as f
    where f.seen_at > automatch.now() - interval '3 minutes'
    group by f.message
    order by count(*) desc, f.message
$$;
comment on function public.list_worker_faults() is 'Why workers have paused, what most of them met first.';

create function public.list_schedule()
returns table (
    name text, schedule text, active boolean, last_run_at timestamptz, status text, message text,
    took_s double precision
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    -- Where the owner may not use the schema, to_regclass() would be an error.
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    -- By its oid, or a linter looks for the schema in databases that do without it.
    for name, schedule, active, last_run_at, status, message, took_s in execute format($query$
        select coalesce(j.jobname::text, j.jobid::text), j.schedule, j.active, d.start_time, d.status, d.return_message,
            extract(epoch from d.end_time - d.start_time)::double precision
        from %1$s.job as j
        left join lateral (
            select r.* from %1$s.job_run_details as r where r.jobid = j.jobid order by r.runid desc limit 1
        ) as d on true
        order by j.jobid
    $query$, v_cron::regnamespace) loop
        return next;
    end loop;
end
$$;
comment on function public.list_schedule() is
    'The entries of the cron schedule with their last runs, without their commands; none without pg_cron.';
