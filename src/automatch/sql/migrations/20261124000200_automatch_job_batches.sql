-- Every state change of a job, each once, for a batch of any size: docs/job-lifecycle.md is the
-- picture of it. Every function after the claim is fenced: a job with another token than the row's
-- is left alone and missing from the answer, which is how a worker learns that it was given up.
-- The functions for a single job are the same ones, called with one. Those that only look for some
-- rows say that no table is to be read whole: a plan made while the queue was empty lives on. That
-- `id = any (...)` says once more what a join says is for the same end.
-- The clock is read once for a batch: a call with a search_path to set and to reset, for each row,
-- costs as much as the row.

set search_path = public, extensions;

drop function public.claim_match_jobs(uuid, integer, interval);
create function public.claim_match_jobs(
    p_worker_id uuid, p_limit integer, p_lease interval, p_floor bigint default 0
)
returns table (
    id uuid,
    lease_token bigint,
    attempts smallint,
    max_attempts smallint,
    face_id uuid,
    image_path text,
    is_embedded boolean,
    solo boolean,
    pos bigint
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- One plan, whatever the statistics say: the index of turns, in order. Without statistics, or with
-- those of an empty queue, Postgres would read and sort all that waits.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_limit integer := p_limit;
    v_now timestamptz := automatch.now();
    v_queue automatch.queue_settings;
    v_turns bigint[];
    v_ids uuid[];
    v_alone boolean[];
begin
    select q.* into v_queue from automatch.queue_settings as q;
    if v_queue.paused then
        return;
    end if;
    if v_queue.concurrency is not null then
        -- One claim of a worker at a time, or two would both find the same room.
        perform pg_advisory_xact_lock(hashtextextended(p_worker_id::text, 0));
        v_limit := least(p_limit, v_queue.concurrency - (
            select count(*)::integer from public.match_jobs as j
            where j.status = 'processing' and j.worker_id = p_worker_id
        ));
    end if;
    if v_limit <= 0 then
        return;
    end if;
    -- Many at once, however few are claimed: or somebody's retry would wait until the last of
    -- 20,000 jobs of a school that goes on has its turn.
    perform automatch.call_due_jobs(500);

    select array_agg(due.id), array_agg(due.pos), array_agg(due.solo)
    into v_ids, v_turns, v_alone
    from (
        select j.id, j.pos, j.solo
        from public.match_jobs as j
        where j.status = 'pending' and not j.deferred and j.pos >= p_floor
        order by j.pos
        limit v_limit
        for update skip locked
    ) as due;
    if v_ids is null then
        return;
    end if;
    -- Up to the first job that has to be alone; or that one.
    v_limit := case when v_alone[1] then 1
                    else coalesce(array_position(v_alone, true) - 1, cardinality(v_ids)) end;
    if v_turns[v_limit] > (select c.last_value from automatch.match_job_clock as c) then
        perform setval('automatch.match_job_clock', v_turns[v_limit]);
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
                timings = jsonb_build_object('claimed', round(extract(epoch from v_now - j.created_at), 4))
            where j.id = any (v_ids[:v_limit])
            returning j.id, j.lease_token, j.attempts, j.max_attempts, j.face_id, j.solo, j.pos
        )
        select
            c.id, c.lease_token, c.attempts, c.max_attempts, c.face_id, f.image_path,
            coalesce(m.active, false), c.solo, c.pos
        from claimed as c
        join public.faces as f on f.id = c.face_id
        left join public.embedding_models as m on m.id = f.embedding_model
        order by c.pos;
    perform pg_notify('automatch_feed', '');
end
$$;
comment on function public.claim_match_jobs(uuid, integer, interval, bigint) is
    'pending -> processing: take the next due jobs under a lease; two workers never get the same one. '
    'p_floor is a position before which the caller need not look; ask with 0 when it finds none.';

create or replace function public.renew_match_leases(p_job_ids uuid[], p_tokens bigint[], p_lease interval)
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with held as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as mine (id, token) on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
    ),
    -- Waits for nobody: a job that is locked is being settled or erased this moment, and must not
    -- cost the others their renewal. The next beat comes well before its lease ends.
    free as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as mine (id, token) on mine.id = j.id and mine.token = j.lease_token
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

