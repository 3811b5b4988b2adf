-- What operators see and change of the schedule, once the server has checked that they may.

create function automatch.show_command(p_command text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $function$
    select btrim(regexp_replace(s.shown, '\s+', ' ', 'g')) || case when s.shown = p_command then '' else ' …' end
    from (select substring(p_command from $re$^(?:[^'"$/-]|-(?!-)|/(?!\*))*$re$) as shown) as s
$function$;
comment on function automatch.show_command(text) is
    'A command as far as it holds no key: up to its first literal or comment.';

create function public.list_cron_jobs()
returns table (
    name text, id bigint, schedule text, command text, active boolean, ignores_seconds boolean,
    last_run_at timestamptz, last_status text, last_message text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    -- By its oid, or a linter looks for the schema in databases that do without it.
    for name, id, schedule, command, active, ignores_seconds, last_run_at, last_status, last_message in execute format(
        $query$
        select j.jobname::text, j.jobid, j.schedule, automatch.show_command(j.command), j.active,
            -- pg_cron reads five fields and ignores the rest of the line.
            j.schedule ~ '^\s*(\S+\s+){5}\S' and exists (select from pg_extension as e where e.extname = 'pg_cron'),
            run.start_time, run.status, split_part(run.return_message, E'\n', 1)
        from %1$s.job as j
        left join lateral (
            select d.start_time, d.status, d.return_message
            from %1$s.job_run_details as d
            where d.jobid = j.jobid
            order by d.runid desc
            limit 1
        ) as run on true
        where j.username = current_user
        union all
        select k.name, null, k.schedule, automatch.show_command(k.command), false, false, null, null, null
        from automatch.kept_cron_jobs as k
        where not k.active and not exists (select from automatch.read_cron_jobs($1) as j where j.name = k.name)
        order by 1
        $query$,
        v_cron::regnamespace
    ) using v_cron loop
        return next;
    end loop;
end
$$;
comment on function public.list_cron_jobs() is
    'The cron jobs of the owner with their last runs, none without pg_cron or its stand-in; id is null while a job is off.';

create function public.list_cron_runs(p_name text, p_limit integer default 50)
returns table (started_at timestamptz, took_s double precision, status text, message text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    for started_at, took_s, status, message in execute format(
        $query$
        select d.start_time, extract(epoch from d.end_time - d.start_time)::double precision, d.status,
            split_part(d.return_message, E'\n', 1)
        from %1$s.job_run_details as d
        join %1$s.job as j on j.jobid = d.jobid
        where j.username = current_user and j.jobname = $1
        order by d.runid desc
        limit least(greatest($2, 1), 1000)
        $query$,
        v_cron::regnamespace
    ) using p_name, p_limit loop
        return next;
    end loop;
end
$$;
comment on function public.list_cron_runs(text, integer) is 'The runs of a cron job of the owner, newest first.';

create function public.change_cron_job(p_name text, p_schedule text, p_active boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := automatch.record_cron_jobs(null);
begin
    if v_cron is not null then
        -- What another wrote is kept while it is off, so that it can be made again.
        insert into automatch.kept_cron_jobs (name, schedule, command, active, seen_in)
        select j.name, j.schedule, j.command, j.active, v_cron
        from automatch.read_cron_jobs(v_cron) as j
        where j.name = p_name
        on conflict (name) do nothing;
    end if;
    if v_cron is null or not exists (select from automatch.kept_cron_jobs as k where k.name = p_name) then
        perform automatch.raise_error('not_found', 'The schedule has no job of this name.');
    end if;
    perform automatch.change_cron_job(v_cron, p_name, p_schedule, p_active);
    delete from automatch.kept_cron_jobs as k
    where k.name = p_name and k.active and k.name not in ('process-match-jobs', 'cleanup-match-jobs');
end
$$;
comment on function public.change_cron_job(text, text, boolean) is
    'Run a cron job of the owner at other times, or switch it on or off; what is null stays. Its command stays.';
