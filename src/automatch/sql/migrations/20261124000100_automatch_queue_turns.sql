-- Whose turn it is: every waiting job has a position on one line that all workers take from.
--
-- Fairness is decided when a job is queued, so that a claim is the same short index scan whatever
-- the number of schools. It is start-time fair queueing (Goyal, Vin, Cheng 1996) with two levels: a
-- school's people stand one step apart, and a person's further jobs as many steps apart as people
-- of the school wait. So of 20,000 jobs of one school, or of one person, the second stands behind
-- the first job of everybody else.

-- The virtual time: the position claimed last. A sequence, because it is written at every claim:
-- no row versions, no lock until commit, and a position that is lost with a crash does no harm.
create sequence automatch.match_job_clock as bigint minvalue 0 start 0;

create table automatch.queue_settings (
    only_row boolean primary key default true,
    paused boolean not null default false,
    concurrency integer,
    constraint there_is_one_row check (only_row),
    constraint concurrency_is_positive check (concurrency > 0)
);
comment on column automatch.queue_settings.concurrency is
    'Jobs that one worker may hold at once; null: as many as its own settings say.';
insert into automatch.queue_settings default values;

create table automatch.paused_schools (
    school text primary key,
    paused_at timestamptz not null default automatch.now()
);
comment on table automatch.paused_schools is 'Schools whose jobs wait until an operator lets them go on.';

do $$
declare
    v_table text;
begin
    foreach v_table in array array['automatch.queue_settings', 'automatch.paused_schools'] loop
        execute 'alter table ' || v_table || ' enable row level security';
        execute 'alter table ' || v_table || ' force row level security';
        execute 'create policy service on ' || v_table
            || ' to service_role, current_user using (true) with check (true)';
        execute 'revoke all on ' || v_table || ' from anon, authenticated, service_role';
        execute 'grant select, insert, update, delete on ' || v_table || ' to service_role';
    end loop;
end
$$;

drop index public.match_jobs_pending_idx;
alter table public.match_jobs
    alter column pos drop not null,
    alter column pos drop default,
    add column priority smallint not null default 2,
    add column first_in_line boolean not null default true,
    add column deferred boolean not null default false,
    add column solo boolean not null default false,
    add column threshold double precision,
    add constraint priority_is_known check (priority between 1 and 3),
    add constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    add constraint pending_has_a_turn_or_a_time check (
        status <> 'pending' or deferred or pos is not null
    ),
    add constraint only_pending_is_deferred check (status = 'pending' or not deferred);
drop sequence automatch.match_job_pos;
select setval('automatch.match_job_clock', coalesce(max(pos), 0)) from public.match_jobs;
update public.match_jobs set deferred = true where status = 'pending' and run_at > automatch.now();

comment on column public.match_jobs.pos is
    'Its turn: workers claim the lowest first. Null until a deferred job comes due.';
comment on column public.match_jobs.priority is
    '1: a person''s first photo; 2: any other; 3: work that nobody waits for.';
comment on column public.match_jobs.first_in_line is
    'Whether it was the only job of its person and priority that waited; these make up a school''s line.';
comment on column public.match_jobs.deferred is
    'Waits for run_at and not for its turn: a retry, or a job of a paused school (run_at = infinity).';
comment on column public.match_jobs.solo is
    'A worker was lost with it: claimed alone from now on, so that it takes nobody along.';
comment on column public.match_jobs.threshold is
    'Similarity for this run, when an operator asked for another one than that of match_settings.';

-- What a claim reads, in order, from where the last one stopped.
create index match_jobs_turn_idx on public.match_jobs (pos) where status = 'pending' and not deferred;
-- What comes due next.
create index match_jobs_deferred_idx on public.match_jobs (run_at) where status = 'pending' and deferred;
-- Where the line of a school and that of a person end: see next_turn().
create index match_jobs_school_line_idx on public.match_jobs (school, priority, pos)
    where status = 'pending' and not deferred and first_in_line;
create index match_jobs_person_line_idx on public.match_jobs (user_id, priority, pos)
    where status = 'pending' and not deferred;
-- Old jobs lie together: what the cleanup reads, at next to no cost for those that write.
create index match_jobs_created_idx on public.match_jobs using brin (created_at) with (pages_per_range = 32);

-- Every job is written three times and deleted once. Vacuum follows closely and at full speed:
-- what it leaves behind is what the next claim has to step over. Free space in the pages keeps
-- lease renewals out of the indexes.
alter table public.match_jobs set (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 2000
);

create function automatch.turn_step(p_priority smallint)
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select case p_priority when 1 then 4 when 2 then 16 else 256 end $$;
comment on function automatch.turn_step(smallint) is
    'How far apart the jobs of one line stand: the inverse of a priority''s share.';