create function public.store_face_embeddings(
    p_job_ids uuid[], p_tokens bigint[], p_embeddings vector[], p_model text, p_quality jsonb[],
    p_timings jsonb[]
)
returns setof uuid
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := automatch.now();
begin
    -- In the order of locks that lock_feeds() names; withdrawing consent takes the same.
    perform from public.profiles as p
    where p.id in (select j.user_id from public.match_jobs as j where j.id = any (p_job_ids))
    order by p.id
    for share;
    perform from public.faces as f
    where f.id in (select j.face_id from public.match_jobs as j where j.id = any (p_job_ids))
    order by f.id
    for no key update;
    return query
        with seen as materialized (
            select j.id, j.face_id, mine.embedding, mine.quality, mine.timings
            from public.match_jobs as j
            join unnest(p_job_ids, p_tokens, p_embeddings, p_quality, p_timings)
                as mine (id, token, embedding, quality, timings)
                on mine.id = j.id and mine.token = j.lease_token
            where j.id = any (p_job_ids) and j.status = 'processing'
            order by j.id
            for no key update of j
        ),
        told as (
            update public.match_jobs as j
            set timings = j.timings || s.timings
                          || jsonb_build_object('seen', round(extract(epoch from v_now - j.created_at), 4))
            from seen as s
            where j.id = s.id
        ),
        kept as (
            update public.faces as f
            set embedding = l2_normalize(s.embedding), embedding_model = p_model, quality = s.quality
            from seen as s
            where f.id = s.face_id
        )
        select s.id from seen as s;
end
$$;
comment on function public.store_face_embeddings(uuid[], bigint[], vector[], text, jsonb[], jsonb[]) is
    'Keep what a worker saw; committed before it searches, so that of two people who upload at once at '
    'least the later search finds the other. Returns the jobs still held.';

create or replace function automatch.put_in_feeds(p_match_ids uuid[])
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now timestamptz;
begin
    perform automatch.lock_feeds(array(
        select unnest(array[m.profile_a_id, m.profile_b_id])
        from public.matches as m where m.id = any (p_match_ids)
    ));
    v_now := automatch.now();

    with sides as (
        select m.id, m.similarity, m.profile_a_id as profile_id, m.profile_b_id as other_profile_id
        from public.matches as m where m.id = any (p_match_ids)
        union all
        select m.id, m.similarity, m.profile_b_id, m.profile_a_id
        from public.matches as m where m.id = any (p_match_ids)
    ),
    -- Of two people the best pair of photos is shown; a worse one changes nothing.
    news as (
        select distinct on (s.profile_id, s.other_profile_id) s.*
        from sides as s
        -- One by one, which "limit" makes sure of: planned while feeds were few, a join would read all
        -- of them for every batch from then on.
        left join lateral (
            select m.similarity
            from automatch.feed_entries as e
            join public.matches as m on m.id = e.match_id
            where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id
            limit 1
        ) as shown on true
        where shown.similarity is null or shown.similarity < s.similarity
        order by s.profile_id, s.other_profile_id, s.similarity desc, s.id
    ),
    -- The best match gets the highest position: a feed shows the newest first.
    placed as materialized (
        select n.*, row_number() over (
            partition by n.profile_id order by n.similarity, n.other_profile_id
        ) as step
        from news as n
    ),
    grown as materialized (
        select p.profile_id, count(*) as entries from placed as p group by p.profile_id
    ),
    heads as (
        update automatch.feed_heads as h
        set last_pos = h.last_pos + g.entries
        from grown as g
        where h.profile_id = g.profile_id
        returning h.profile_id, h.last_pos - g.entries as before
    )
    insert into automatch.feed_entries (profile_id, other_profile_id, pos, match_id, created_at)
    select p.profile_id, p.other_profile_id, h.before + p.step, p.id, v_now
    from placed as p
    join heads as h on h.profile_id = p.profile_id
    on conflict (profile_id, other_profile_id)
        do update set pos = excluded.pos, match_id = excluded.match_id, created_at = excluded.created_at;

    perform pg_catalog.pg_notify('automatch_feed', '');
end
$$;

create type automatch.found_face as (
    job_id uuid, face_id uuid, profile_id uuid, similarity double precision
);

