-- Jobs whose worker was lost, old jobs, and photos that are left over.

create function public.sweep_match_jobs(
    p_first_delay_s double precision default 0, p_longest_delay_s double precision default 0
)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with lost as materialized (
        select j.id, j.attempts < j.max_attempts as again
        from automatch.held_jobs as j
        where j.lease_expires_at < automatch.now()
        limit 500
        for update skip locked
    ),
    swept as (
        update public.match_jobs as j
        set status = case when l.again then 'pending' else 'failed' end,
            -- The worker may come back: its token is no longer valid.
            lease_token = j.lease_token + 1,
            -- This job may have brought the worker down.
            isolated = true,
            scheduled = l.again,
            run_at = case when l.again
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            position = case when l.again then null else j.position end,
            completed_at = case when l.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null,
            error_code = 'worker_lost',
            error_message = 'The worker on this job stopped answering; it did so in '
                            || j.attempts || ' of ' || j.max_attempts || ' attempts.'
        from lost as l
        where j.id = l.id
        returning j.id
    ),
    notified as (
        select automatch.wake_workers(), automatch.notify_job_owners(array(select s.id from swept as s))
        where exists (select from swept)
    )
    select count(s.id)::integer from swept as s left join notified on true
$$;
comment on function public.sweep_match_jobs(double precision, double precision) is
    'processing -> pending or failed, for jobs whose lease has expired; without a delay by default.';

create function public.cleanup_old_match_jobs(p_older_than interval default '7 days')
returns integer language sql security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
-- test_queue_plans.py: what remains is a bitmap scan of match_jobs_created_idx.
set enable_indexscan = off
as $$
    with old as materialized (
        select j.id
        from public.match_jobs as j
        where j.status in ('completed', 'failed')
          and j.completed_at < automatch.now() - p_older_than
          -- Implied by the line above, and the condition that match_jobs_created_idx can use.
          and j.created_at < (select automatch.now() - p_older_than)
          -- That of a photo that waits for a decision says so.
          and not exists (select from automatch.held_faces as h where h.face_id = j.face_id)
          -- One cleanup at a time: two would only skip each other's rows.
          and (select pg_try_advisory_xact_lock(automatch.lock_key('cleanup')))
        limit 2000
        for update skip locked
    ),
    deleted as (
        delete from public.match_jobs as j where j.id = any (array(select o.id from old as o)) returning j.id
    )
    select count(*)::integer from deleted
$$;
comment on function public.cleanup_old_match_jobs(interval) is
    'Delete old finished jobs, at most 2,000; call again while it returns that many.';

create function public.erase_unanswered_photo(p_older_than interval)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile_id uuid;
    v_until timestamptz := automatch.now() - p_older_than;
    v_count integer;
begin
    select j.user_id into v_profile_id
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.face_boxes is not null and j.completed_at < v_until
      and not exists (select from public.face_embeddings as e where e.face_id = f.id)
      and not exists (
          select from public.match_jobs as open
          where open.face_id = f.id and open.completed_at is null
      )
    order by j.completed_at
    limit 1;
    if not found then
        return 0;
    end if;
    perform automatch.lock_for_erasing(v_profile_id);
    -- Checked again behind the locks: the person may have chosen meanwhile.
    delete from public.faces as f
    where f.profile_id = v_profile_id
      -- A photo that another model accepted is kept.
      and not exists (select from public.face_embeddings as e where e.face_id = f.id)
      and exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.face_boxes is not null and j.completed_at < v_until
      )
      and not exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.completed_at is null
      );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.erase_unanswered_photo(interval) is
    'Erase the photos of one person who has not chosen a face for so long. The number of photos; call again '
    'until it is 0.';
