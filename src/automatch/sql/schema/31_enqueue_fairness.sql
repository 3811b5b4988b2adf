-- Whose turn it is: every waiting job has a position on one line that all workers take from.
--
-- Fairness is decided when a job is queued, so that a claim is the same short index scan whatever
-- the number of schools. It is start-time fair queueing (Goyal, Vin, Cheng 1996) with two levels: a
-- school's people stand one step apart, and a person's further jobs as many steps apart as people
-- of the school wait. So of 20,000 jobs of one school, or of one person, the second stands behind
-- the first job of everybody else.

-- The virtual time: the position claimed last. A sequence, because it is written at every claim:
-- no row versions, no lock until commit, and a position that is lost with a crash does no harm.
create sequence automatch.match_job_virtual_time as bigint minvalue 0 start 0;

create function automatch.priority_weight(p_priority smallint)
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select case p_priority when 1 then 4 when 2 then 16 else 256 end $$;
comment on function automatch.priority_weight(smallint) is
    'How far apart the jobs of one line stand: the inverse of a priority''s share.';

create function automatch.next_position(
    p_school text, p_user_id uuid, p_priority smallint, out "position" bigint, out first_of_user boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
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
    -- Nothing at or before the clock is looked at: there lie the rows that were claimed and cannot
    -- be vacuumed yet. Rows are compared whole because only the index of the line has that order:
    -- by position alone Postgres may walk the index of turns, past all that wait of everybody else.
    select j.position into v_school_end
    from public.match_jobs as j
    where j.status = 'pending' and not j.scheduled and j.first_of_user
      and (j.school, j.priority, j.position) > (p_school, p_priority, v_clock)
      and (j.school, j.priority, j.position) <= (p_school, p_priority, v_last)
    order by j.school desc, j.priority desc, j.position desc
    limit 1;
    select j.position into v_own_end
    from public.match_jobs as j
    where j.status = 'pending' and not j.scheduled
      and (j.user_id, j.priority, j.position) > (p_user_id, p_priority, v_clock)
      and (j.user_id, j.priority, j.position) <= (p_user_id, p_priority, v_last)
    order by j.user_id desc, j.priority desc, j.position desc
    limit 1;
    v_school_end := coalesce(v_school_end, v_clock);
    first_of_user := v_own_end is null;
    -- The people of a school stand a step apart: how far their line reaches is how many they are.
    position := case when first_of_user then v_school_end + v_step
                else v_own_end + greatest(v_school_end - v_clock, v_step) end;
end
$$;
comment on function automatch.next_position(text, uuid, smallint) is
    'Where a job that is queued now stands. Two that are queued at once may get the same position.';

create function automatch.doorbell()
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select 7310579611417370::bigint $$;
comment on function automatch.doorbell() is 'Key of the advisory lock that a sleeping worker holds; the next two are the cleanup''s and the pauses''.';

-- Whoever lets a job wait reads which schools are paused, and holds this until the commit; whoever
-- pauses or resumes waits for them all. Else a job that is queued this moment would slip through a
-- pause, or wait for the end of one that has ended. Taken before any job is locked.
create function automatch.lock_pauses_shared()
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock_shared(automatch.doorbell() + 2) $$;

create function automatch.assign_position()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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

-- A worker that is about to sleep takes the lock of the doorbell for its session. A shared lock that cannot be
-- had therefore means that somebody sleeps and has to be woken. While all are awake nothing is
-- notified, which matters: a commit with a NOTIFY waits for every other such commit, fsync included.
-- Taking the lock waits, by trying again, until no enqueuer that found everybody awake is still
-- uncommitted; the sleeper looks once more after that, so nothing is missed.
create function automatch.wake_workers()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock_shared(automatch.doorbell()) then
        perform pg_notify('automatch_jobs', '');
    end if;
end
$$;

create function automatch.match_jobs_queued()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.wake_workers();
    return null;
end
$$;

-- Whoever queues a job, an SQL editor too.
create trigger match_jobs_queued
after insert on public.match_jobs
for each statement execute function automatch.match_jobs_queued();

create function public.enqueue_match_job(
    p_face_id uuid, p_priority smallint default null, p_threshold double precision default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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
    -- A job that is about to end is waited for. The school stays: its turn, or its pause, is of that.
    on conflict (face_id) where status in ('pending', 'processing')
        do update set threshold = coalesce(excluded.threshold, match_jobs.threshold)
    returning id into v_id;
    return v_id;
end
$$;
comment on function public.enqueue_match_job(uuid, smallint, double precision) is
    'Queue a face for matching; while one job of it is open, that one is returned. Priority 1 for the '
    'only photo of a person, else 2; 3 is for work that nobody waits for.';
