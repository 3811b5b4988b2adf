-- The schedule of the deployment guide: a cron job calls POST /functions/v1/match-generator over HTTP.
-- Its key can start matching and nothing else. The key is in the Vault, where only the owner can read it and
-- the login of the schedule can ask for it; the server knows its hash.
create table automatch.trigger_key (
    only_row boolean primary key default true,
    sha256 bytea not null,
    made_at timestamptz not null default automatch.now(),
    constraint there_is_one_key check (only_row)
);
comment on table automatch.trigger_key is 'The hash of the key.';

create table automatch.kept_cron_jobs (
    name text primary key,
    schedule text not null,
    command text not null,
    active boolean not null default true,
    seen_in oid
);
comment on table automatch.kept_cron_jobs is
    'Our two cron jobs as they stood in the schema cron with the oid seen_in. When pg_cron takes the place of its '
    'stand-in, or gives it back, they are made again.';

create function public.is_trigger_key(p_sha256 bytea)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from automatch.trigger_key as k where k.sha256 = p_sha256) $$;
comment on function public.is_trigger_key(bytea) is 'Whether this is the hash of the key.';

create function automatch.rotate_trigger_key()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    -- Two random UUIDs: 244 strong random bits, without an extension.
    v_key text := 'amt_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
    v_id uuid;
begin
    lock table automatch.trigger_key in exclusive mode;
    select s.id into v_id from vault.secrets as s where s.name = 'automatch_trigger_key';
    if found then
        perform vault.update_secret(v_id, v_key);
    else
        perform vault.create_secret(
            v_key, 'automatch_trigger_key', 'Starts matching: POST /functions/v1/match-generator. Made by Auto-Match.'
        );
    end if;
    insert into automatch.trigger_key (sha256) values (sha256(convert_to(v_key, 'UTF8')))
    on conflict (only_row) do update set sha256 = excluded.sha256, made_at = automatch.now();
end
$$;
comment on function automatch.rotate_trigger_key() is
    'Make a new key, which the schedule reads from the Vault at its next run. For the owner.';

create function automatch.read_trigger_key()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select s.decrypted_secret from vault.decrypted_secrets as s where s.name = 'automatch_trigger_key' $$;
comment on function automatch.read_trigger_key() is
    'The key, and no other secret of the Vault, for the login that runs the cron job.';

