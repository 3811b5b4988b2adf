-- Claims, leases, and how idle workers wait.

-- One idle worker is registered, and the others wait in line for its place without asking again: when it takes
-- a job, the next one registers and claims, so that each that gets work wakes another.
create function public.register_idle(p_wait interval)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Bounded, because the snapshot of a statement that waits keeps vacuum from removing dead rows.
    perform set_config('lock_timeout', greatest(1, 1000 * extract(epoch from p_wait))::integer::text, true);
    perform pg_advisory_lock(automatch.lock_key('idle_worker'));
    return true;
exception
    when lock_not_available then
        return false;
end
$$;
comment on function public.register_idle(interval) is
    'From now on new jobs are notified on the channel automatch_jobs. Waits while another session is registered or '
    'a job is being queued at this moment; false after that time.';

create function public.unregister_idle()
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_unlock(automatch.lock_key('idle_worker')) $$;
comment on function public.unregister_idle() is 'Undo register_idle(), before the next claim.';

create function automatch.promote_due_jobs(p_limit integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_due record;
    v_next record;
    v_now timestamptz := automatch.now();
begin
    -- No lock while nothing is due.
    if not exists (
        select from public.match_jobs as j
        where j.status = 'pending' and j.scheduled and j.run_at <= v_now
    ) then
        return;
    end if;
    perform automatch.lock_pauses_shared();
    -- One by one, because each position depends on the one before.
    for v_due in
        select j.id, j.school, j.user_id, j.priority, j.position, s.school is not null as paused
        from public.match_jobs as j
        join public.profiles as p on p.id = j.user_id
        join public.faces as f on f.id = j.face_id
        left join automatch.paused_schools as s on s.school = j.school
        where j.status = 'pending' and j.scheduled and j.run_at <= v_now
        order by j.run_at
        limit p_limit
        for update of j skip locked
        -- The claim will update the row again, which checks its foreign keys: people who are being changed
        -- or erased at this moment are left to the next claim.
        for key share of p, f skip locked
    loop
        if v_due.paused then
            update public.match_jobs set run_at = 'infinity' where id = v_due.id;
        elsif v_due.position is not null then
            update public.match_jobs set scheduled = false where id = v_due.id;
        else
            select t.* into v_next
            from automatch.next_position(v_due.school, v_due.user_id, v_due.priority) as t;
            update public.match_jobs
            set scheduled = false, position = v_next.position, first_of_user = v_next.first_of_user
            where id = v_due.id;
        end if;
    end loop;
end
$$;
comment on function automatch.promote_due_jobs(integer) is
    'Give a position to scheduled jobs that are due; jobs of paused schools keep waiting.';

create function automatch.limit_claim(p_worker_id uuid, p_limit integer)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue automatch.queue_settings;
begin
    select q.* into v_queue from automatch.queue_settings as q;
    if v_queue.paused then
        return 0;
    elsif v_queue.concurrency is null then
        return p_limit;
    end if;
    -- One claim of a worker at a time: two could both count the same free places.
    perform pg_advisory_xact_lock(hashtextextended(p_worker_id::text, 0));
    return least(p_limit, v_queue.concurrency - (
        select count(*)::integer from automatch.held_jobs as j where j.worker_id = p_worker_id
    ));
end
$$;
comment on function automatch.limit_claim(uuid, integer) is
    'How many of p_limit jobs a worker may claim: fewer under a limit of concurrency, 0 while the queue is paused.';

create function public.claim_match_jobs(
    p_worker_id uuid, p_limit integer, p_lease interval, p_min_position bigint default 0
)
returns table (
    id uuid, lease_token bigint, attempts smallint, max_attempts smallint, face_id uuid, image_path text,
    is_embedded boolean, isolated boolean, "position" bigint, age_s double precision, request_id uuid
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- benchmarks/queue: planning anew at each call is a third of what a batch of one job costs.
set plan_cache_mode = force_generic_plan
-- test_queue_plans.py: with the statistics of an empty queue, Postgres would read and sort all waiting jobs.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_limit integer := automatch.limit_claim(p_worker_id, p_limit);
    v_now timestamptz := automatch.now();
    v_positions bigint[];
    v_ids uuid[];
    v_isolated boolean[];
    v_model text := public.active_embedding_model();
begin
    if v_limit <= 0 then
        return;
    end if;
    -- Many at once, however few are claimed: otherwise a retry would wait for the last of 20,000 jobs of
    -- a school that was resumed.
    perform automatch.promote_due_jobs(500);

    select array_agg(due.id), array_agg(due.position), array_agg(due.isolated)
    into v_ids, v_positions, v_isolated
    from (
        select j.id, j.position, j.isolated
        from public.match_jobs as j
        where j.completed_at is null and j.status = 'pending' and not j.scheduled and j.position >= p_min_position
        order by j.position
        limit v_limit
        for update skip locked
    ) as due;
    if v_ids is null then
        return;
    end if;
    -- Up to the first isolated job, or that job alone.
    v_limit := case when v_isolated[1] then 1
                    else coalesce(array_position(v_isolated, true) - 1, cardinality(v_ids)) end;
    if v_positions[v_limit] > (select c.last_value from automatch.match_job_virtual_time as c) then
        perform automatch.advance_virtual_time(v_positions[v_limit]);
    end if;

    return query
        with claimed as (
            update public.match_jobs as j
            set status = 'processing',
                attempts = j.attempts + 1,
                lease_token = j.lease_token + 1,
                lease_expires_at = v_now + p_lease,
                worker_id = p_worker_id,
                started_at = v_now,
                error_code = null,
                error_message = null,
                timings = jsonb_build_object('claimed_ms', round(1000 * extract(epoch from v_now - j.created_at), 1))
            where j.id = any (v_ids[:v_limit])
            returning j.id, j.lease_token, j.attempts, j.max_attempts, j.face_id, j.isolated, j.position, j.created_at,
                j.request_id
        )
        select
            c.id, c.lease_token, c.attempts, c.max_attempts, c.face_id, f.image_path,
            exists (select from public.face_embeddings as e where e.model = v_model and e.face_id = c.face_id),
            c.isolated, c.position, extract(epoch from v_now - c.created_at)::double precision, c.request_id
        from claimed as c
        join public.faces as f on f.id = c.face_id
        order by c.position;
    perform automatch.notify_job_owners(v_ids[:v_limit]);
end
$$;
comment on function public.claim_match_jobs(uuid, integer, interval, bigint) is
    'pending -> processing: claim the next jobs under a lease. p_min_position skips positions that the '
    'caller has seen empty; call with 0 when nothing is found.';

create function public.renew_match_leases(p_job_ids uuid[], p_tokens bigint[], p_lease interval)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
    ),
    -- Locked jobs are skipped: they are being completed or erased at this moment, and the next renewal
    -- comes well before their leases end.
    free as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        for no key update of j skip locked
    ),
    renewed as (
        update public.match_jobs as j
        set lease_expires_at = automatch.now() + p_lease
        from free as f
        where j.id = f.id
    )
    select h.id from held as h
$$;
comment on function public.renew_match_leases(uuid[], bigint[], interval) is
    'The jobs that are still held; leases of all others are lost.';

create function public.seconds_to_next_match_job()
returns double precision language sql stable security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres reads finished jobs while statistics say that many wait.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select case
        when (select q.paused from automatch.queue_settings as q) then null
        when exists (
            select from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and not j.scheduled
        ) then 0
        else (
            select extract(epoch from j.run_at - automatch.now())::double precision
            from public.match_jobs as j
            where j.status = 'pending' and j.scheduled and j.run_at < 'infinity'
            order by j.run_at
            limit 1
        )
    end
$$;
comment on function public.seconds_to_next_match_job() is
    'Until the next job can be claimed: 0 when one can be now, null when none is scheduled.';

create function public.count_waiting_match_jobs(p_limit integer)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres reads finished jobs while statistics say that many wait.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select count(*)::integer
    from (
        select from public.match_jobs as j where j.completed_at is null and j.status = 'pending' limit p_limit
    ) as waiting
$$;
comment on function public.count_waiting_match_jobs(integer) is 'The number of waiting jobs, counted up to p_limit.';