create function automatch.search_for_jobs(p_job_ids uuid[], p_tokens bigint[])
returns automatch.found_face[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_found automatch.found_face[];
begin
    -- Without these a search finds nobody, which would pass for "no match".
    if exists (
        select from unnest(p_job_ids, p_tokens) as mine (id, token)
        join public.match_jobs as j
            on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
        join public.profiles as p on p.id = j.user_id
        where j.id = any (p_job_ids) and (p.school is null or p.gender is null)
    ) then
        perform automatch.refuse('profile_incomplete', 'Fill in your school and gender, then upload the photo again.');
    end if;
    if exists (
        select from unnest(p_job_ids, p_tokens) as mine (id, token)
        join public.match_jobs as j
            on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
        join public.faces as f on f.id = j.face_id
        left join public.embedding_models as m on m.id = f.embedding_model and m.active
        where j.id = any (p_job_ids) and m.id is null
    ) then
        perform automatch.refuse('embedding_invalid', 'The photo has no embedding of the active model.');
    end if;

    select array_agg(row(j.id, c.face_id, c.profile_id, c.similarity)::automatch.found_face)
    into v_found
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    join public.match_jobs as j
        on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
    join public.faces as f on f.id = j.face_id
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    cross join lateral automatch.find_candidates(
        f.embedding,
        p.school,
        case p.gender when 'male' then 'female' else 'male' end,
        array(select automatch.hidden_from(p.id)) || p.id,
        coalesce(j.threshold, s.threshold),
        s.match_count
    ) as c
    where j.id = any (p_job_ids);
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.search_for_jobs(uuid[], bigint[]) is
    'Who looks like the face of each job, best first; refuses a job that could not find anybody.';

create function automatch.finish_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_found automatch.found_face[], p_searched_at timestamptz
)
returns table (job_id uuid, match_count integer)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- By the primary key, job by job and in the order of ids; never by a look at the whole table.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_finished uuid[];
    v_counts integer[];
    v_match_ids uuid[];
begin
    if cardinality(p_found) > 0 then
        perform automatch.lock_feeds(array(
            select f.profile_id from unnest(p_found) as f
            union
            select j.user_id from public.match_jobs as j where j.id = any (p_job_ids)
        ));
    end if;
    v_now := automatch.now();
    -- The fence, and the only write to these rows: a row written twice in a transaction has its
    -- foreign keys checked again, which would lock the profile behind the feeds.
    with mine as materialized (
        select m.id, max(m.token) as token, sum(m.found)::integer as found
        from (
            select j.id, j.token, 0 as found from unnest(p_job_ids, p_tokens) as j (id, token)
            union all
            -- Again against faces: one may have been erased since the search.
            select f.job_id, null, 1
            from unnest(p_found) as f
            where exists (select from public.faces as other where other.id = f.face_id)
        ) as m
        group by m.id
        order by m.id
    ),
    finished as (
        update public.match_jobs as j
        set status = 'completed', completed_at = v_now, lease_expires_at = null, worker_id = null,
            match_count = m.found,
            timings = j.timings || jsonb_build_object(
                'searched', round(extract(epoch from p_searched_at - j.created_at), 4),
                'written', round(extract(epoch from v_now - j.created_at), 4)
            )
        from mine as m
        where j.id = m.id and j.lease_token = m.token and j.status = 'processing'
        returning j.id, j.match_count
    )
    select array_agg(f.id), array_agg(f.match_count) into v_finished, v_counts from finished as f;

    if v_finished is not null and cardinality(p_found) > 0 then
        with written as (
            insert into public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity, created_at)
            select
                least(j.face_id, other.id),
                greatest(j.face_id, other.id),
                case when j.face_id < other.id then j.user_id else other.profile_id end,
                case when j.face_id < other.id then other.profile_id else j.user_id end,
                f.similarity,
                v_now
            from unnest(p_found) as f
            join public.match_jobs as j on j.id = f.job_id
            join public.faces as other on other.id = f.face_id
            where cardinality(v_finished) = cardinality(p_job_ids) or j.id = any (v_finished)
            -- Two jobs of one batch may have found each other.
            on conflict (face_a_id, face_b_id) do nothing
            returning id
        )
        select array_agg(w.id) into v_match_ids from written as w;
    end if;
    if v_match_ids is not null then
        perform automatch.put_in_feeds(v_match_ids);
    elsif v_finished is not null then
        perform pg_notify('automatch_feed', '');
    end if;

    return query select f.id, f.found from unnest(v_finished, v_counts) as f (id, found);
    -- One that this attempt finished before counts too: its commit went through, its answer was lost.
    if cardinality(p_job_ids) > coalesce(cardinality(v_finished), 0) then
        return query
            select j.id, j.match_count
            from public.match_jobs as j
            join unnest(p_job_ids, p_tokens) as mine (id, token)
                on mine.id = j.id and mine.token = j.lease_token
            where j.id = any (p_job_ids) and j.status = 'completed'
              and j.id <> all (coalesce(v_finished, '{}'));
    end if;