create function automatch.next_turn(
    p_school text, p_user_id uuid, p_priority smallint, out pos bigint, out first_in_line boolean
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
    v_step bigint := automatch.turn_step(p_priority);
    v_last constant bigint := 9223372036854775807;
    v_clock bigint;
    v_school_end bigint;
    v_own_end bigint;
begin
    select c.last_value into v_clock from automatch.match_job_clock as c;
    -- Nothing at or before the clock is looked at: there lie the rows that were claimed and cannot
    -- be vacuumed yet. Rows are compared whole because only the index of the line has that order:
    -- by pos alone Postgres may walk the index of turns, past all that wait of everybody else.
    select j.pos into v_school_end
    from public.match_jobs as j
    where j.status = 'pending' and not j.deferred and j.first_in_line
      and (j.school, j.priority, j.pos) > (p_school, p_priority, v_clock)
      and (j.school, j.priority, j.pos) <= (p_school, p_priority, v_last)
    order by j.school desc, j.priority desc, j.pos desc
    limit 1;
    select j.pos into v_own_end
    from public.match_jobs as j
    where j.status = 'pending' and not j.deferred
      and (j.user_id, j.priority, j.pos) > (p_user_id, p_priority, v_clock)
      and (j.user_id, j.priority, j.pos) <= (p_user_id, p_priority, v_last)
    order by j.user_id desc, j.priority desc, j.pos desc
    limit 1;
    v_school_end := coalesce(v_school_end, v_clock);
    first_in_line := v_own_end is null;
    -- The people of a school stand a step apart: how far their line reaches is how many they are.
    pos := case when first_in_line then v_school_end + v_step
                else v_own_end + greatest(v_school_end - v_clock, v_step) end;
end
$$;
comment on function automatch.next_turn(text, uuid, smallint) is
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
create function automatch.heed_pauses()
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock_shared(automatch.doorbell() + 2) $$;

create function automatch.take_turn()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.heed_pauses();
    if exists (select from automatch.paused_schools as s where s.school = new.school) then
        new.run_at := 'infinity';
    end if;
    if new.run_at > automatch.now() then
        new.deferred := true;
    else
        select t.pos, t.first_in_line into new.pos, new.first_in_line
        from automatch.next_turn(new.school, new.user_id, new.priority) as t;
    end if;
    return new;
end
$$;

create trigger match_jobs_take_turn
before insert on public.match_jobs
for each row
when (new.status = 'pending' and new.pos is null)
execute function automatch.take_turn();

create function automatch.call_due_jobs(p_limit integer)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_due record;
    v_turn record;
    v_now timestamptz := automatch.now();
begin
    -- Nobody pays for the lock while nothing is due.
    if not exists (
        select from public.match_jobs as j
        where j.status = 'pending' and j.deferred and j.run_at <= v_now
    ) then
        return;
    end if;
    perform automatch.heed_pauses();
    -- One by one: each has to see where the one before it stands.
    for v_due in
        select j.id, j.school, j.user_id, j.priority, j.pos, s.school is not null as paused
        from public.match_jobs as j
        join public.profiles as p on p.id = j.user_id
        join public.faces as f on f.id = j.face_id
        left join automatch.paused_schools as s on s.school = j.school
        where j.status = 'pending' and j.deferred and j.run_at <= v_now
        order by j.run_at
        limit p_limit
        for update of j skip locked
        -- The claim writes the row once more, and a row written twice has its foreign keys checked
        -- again: who is being moved or erased this moment is left for the next claim.
        for key share of p, f skip locked
    loop
        if v_due.paused then
            update public.match_jobs set run_at = 'infinity' where id = v_due.id;
        elsif v_due.pos is not null then
            update public.match_jobs set deferred = false where id = v_due.id;
        else
            select t.* into v_turn
            from automatch.next_turn(v_due.school, v_due.user_id, v_due.priority) as t;
            update public.match_jobs
            set deferred = false, pos = v_turn.pos, first_in_line = v_turn.first_in_line
            where id = v_due.id;
        end if;
    end loop;
end
$$;
comment on function automatch.call_due_jobs(integer) is
    'Give deferred jobs whose time has come a turn; those of a paused school wait on.';

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

create function public.fall_asleep()
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$ select pg_try_advisory_lock(automatch.doorbell()) $$;
comment on function public.fall_asleep() is
    'From now on this session is notified of new jobs on the channel automatch_jobs, if it listens. '
    'False: try again soon, because another sleeps already or a job is being queued this moment.';

create function public.stay_awake()
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_unlock(automatch.doorbell()) $$;
comment on function public.stay_awake() is 'Undo fall_asleep(), before looking for jobs.';

drop function public.enqueue_match_job(uuid);
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

revoke execute on function
    public.enqueue_match_job(uuid, smallint, double precision), public.fall_asleep(), public.stay_awake()
    from public, anon, authenticated;
grant execute on function
    public.enqueue_match_job(uuid, smallint, double precision), public.fall_asleep(), public.stay_awake()
    to service_role;
-- To the login itself: a worker waits for nobody in particular.
grant execute on function public.fall_asleep(), public.stay_awake() to automatch_worker;
revoke execute on all functions in schema automatch from public;