create function automatch.match_generator_command(p_url text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $function$
    select format($command$select net.http_post(
    url := %L,
    headers := jsonb_build_object(
        'Content-Type', 'application/json',
        'Authorization', 'Bearer ' || automatch.read_trigger_key()
    ),
    body := jsonb_build_object('source', 'pg_cron', 'triggered_at', now()),
    timeout_milliseconds := 30000
) as request_id$command$, p_url)
$function$;
comment on function automatch.match_generator_command(text) is
    'The command of the cron job process-match-jobs, for the URL of the match generator.';

create function automatch.read_cron_jobs(p_cron oid)
returns setof automatch.kept_cron_jobs language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- By its oid, or a linter looks for the schema in databases that do without it.
    return query execute format(
        'select j.jobname::text, j.schedule, j.command, j.active, $1 from %s.job as j where j.username = current_user',
        p_cron::regnamespace
    ) using p_cron;
end
$$;
comment on function automatch.read_cron_jobs(oid) is 'The cron jobs of the caller as they stand.';

create function automatch.record_cron_jobs(p_url text)
returns oid language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if to_regnamespace('net') is null or to_regnamespace('vault') is null
       or not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return null;
    end if;
    -- Two servers that start at once make one schedule.
    perform pg_advisory_xact_lock(automatch.lock_key('schedule'));
    if not exists (select from automatch.trigger_key)
       or not exists (select from vault.secrets as s where s.name = 'automatch_trigger_key') then
        perform automatch.rotate_trigger_key();
    end if;
    if p_url is not null then
        insert into automatch.kept_cron_jobs (name, schedule, command)
        values
            ('process-match-jobs', '* * * * *', automatch.match_generator_command(p_url)),
            ('cleanup-match-jobs', '0 3 * * *', 'select public.cleanup_old_match_jobs()')
        on conflict (name) do nothing;
    end if;
    update automatch.kept_cron_jobs as k
    set schedule = j.schedule, command = j.command, active = j.active, seen_in = v_cron
    from automatch.read_cron_jobs(v_cron) as j
    where j.name = k.name;
    -- Unscheduled by an operator, unless the whole schema is another one.
    update automatch.kept_cron_jobs as k
    set active = false
    where k.seen_in = v_cron
      and not exists (select from automatch.read_cron_jobs(v_cron) as j where j.name = k.name);
    return v_cron;
end
$$;
comment on function automatch.record_cron_jobs(text) is
    'Record how our cron jobs stand, or how they are to be made; return the schema, null without pg_cron, pg_net and Vault.';

create function automatch.restore_cron_jobs(p_cron oid, p_exactly boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job automatch.kept_cron_jobs;
    v_schedule text := format('select %s.schedule($1, $2, $3)', p_cron::regnamespace);
begin
    for v_job in
        select * from automatch.kept_cron_jobs as k
        where k.active and not exists (
            select from automatch.read_cron_jobs(p_cron) as j
            where j.name = k.name and j.active and (j.schedule, j.command) = (k.schedule, k.command)
        )
    loop
        -- cron.alter_job(), which would make it active, is not for everybody.
        if exists (select from automatch.read_cron_jobs(p_cron) as j where j.name = v_job.name and not j.active) then
            execute format('select %s.unschedule($1)', p_cron::regnamespace) using v_job.name;
        end if;
        begin
            execute v_schedule using v_job.name, v_job.schedule, v_job.command;
        exception when invalid_parameter_value then
            if p_exactly then
                raise;
            end if;
            -- pg_cron before 1.5 knows no seconds.
            execute v_schedule using v_job.name, '* * * * *', v_job.command;
        end;
    end loop;
    update automatch.kept_cron_jobs as k set seen_in = p_cron where k.seen_in is distinct from p_cron;
end
$$;
comment on function automatch.restore_cron_jobs(oid, boolean) is
    'Schedule our recorded cron jobs. Where pg_cron refuses a schedule, raise if p_exactly, else run each minute.';

create function automatch.ensure_match_schedule(p_url text)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_outcome text := 'kept';
    v_cron oid := automatch.record_cron_jobs(p_url);
begin
    if v_cron is null then
        return 'unavailable';
    end if;
    -- A command that an operator wrote is not changed.
    update automatch.kept_cron_jobs as k
    set command = automatch.match_generator_command(p_url)
    where k.name = 'process-match-jobs' and k.command <> automatch.match_generator_command(p_url)
      and k.command = automatch.match_generator_command(substring(k.command from 'url := ''([^'']+)'''));
    if found then
        v_outcome := 'moved';
    end if;
    if exists (select from automatch.kept_cron_jobs as k where k.seen_in is distinct from v_cron) then
        v_outcome := 'made';
    end if;
    perform automatch.restore_cron_jobs(v_cron, false);
    return v_outcome;
end
$$;
comment on function automatch.ensure_match_schedule(text) is
    'Make the two cron jobs of the guide, once in each schema cron; later only update the URL of our own command. '
    'Returns made, moved, kept, or unavailable without pg_cron, pg_net and Vault.';

create function automatch.change_cron_job(p_cron oid, p_name text, p_schedule text, p_active boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.kept_cron_jobs as k
    set schedule = coalesce(p_schedule, k.schedule), active = coalesce(p_active, k.active)
    where k.name = p_name;
    if not p_active and exists (select from automatch.read_cron_jobs(p_cron) as j where j.name = p_name) then
        execute format('select %s.unschedule($1)', p_cron::regnamespace) using p_name;
    end if;
    perform automatch.restore_cron_jobs(p_cron, true);
end
$$;
comment on function automatch.change_cron_job(oid, text, text, boolean) is
    'Change a recorded cron job in the schema cron; what is null stays.';

create function automatch.set_match_schedule(p_schedule text, p_url text, p_replace boolean default false)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := automatch.record_cron_jobs(p_url);
begin
    update automatch.kept_cron_jobs as k
    set command = case when p_replace then automatch.match_generator_command(p_url) else k.command end
    where k.name = 'process-match-jobs' and v_cron is not null;
    if not found then
        return false;
    end if;
    perform automatch.change_cron_job(v_cron, 'process-match-jobs', p_schedule, p_schedule is not null);
    return true;
end
$$;
comment on function automatch.set_match_schedule(text, text, boolean) is
    'Set the schedule of process-match-jobs; null unschedules it. p_url is used when the job is new or p_replace is '
    'true. False without pg_cron, pg_net and Vault, or when there is no such job. For the owner.';

create function public.list_due_match_jobs(p_limit integer)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    (
        select j.id from public.match_jobs as j
        where j.completed_at is null and j.status = 'pending' and not j.scheduled
        order by j.position
        limit p_limit
    )
    union all
    (
        select j.id from public.match_jobs as j
        where j.status = 'pending' and j.scheduled and j.run_at <= (select automatch.now())
        order by j.run_at
        limit p_limit
    )
    union all
    (
        -- Jobs of lost workers, before the sweep.
        select j.id from automatch.held_jobs as j
        where j.lease_expires_at < (select automatch.now())
        limit p_limit
    )
    limit p_limit
$$;
comment on function public.list_due_match_jobs(integer) is
    'Jobs that wait for a worker, in order; also those of a paused queue, but not those of a paused school.';

create function public.get_match_job_progress(p_job_ids uuid[])
returns table (open integer, matches integer, paused boolean, worker_is_alive boolean)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select
        -- Without jobs that were erased with their photo, or scheduled for a retry.
        count(*) filter (
            where j.status = 'processing'
               or j.status = 'pending' and (not j.scheduled or j.run_at <= (select automatch.now()))
        )::integer,
        coalesce(sum(j.match_count) filter (where j.status = 'completed'), 0)::integer,
        (select q.paused from automatch.queue_settings as q),
        exists (
            select from automatch.held_jobs as held where held.lease_expires_at > (select automatch.now())
        )
    from public.match_jobs as j
    where j.id = any (p_job_ids)
$$;
comment on function public.get_match_job_progress(uuid[]) is
    'How many of these jobs are open, how many matches the others found, whether the queue is paused, and '
    'whether a worker holds a valid lease.';