end
$$;
comment on function automatch.finish_jobs(uuid[], bigint[], automatch.found_face[], timestamptz) is
    'processing -> completed: write the matches, put them in both feeds, finish.';

create function public.complete_match_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (job_id uuid, match_count integer)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found automatch.found_face[] := automatch.search_for_jobs(p_job_ids, p_tokens);
begin
    return query select * from automatch.finish_jobs(p_job_ids, p_tokens, v_found, automatch.now());
end
$$;
comment on function public.complete_match_jobs(uuid[], bigint[]) is
    'processing -> completed: search, write the matches, put them in both feeds, finish; all or nothing. '
    'Each job with the number of matches found, 0 included; one whose lease is lost is missing.';

create or replace function public.complete_match_job(p_job_id uuid, p_token bigint)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$ select c.match_count from public.complete_match_jobs(array[p_job_id], array[p_token]) as c $$;

create or replace function public.store_face_embedding(
    p_job_id uuid, p_token bigint, p_embedding vector, p_model text, p_quality jsonb, p_timings jsonb
)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select exists (
        select from public.store_face_embeddings(
            array[p_job_id], array[p_token], array[p_embedding], p_model, array[p_quality], array[p_timings]
        )
    )
$$;

create function public.fail_match_jobs(p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[])
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with held as materialized (
        select j.id, mine.code, mine.message
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages) as mine (id, token, code, message)
            on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    failed as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
            error_code = h.code, error_message = h.message
        from held as h
        where j.id = h.id
        returning j.id
    ),
    told as (
        select pg_notify('automatch_feed', '') where exists (select from failed)
    )
    select f.id from failed as f left join told on true
$$;
comment on function public.fail_match_jobs(uuid[], bigint[], text[], text[]) is
    'processing -> failed, for reasons that no retry can mend. Returns the jobs that were still held.';

create or replace function public.fail_match_job(p_job_id uuid, p_token bigint, p_code text, p_message text)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from public.fail_match_jobs(array[p_job_id], array[p_token], array[p_code], array[p_message])
    )
$$;

create function public.retry_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[],
    p_first_delay_s double precision, p_longest_delay_s double precision
)
returns table (job_id uuid, status text)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with held as materialized (
        select j.id, j.attempts < j.max_attempts as again, mine.code, mine.message
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages) as mine (id, token, code, message)
            on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    settled as (
        update public.match_jobs as j
        set status = case when h.again then 'pending' else 'failed' end,
            deferred = h.again,
            run_at = case when h.again
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            -- Behind those who wait now.
            pos = case when h.again then null else j.pos end,
            completed_at = case when h.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null, error_code = h.code, error_message = h.message
        from held as h
        where j.id = h.id
        returning j.id, j.status
    ),
    told as (
        select pg_notify('automatch_feed', '') where exists (select from settled)
    )
    select s.id, s.status from settled as s left join told on true
$$;
comment on function public.retry_match_jobs(
    uuid[], bigint[], text[], text[], double precision, double precision
) is
    'processing -> pending at a later time, or failed when the attempts are used up. Each job that was '
    'still held with its new status.';

create or replace function public.retry_match_job(
    p_job_id uuid, p_token bigint, p_code text, p_message text,
    p_first_delay_s double precision, p_longest_delay_s double precision
)
returns text
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.status
    from public.retry_match_jobs(
        array[p_job_id], array[p_token], array[p_code], array[p_message], p_first_delay_s, p_longest_delay_s
    ) as r
$$;

