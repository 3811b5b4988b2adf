-- The operator's functions for the queue.

create function automatch.lock_pauses_exclusive()
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock(automatch.lock_key('pauses')) $$;
comment on function automatch.lock_pauses_exclusive() is 'See lock_pauses_shared().';

create function public.is_search_paused()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (select q.paused from automatch.queue_settings as q)
        or exists (
            select from automatch.paused_schools as s
            join public.profiles as p on p.school = s.school
            where p.id = (select automatch.uid())
        )
$$;
comment on function public.is_search_paused() is 'Whether photos of the caller wait because an operator has paused their queue.';

create function public.pause_match_jobs(p_school text default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
    v_waiting integer;
begin
    if p_school is null then
        update automatch.queue_settings set paused = true;
        select count(*)::integer into v_waiting
        from public.match_jobs as j where j.completed_at is null and j.status = 'pending';
    else
        v_school := (automatch.require_school(p_school)).name;
        perform automatch.lock_pauses_exclusive();
        insert into automatch.paused_schools (school) values (v_school) on conflict do nothing;
        with waiting as materialized (
            select j.id
            from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and j.school = v_school
            order by j.id
            for no key update
        )
        -- With their positions they would all come first when the school is resumed.
        update public.match_jobs as j
        set scheduled = true, run_at = 'infinity', position = null
        from waiting as w
        where j.id = w.id;
        get diagnostics v_waiting = row_count;
    end if;
    perform automatch.notify_feeds(array(
        select distinct j.user_id from public.match_jobs as j where j.completed_at is null and j.status = 'pending'
    ));
    perform automatch.audit(p_actor, 'pause', jsonb_build_object('school', v_school, 'waiting', v_waiting));
    return v_waiting;
end
$$;
comment on function public.pause_match_jobs(text, text) is
    'Stop claims, of one school or of the whole queue. Uploads are still accepted, and jobs in progress are '
    'completed. The number of waiting jobs.';

create function public.resume_match_jobs(p_school text default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
    v_waiting integer;
begin
    if p_school is null then
        update automatch.queue_settings set paused = false;
        select count(*)::integer into v_waiting
        from public.match_jobs as j where j.completed_at is null and j.status = 'pending' and j.run_at < 'infinity';
    else
        v_school := (automatch.require_school(p_school)).name;
        perform automatch.lock_pauses_exclusive();
        delete from automatch.paused_schools where school = v_school;
        with waiting as materialized (
            select j.id
            from public.match_jobs as j
            where j.status = 'pending' and j.scheduled and j.school = v_school and j.run_at = 'infinity'
            order by j.id
            for no key update
        )
        -- In the order of their uploads; claims give them positions.
        update public.match_jobs as j
        set run_at = j.created_at
        from waiting as w
        where j.id = w.id;
        get diagnostics v_waiting = row_count;
    end if;
    perform automatch.notify_feeds(array(
        select distinct j.user_id from public.match_jobs as j where j.completed_at is null and j.status = 'pending'
    ));
    perform automatch.audit(p_actor, 'resume', jsonb_build_object('school', v_school, 'waiting', v_waiting));
    perform automatch.wake_workers();
    return v_waiting;
end
$$;
comment on function public.resume_match_jobs(text, text) is
    'Undo pause_match_jobs(), for one school or for the whole queue; schools that were paused by name stay '
    'paused. The number of jobs that can be claimed again.';

create function public.set_match_concurrency(p_jobs integer, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_jobs < 1 then
        perform automatch.raise_error('input_invalid', 'A worker holds at least one job; to stop all, pause the queue.');
    end if;
    update automatch.queue_settings set concurrency = p_jobs;
    perform automatch.audit(p_actor, 'concurrency', jsonb_build_object('jobs', p_jobs));
    perform automatch.wake_workers();
end
$$;
comment on function public.set_match_concurrency(integer, text) is
    'Set how many jobs a worker may hold at once, from its next claim on; null: as its own settings say.';

create function automatch.retryable_match_jobs(p_job_ids uuid[], p_code text)
returns setof public.match_jobs language sql stable set search_path = pg_catalog, pg_temp
as $$
    select j.*
    from public.match_jobs as j
    where j.status = 'failed'
      and (p_job_ids is null or j.id = any (p_job_ids))
      and (p_code is null or j.error_code = p_code)
      and not exists (
          select from public.match_jobs as open
          where open.face_id = j.face_id and open.completed_at is null
      )
      -- Without ids: only photos that no later job has completed.
      and (p_job_ids is not null or not exists (
          select from public.match_jobs as later
          where later.face_id = j.face_id and later.status = 'completed'
            and later.completed_at >= j.completed_at
      ))
$$;
comment on function automatch.retryable_match_jobs(uuid[], text) is
    'Failed jobs whose photos can be searched for again; of each photo the newest one is retried.';

create function public.count_retryable_match_jobs(p_code text default null)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select count(distinct r.face_id)::integer from automatch.retryable_match_jobs(null, p_code) as r $$;
comment on function public.count_retryable_match_jobs(text) is
    'How many jobs retry_failed_match_jobs() would queue again: of one error code, or all.';

create function public.retry_failed_match_jobs(
    p_job_ids uuid[] default null, p_code text default null, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
    v_failed uuid[] := array(
        select r.id from automatch.retryable_match_jobs(p_job_ids, p_code) as r
    );
begin
    -- As for enqueue_searches().
    perform from public.profiles as p
    where p.id in (select j.user_id from public.match_jobs as j where j.id = any (v_failed))
    order by p.id
    for no key update;
    loop
        begin
            with failed as materialized (
                select j.id, j.face_id, j.completed_at
                from public.match_jobs as j
                where j.status = 'failed' and j.id = any (v_failed)
                  and j.id in (select r.id from automatch.retryable_match_jobs(p_job_ids, p_code) as r)
                order by j.id
                for no key update of j
            ),
            -- The newest failed job of each photo.
            newest as (
                select distinct on (f.face_id) f.id from failed as f order by f.face_id, f.completed_at desc, f.id
            ),
            again as (
                update public.match_jobs as j
                set status = 'pending', attempts = 0, missing_file_count = 0, scheduled = true,
                    run_at = automatch.now(), position = null, isolated = false,
                    completed_at = null, error_code = null, error_message = null,
                    face_boxes = null, refused_picture = null
                from newest as n
                where j.id = n.id
                returning j.id
            )
            select count(*)::integer into v_count from again;
            exit;
        exception when unique_violation then
            -- One of the photos was queued at this moment: try again, that job is visible now.
            null;
        end;
    end loop;
    perform automatch.audit(
        p_actor, 'retry', jsonb_build_object('jobs', to_jsonb(p_job_ids), 'code', p_code, 'count', v_count)
    );
    perform automatch.wake_workers();
    perform automatch.notify_job_owners(v_failed);
    return v_count;
end
$$;
comment on function public.retry_failed_match_jobs(uuid[], text, text) is
    'failed -> pending with all their attempts: the given jobs, those of one error code, or all. How many.';

create function public.cancel_match_jobs(p_job_ids uuid[], p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    with open as materialized (
        select j.id
        from public.match_jobs as j
        where j.id = any (p_job_ids) and j.completed_at is null
        order by j.id
        for no key update of j
    ),
    cancelled as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), scheduled = false,
            -- The worker can no longer write.
            lease_token = j.lease_token + 1, lease_expires_at = null, worker_id = null,
            error_code = 'job_cancelled',
            error_message = 'The search for this photo was stopped by the operator.'
        from open as o
        where j.id = o.id
        returning j.id
    )
    select count(*)::integer into v_count from cancelled;
    perform automatch.audit(p_actor, 'cancel', jsonb_build_object('jobs', to_jsonb(p_job_ids), 'count', v_count));
    perform automatch.notify_job_owners(p_job_ids);
    return v_count;
end
$$;
comment on function public.cancel_match_jobs(uuid[], text) is
    'pending or processing -> failed, with the code job_cancelled. How many were open.';

create function public.requeue_match_job(
    p_job_id uuid, p_threshold double precision default null, p_actor text default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_face_id uuid;
    v_id uuid;
begin
    if p_threshold <= 0 or p_threshold >= 1 then
        perform automatch.raise_error('input_invalid', 'A threshold is a similarity between 0 and 1, such as 0.4.');
    end if;
    select j.face_id into v_face_id from public.match_jobs as j where j.id = p_job_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    v_id := public.enqueue_match_job(v_face_id, null, p_threshold);
    if v_id is null then
        perform automatch.raise_error('profile_incomplete', 'The person of this photo names no school any more.');
    end if;
    perform automatch.audit(
        p_actor, 'requeue', jsonb_build_object('job', p_job_id, 'threshold', p_threshold, 'new_job', v_id)
    );
    return v_id;
end
$$;
comment on function public.requeue_match_job(uuid, double precision, text) is
    'Search for the photo of a job again, with a threshold of its own if one is given. Existing matches stay. '
    'The new job, or the open job of the photo.';

create function public.prioritize_match_jobs(
    p_job_ids uuid[], p_priority smallint default 1::smallint, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
    v_next record;
    v_count integer := 0;
begin
    if p_priority not between 1 and 3 then
        perform automatch.raise_error('input_invalid', 'A priority is 1 (soon), 2 (as usual) or 3 (when nobody waits).');
    end if;
    for v_job in
        select j.id, j.school, j.user_id, j.scheduled
        from public.match_jobs as j
        where j.id = any (p_job_ids) and j.status = 'pending' and j.priority <> p_priority
        order by j.id
        for no key update of j
    loop
        select t.* into v_next from automatch.next_position(v_job.school, v_job.user_id, p_priority) as t;
        update public.match_jobs as j
        set priority = p_priority,
            position = case when v_job.scheduled then null else v_next.position end,
            first_of_user = v_next.first_of_user
        where j.id = v_job.id;
        v_count := v_count + 1;
    end loop;
    perform automatch.audit(
        p_actor, 'prioritize',
        jsonb_build_object('jobs', to_jsonb(p_job_ids), 'priority', p_priority, 'count', v_count)
    );
    return v_count;
end
$$;
comment on function public.prioritize_match_jobs(uuid[], smallint, text) is
    'Give waiting jobs another priority and a new position. How many changed.';

create function public.get_match_queue()
returns table (
    paused boolean, concurrency integer, paused_schools text[], waiting bigint, scheduled bigint, processing bigint,
    expired_leases bigint, workers bigint, oldest_waiting_s double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        q.paused,
        q.concurrency,
        array(select s.school from automatch.paused_schools as s order by s.school),
        open.waiting, open.scheduled, open.processing, open.expired, open.workers, open.oldest_waiting_s
    from automatch.queue_settings as q
    -- Through partial indexes: finished jobs are not read.
    cross join (
        select
            count(*) filter (where j.status = 'pending' and not j.scheduled) as waiting,
            count(*) filter (where j.scheduled) as scheduled,
            count(*) filter (where j.status = 'processing') as processing,
            count(*) filter (where j.lease_expires_at < automatch.now()) as expired,
            count(distinct j.worker_id) as workers,
            extract(epoch from automatch.now() - min(j.created_at) filter (
                where j.status = 'pending' and not j.scheduled
            ))::double precision as oldest_waiting_s
        from public.match_jobs as j
        where j.completed_at is null
    ) as open
$$;
comment on function public.get_match_queue() is
    'How many jobs wait and are in progress, and what is paused. Times in seconds.';

create function public.list_match_jobs(
    p_status text default null, p_school text default null, p_code text default null,
    p_job_ids uuid[] default null, p_limit integer default 50, p_user_id uuid default null,
    p_before timestamptz default null
)
returns table (
    id uuid, face_id uuid, user_id uuid, school text, status text, priority smallint, attempts smallint,
    max_attempts smallint, error_code text, error_message text, created_at timestamptz, run_at timestamptz,
    started_at timestamptz, completed_at timestamptz, scheduled boolean, isolated boolean, worker_id uuid,
    lease_expires_at timestamptz, threshold double precision, match_count integer, timings jsonb, reached bigint,
    seen_later bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with chosen as materialized (
        select j.*
        from public.match_jobs as j
        where (p_status is null or j.status = p_status)
          and (p_school is null or j.school = p_school)
          and (p_code is null or j.error_code = p_code)
          and (p_job_ids is null or j.id = any (p_job_ids))
          and (p_user_id is null or j.user_id = p_user_id)
          and (p_before is null or j.created_at < p_before)
        order by j.created_at desc, j.id
        limit least(greatest(p_limit, 1), 1000)
    )
    select
        j.id, j.face_id, j.user_id, j.school, j.status, j.priority, j.attempts, j.max_attempts, j.error_code,
        j.error_message, j.created_at, nullif(j.run_at, 'infinity'), j.started_at, j.completed_at, j.scheduled,
        j.isolated, j.worker_id, j.lease_expires_at, j.threshold, j.match_count,
        j.timings || coalesce(d.timings, '{}'), coalesce(d.reached, 0), coalesce(d.seen_later, 0)
    from chosen as j
    left join automatch.delivery_times(array(select c.id from chosen as c)) as d on d.job_id = j.id
    order by j.created_at desc, j.id
$$;
comment on function public.list_match_jobs(text, text, text, uuid[], integer, uuid, timestamptz) is
    'Jobs, newest first, and when their matches reached open pages; p_before those uploaded earlier than that. run_at is '
    'null while the school is paused.';

create function public.get_match_job_stats()
returns table (status text, count bigint, oldest_created_at timestamptz, avg_seconds double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select j.status, count(*), min(j.created_at),
        avg(extract(epoch from j.completed_at - j.created_at))::double precision
    from public.match_jobs as j
    group by j.status
    order by j.status
$$;
comment on function public.get_match_job_stats() is 'How many jobs are in each status, and how long they took.';
