-- Enqueuing, and the fair order of jobs.
--
-- All workers claim the lowest positions of one queue. Positions are fair when they are assigned, so a
-- claim is a short index scan however many schools there are. This is start-time fair queueing (Goyal,
-- Vin, Cheng 1996) with two levels: the people of a school are one step apart, and the further jobs of a
-- person as many steps apart as people of the school wait. So the second of 20,000 jobs of one school, or
-- of one person, comes after the first job of everybody else.

-- The virtual time: the highest position claimed. A sequence, because every claim writes it: it makes no row
-- versions, and holds no lock until commit. A crash that a claim survives it survives too: it is logged before the
-- claim is committed.
create sequence automatch.match_job_virtual_time as bigint minvalue 0 start 0;

create function automatch.advance_virtual_time(p_position bigint)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- Of two claims at once the one with the lower positions must not set it back: held_jobs would miss the other's.
    perform pg_advisory_xact_lock(automatch.lock_key('virtual_time'));
    if p_position > (select c.last_value from automatch.match_job_virtual_time as c) then
        perform setval('automatch.match_job_virtual_time', p_position);
    end if;
    -- This block is undone, which gives the lock back before the claim is committed; a sequence keeps its value.
    raise exception using errcode = 'AM002';
exception
    when sqlstate 'AM002' then
        return;
end
$$;

-- Found by the virtual time, without reading those who wait: it is never before a position that was claimed.
create view automatch.held_jobs with (security_invoker = true) as
select j.*
from public.match_jobs as j
where j.completed_at is null and not j.scheduled and j.status = 'processing'
  and j.position <= (select t.last_value from automatch.match_job_virtual_time as t);
comment on view automatch.held_jobs is 'The jobs that workers hold.';

create function automatch.priority_weight(p_priority smallint)
returns bigint language sql immutable set search_path = pg_catalog, pg_temp
as $$ select case p_priority when 1 then 4 when 2 then 16 else 256 end $$;
comment on function automatch.priority_weight(smallint) is
    'The step between positions: the inverse of the priority''s share of the workers.';

create function automatch.next_position(
    p_school text, p_user_id uuid, p_priority smallint, out "position" bigint, out first_of_user boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres looks up the ends of an index to plan, and reads and sorts all jobs of a
-- school or a person.
set plan_cache_mode = force_generic_plan
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_step bigint := automatch.priority_weight(p_priority);
    v_last constant bigint := 9223372036854775807;
    v_clock bigint;
    v_school_end bigint;
    v_own_end bigint;
begin
    select c.last_value into v_clock from automatch.match_job_virtual_time as c;
    -- Only positions after the virtual time: before it lie claimed rows. Rows are
    -- compared whole, because only the index meant here has that order: compared by position alone,
    -- Postgres may walk match_jobs_position_idx past everybody else's jobs.
    select j.position into v_school_end
    from public.match_jobs as j
    where j.completed_at is null and not j.scheduled and j.first_of_user
      and (j.school, j.priority, j.position) > (p_school, p_priority, v_clock)
      and (j.school, j.priority, j.position) <= (p_school, p_priority, v_last)
    order by j.school desc, j.priority desc, j.position desc
    limit 1;
    select j.position into v_own_end
    from public.match_jobs as j
    where j.completed_at is null and not j.scheduled
      and (j.user_id, j.priority, j.position) > (p_user_id, p_priority, v_clock)
      and (j.user_id, j.priority, j.position) <= (p_user_id, p_priority, v_last)
    order by j.user_id desc, j.priority desc, j.position desc
    limit 1;
    v_school_end := coalesce(v_school_end, v_clock);
    first_of_user := v_own_end is null;
    -- The people of a school are one step apart, so the distance to its end says how many they are.
    position := case when first_of_user then v_school_end + v_step
                else v_own_end + greatest(v_school_end - v_clock, v_step) end;
end
$$;
comment on function automatch.next_position(text, uuid, smallint) is
    'The position of a job that is queued now. Two that are queued at once may get the same one.';

-- Whoever makes a job pending holds this lock until commit, and whoever pauses or resumes a school waits
-- for it. Otherwise a job that is queued at that moment could slip through a pause, or wait for the end
-- of one that is over. It is taken before any job is locked.
create function automatch.lock_pauses_shared()
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock_shared(automatch.lock_key('pauses')) $$;

create function automatch.assign_position()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_pauses_shared();
    if exists (select from automatch.paused_schools as s where s.school = new.school) then
        new.run_at := 'infinity';
    end if;
    if new.run_at > automatch.now() then
        new.scheduled := true;
    else
        select t.position, t.first_of_user into new.position, new.first_of_user
        from automatch.next_position(new.school, new.user_id, new.priority) as t;
    end if;
    return new;
end
$$;

create trigger match_jobs_assign_position
before insert on public.match_jobs
for each row
when (new.status = 'pending' and new.position is null)
execute function automatch.assign_position();

-- An idle worker holds the lock idle_worker in its session, so a shared lock that is refused means that
-- somebody has to be notified. Without idle workers nothing is notified: a commit with a NOTIFY waits
-- for every other such commit, fsync included. A worker gets the lock only when no transaction that found
-- nobody idle is still open, and it fetches once more after that: so no job is missed.
create function automatch.wake_workers()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock_shared(automatch.lock_key('idle_worker')) then
        perform pg_notify('automatch_jobs', '');
    end if;
end
$$;

create function automatch.match_jobs_queued()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.wake_workers();
    return null;
end
$$;

create trigger match_jobs_queued after insert on public.match_jobs
for each statement execute function automatch.match_jobs_queued();

create function public.enqueue_match_job(
    p_face_id uuid, p_priority smallint default null, p_threshold double precision default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into public.match_jobs (face_id, user_id, school, priority, threshold)
    select f.id, p.id, p.school,
        coalesce(p_priority, case
            when exists (select from public.faces as o where o.profile_id = p.id and o.id <> f.id) then 2
            else 1
        end),
        p_threshold
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where f.id = p_face_id and p.school is not null
    -- Waits for a job that is about to end. The school stays, because the position belongs to it.
    on conflict (face_id) where completed_at is null
        do update set threshold = coalesce(excluded.threshold, match_jobs.threshold)
    returning id into v_id;
    return v_id;
end
$$;
comment on function public.enqueue_match_job(uuid, smallint, double precision) is
    'Queue a face for matching, or return its open job. Priority 1 for the only photo of a person, 2 for '
    'others, 3 for work that nobody waits for.';