create or replace function public.release_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_delay interval default '0'
)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select automatch.heed_pauses();
    with held as materialized (
        select j.id,
            p_delay > interval '0'
            or exists (select from automatch.paused_schools as s where s.school = j.school) as later
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as mine (id, token) on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    released as (
        update public.match_jobs as j
        set status = 'pending', attempts = j.attempts - 1, deferred = h.later, run_at = automatch.now() + p_delay,
            lease_expires_at = null, worker_id = null
        from held as h
        where j.id = h.id
        returning j.id
    ),
    told as (
        select automatch.wake_workers() where exists (select from released)
    )
    select count(r.id)::integer from released as r left join told on true
$$;
comment on function public.release_match_jobs(uuid[], bigint[], interval) is
    'processing -> pending in its old place and without costing an attempt: the worker stops, or its '
    'machine is in trouble.';

create or replace function public.sweep_match_jobs(
    p_first_delay_s double precision default 0, p_longest_delay_s double precision default 0
)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with lost as materialized (
        select j.id, j.attempts < j.max_attempts as again
        from public.match_jobs as j
        where j.status = 'processing' and j.lease_expires_at < automatch.now()
        limit 500
        for update skip locked
    ),
    swept as (
        update public.match_jobs as j
        set status = case when l.again then 'pending' else 'failed' end,
            -- The worker that lost it may wake up again: its token is worth nothing now.
            lease_token = j.lease_token + 1,
            -- If it was this job that took the worker down, it will not take others along again.
            solo = true,
            deferred = l.again,
            run_at = case when l.again
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            pos = case when l.again then null else j.pos end,
            completed_at = case when l.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null,
            error_code = 'worker_lost',
            error_message = 'The worker on this job stopped answering; it did so in '
                            || j.attempts || ' of ' || j.max_attempts || ' attempts.'
        from lost as l
        where j.id = l.id
        returning j.id
    ),
    told as (
        select automatch.wake_workers(), pg_notify('automatch_feed', '') where exists (select from swept)
    )
    select count(s.id)::integer from swept as s left join told on true
$$;
comment on function public.sweep_match_jobs(double precision, double precision) is
    'processing -> pending or failed, for jobs whose lease has run out; at once unless told otherwise, '
    'because the lease was wait enough.';

create or replace function public.cleanup_old_match_jobs(p_older_than interval default '7 days')
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
-- Leaves the bitmap of the index of created_at.
set enable_indexscan = off
set enable_indexonlyscan = off
as $$
    with old as materialized (
        select j.id
        from public.match_jobs as j
        where j.status in ('completed', 'failed')
          and j.completed_at < automatch.now() - p_older_than
          -- Follows from it, and is what the index knows; it is asked only for what is computed once.
          and j.created_at < (select automatch.now() - p_older_than)
          -- One at a time: two would only step over each other's rows.
          and (select pg_try_advisory_xact_lock(automatch.doorbell() + 1))
        limit 2000
        for update skip locked
    ),
    deleted as (
        delete from public.match_jobs as j where j.id = any (array(select o.id from old as o)) returning j.id
    )
    select count(*)::integer from deleted
$$;
comment on function public.cleanup_old_match_jobs(interval) is
    'Delete finished jobs of long ago, 2,000 at most; call it again while it returns that many.';

create function public.seconds_to_next_match_job()
returns double precision
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select case
        when (select q.paused from automatch.queue_settings as q) then null
        when exists (select from public.match_jobs as j where j.status = 'pending' and not j.deferred) then 0
        else (
            select extract(epoch from j.run_at - automatch.now())::double precision
            from public.match_jobs as j
            where j.status = 'pending' and j.deferred and j.run_at < 'infinity'
            order by j.run_at
            limit 1
        )
    end
$$;
comment on function public.seconds_to_next_match_job() is
    'Until the next waiting job can be claimed; 0 when one can be, null when none waits for its time.';

create function public.count_waiting_match_jobs(p_most integer)
returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select count(*)::integer
    from (select from public.match_jobs as j where j.status = 'pending' limit p_most) as waiting
$$;
comment on function public.count_waiting_match_jobs(integer) is 'How many jobs wait, counted up to p_most.';

do $$
declare
    v_function regprocedure;
begin
    -- Only the worker moves a job: as the service, or as its login in one statement of its own.
    for v_function in
        select p.oid from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in (
              'claim_match_jobs', 'renew_match_leases', 'store_face_embeddings', 'complete_match_jobs',
              'fail_match_jobs', 'retry_match_jobs', 'release_match_jobs', 'sweep_match_jobs', 'cleanup_old_match_jobs', 'seconds_to_next_match_job'
          )
    loop
        execute 'revoke execute on function ' || v_function || ' from public, anon, authenticated';
        execute 'grant execute on function ' || v_function || ' to service_role, automatch_worker';
    end loop;
end
$$;
revoke execute on function public.count_waiting_match_jobs(integer) from public, anon, authenticated;
grant execute on function public.count_waiting_match_jobs(integer) to service_role, automatch_api;
revoke execute on all functions in schema automatch from public;
