-- Every state change of a job, each once: docs/job-lifecycle.md is the picture of it.
-- Every function after the claim is fenced: with another token than the row's it
-- changes nothing and says so, which is how a worker learns that it was given up.

set search_path = public, extensions;

create function automatch.seconds_since(p_start timestamptz)
returns numeric
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select round(extract(epoch from automatch.now() - p_start)::numeric, 4) $$;

create function automatch.retry_delay(p_attempts integer, p_first_s double precision, p_longest_s double precision)
returns interval
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    -- Doubles with every attempt; up to half of it less keeps jobs that failed together apart.
    select make_interval(secs => least(p_longest_s, p_first_s * power(2, least(p_attempts, 30) - 1))
                                 * (1 - random() / 2))
$$;

create function public.claim_match_jobs(p_worker_id uuid, p_limit integer, p_lease interval)
returns setof public.match_jobs
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with due as materialized (
        select j.id
        from public.match_jobs as j
        where j.status = 'pending' and j.run_at <= automatch.now()
        order by j.pos
        limit p_limit
        for update skip locked
    ),
    claimed as (
        update public.match_jobs as j
        set status = 'processing',
            attempts = j.attempts + 1,
            lease_token = j.lease_token + 1,
            lease_expires_at = automatch.now() + p_lease,
            worker_id = p_worker_id,
            started_at = automatch.now(),
            error_code = null,
            error_message = null,
            timings = jsonb_build_object('claimed', automatch.seconds_since(j.created_at))
        from due
        where j.id = due.id
        returning j.*
    ),
    told as (
        select pg_catalog.pg_notify('automatch_feed', '') where exists (select from claimed)
    )
    select c.* from claimed as c left join told on true order by c.pos
$$;
comment on function public.claim_match_jobs(uuid, integer, interval) is
    'pending -> processing: take the oldest due jobs under a lease; two workers never get the same one.';

create function public.renew_match_leases(p_job_ids uuid[], p_tokens bigint[], p_lease interval)
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as mine (id, token) on mine.id = j.id and mine.token = j.lease_token
        where j.status = 'processing'
        order by j.id
        for update of j
    )
    update public.match_jobs as j
    set lease_expires_at = automatch.now() + p_lease
    from held
    where j.id = held.id
    returning j.id
$$;
comment on function public.renew_match_leases(uuid[], bigint[], interval) is
    'Returns the jobs still held; what is missing from the answer is lost.';

create function public.store_face_embedding(
    p_job_id uuid, p_token bigint, p_embedding vector, p_model text, p_quality jsonb, p_timings jsonb
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    -- In the order of locks that lock_feeds() names; withdrawing consent takes the same.
    perform from public.match_jobs as j
    join public.profiles as p on p.id = j.user_id
    where j.id = p_job_id
    for share of p;
    perform from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.id = p_job_id
    for no key update of f;
    update public.match_jobs as j
    set timings = j.timings || p_timings
                  || jsonb_build_object('seen', automatch.seconds_since(j.created_at))
    where j.id = p_job_id and j.lease_token = p_token and j.status = 'processing';
    if not found then
        return false;
    end if;
    update public.faces as f
    set embedding = l2_normalize(p_embedding), embedding_model = p_model, quality = p_quality
    from public.match_jobs as j
    where j.id = p_job_id and f.id = j.face_id;
    return true;
end
$$;
comment on function public.store_face_embedding(uuid, bigint, vector, text, jsonb, jsonb) is
    'Keep what a worker saw; committed before it searches, so that of two people who upload at '
    'once at least the later search finds the other. False when the lease is lost.';

create function public.complete_match_job(p_job_id uuid, p_token bigint)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_job public.match_jobs;
    v_face public.faces;
    v_profile public.profiles;
    v_settings public.match_settings;
    v_candidates jsonb;
    v_match_ids uuid[];
    v_count integer;
    v_searched numeric;
begin
    select j.* into v_job from public.match_jobs as j
    where j.id = p_job_id and j.lease_token = p_token and j.status = 'processing';
    if not found then
        return null;
    end if;
    select f.* into v_face from public.faces as f where f.id = v_job.face_id;
    select p.* into v_profile from public.profiles as p where p.id = v_job.user_id;
    select s.* into v_settings from public.match_settings as s;
    -- Without these a search finds nobody, which would pass for "no match".
    if v_profile.school is null or v_profile.gender is null then
        perform automatch.refuse('profile_incomplete', 'Fill in your school and gender, then upload the photo again.');
    end if;
    if not exists (
        select from public.embedding_models as m where m.id = v_face.embedding_model and m.active
    ) then
        perform automatch.refuse('embedding_invalid', 'The photo has no embedding of the active model.');
    end if;

    select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_candidates
    from automatch.find_candidates(
        v_face.embedding,
        v_profile.school,
        case v_profile.gender when 'male' then 'female' else 'male' end,
        array(select automatch.hidden_from(v_profile.id)) || v_profile.id,
        v_settings.threshold,
        v_settings.match_count
    ) as c;
    v_searched := automatch.seconds_since(v_job.created_at);

    perform automatch.lock_feeds(
        array(select (c ->> 'profile_id')::uuid from jsonb_array_elements(v_candidates) as c) || v_profile.id
    );
    -- The fence: from here on nobody else can finish this job. Only locked, and written once
    -- at the end: a row that is written twice has its foreign keys checked again, which would
    -- lock the profile behind the feeds.
    perform from public.match_jobs as j
    where j.id = p_job_id and j.lease_token = p_token and j.status = 'processing'
    for no key update;
    if not found then
        return null;
    end if;

    with found as (
        -- Again against faces: one may have been erased since the search.
        select f.id as other_face_id, f.profile_id as other_profile_id, (c ->> 'similarity')::double precision as similarity
        from jsonb_array_elements(v_candidates) as c
        join public.faces as f on f.id = (c ->> 'face_id')::uuid
    ),
    written as (
        insert into public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity)
        select
            least(v_face.id, n.other_face_id),
            greatest(v_face.id, n.other_face_id),
            case when v_face.id < n.other_face_id then v_profile.id else n.other_profile_id end,
            case when v_face.id < n.other_face_id then n.other_profile_id else v_profile.id end,
            n.similarity
        from found as n
        on conflict (face_a_id, face_b_id) do nothing
        returning id
    )
    select (select count(*) from found), (select coalesce(array_agg(w.id), '{}') from written as w)
    into v_count, v_match_ids;
    perform automatch.put_in_feeds(v_match_ids);

    update public.match_jobs as j
    set status = 'completed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
        match_count = v_count,
        timings = j.timings || jsonb_build_object(
            'searched', v_searched, 'written', automatch.seconds_since(j.created_at)
        )
    where j.id = p_job_id;
    return v_count;
end
$$;
comment on function public.complete_match_job(uuid, bigint) is
    'processing -> completed: search, write the matches, put them in both feeds, finish; all or nothing. '
    'The number of matches found, 0 included; null when the lease is lost.';

create function public.fail_match_job(p_job_id uuid, p_token bigint, p_code text, p_message text)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with failed as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
            error_code = p_code, error_message = p_message
        where j.id = p_job_id and j.lease_token = p_token and j.status = 'processing'
        returning j.id
    ),
    told as (
        select pg_catalog.pg_notify('automatch_feed', '') where exists (select from failed)
    )
    select exists (select from failed) from (values (1)) as one left join told on true
$$;
comment on function public.fail_match_job(uuid, bigint, text, text) is
    'processing -> failed, for a reason that no retry can mend. False when the lease is lost.';

create function public.retry_match_job(
    p_job_id uuid, p_token bigint, p_code text, p_message text,
    p_first_delay_s double precision, p_longest_delay_s double precision
)
returns text
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with settled as (
        update public.match_jobs as j
        set status = case when j.attempts < j.max_attempts then 'pending' else 'failed' end,
            run_at = case when j.attempts < j.max_attempts
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            pos = case when j.attempts < j.max_attempts
                then nextval('automatch.match_job_pos') else j.pos end,
            completed_at = case when j.attempts < j.max_attempts then null else automatch.now() end,
            lease_expires_at = null, worker_id = null, error_code = p_code, error_message = p_message
        where j.id = p_job_id and j.lease_token = p_token and j.status = 'processing'
        returning j.status
    ),
    told as (
        select pg_catalog.pg_notify('automatch_feed', '') where exists (select from settled)
    )
    select s.status from settled as s left join told on true
$$;
comment on function public.retry_match_job(uuid, bigint, text, text, double precision, double precision) is
    'processing -> pending at a later time, or failed when its attempts are used up. The new status; '
    'null when the lease is lost.';

create function public.release_match_jobs(p_job_ids uuid[], p_tokens bigint[], p_delay interval default '0')
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as mine (id, token) on mine.id = j.id and mine.token = j.lease_token
        where j.status = 'processing'
        order by j.id
        for update of j
    ),
    released as (
        update public.match_jobs as j
        set status = 'pending', attempts = j.attempts - 1, run_at = automatch.now() + p_delay,
            lease_expires_at = null, worker_id = null
        from held
        where j.id = held.id
        returning j.id
    ),
    told as (
        select pg_catalog.pg_notify('automatch_jobs', '') where exists (select from released)
    )
    select count(r.id)::integer from released as r left join told on true
$$;
comment on function public.release_match_jobs(uuid[], bigint[], interval) is
    'processing -> pending without costing an attempt: the worker stops, or its machine is in trouble.';

create function public.sweep_match_jobs(p_first_delay_s double precision, p_longest_delay_s double precision)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with lost as materialized (
        select j.id
        from public.match_jobs as j
        where j.status = 'processing' and j.lease_expires_at < automatch.now()
        limit 500
        for update skip locked
    ),
    swept as (
        update public.match_jobs as j
        set status = case when j.attempts < j.max_attempts then 'pending' else 'failed' end,
            -- The worker that lost it may wake up again: its token is worth nothing now.
            lease_token = j.lease_token + 1,
            run_at = case when j.attempts < j.max_attempts
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            completed_at = case when j.attempts < j.max_attempts then null else automatch.now() end,
            lease_expires_at = null, worker_id = null,
            error_code = 'worker_lost',
            error_message = 'The worker on this job stopped answering; it did so in '
                            || j.attempts || ' of ' || j.max_attempts || ' attempts.'
        from lost
        where j.id = lost.id
        returning j.id
    ),
    told as (
        select pg_catalog.pg_notify('automatch_jobs', ''), pg_catalog.pg_notify('automatch_feed', '')
        where exists (select from swept)
    )
    select count(s.id)::integer from swept as s left join told on true
$$;
comment on function public.sweep_match_jobs(double precision, double precision) is
    'processing -> pending or failed, for jobs whose lease has run out.';

create function public.cleanup_old_match_jobs(p_older_than interval default '7 days')
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with old as materialized (
        select j.id
        from public.match_jobs as j
        where j.status in ('completed', 'failed') and j.completed_at < automatch.now() - p_older_than
        limit 10000
        for update skip locked
    ),
    deleted as (
        delete from public.match_jobs as j using old where j.id = old.id returning j.id
    )
    select count(*)::integer from deleted
$$;
comment on function public.cleanup_old_match_jobs(interval) is 'Delete finished jobs of long ago, 10,000 at most.';

create function public.get_match_job_stats()
returns table (status text, count bigint, oldest_created_at timestamptz, avg_seconds double precision)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select j.status, count(*), min(j.created_at),
        avg(extract(epoch from j.completed_at - j.created_at))::double precision
    from public.match_jobs as j
    group by j.status
    order by j.status
$$;
comment on function public.get_match_job_stats() is 'How many jobs are in each status, and how long they took.';

do $$
declare
    v_function regprocedure;
begin
    -- Only the worker's role moves a job.
    for v_function in
        select p.oid from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in (
              'claim_match_jobs', 'renew_match_leases', 'store_face_embedding', 'complete_match_job',
              'fail_match_job', 'retry_match_job', 'release_match_jobs', 'sweep_match_jobs',
              'cleanup_old_match_jobs', 'get_match_job_stats'
          )
    loop
        execute 'revoke execute on function ' || v_function || ' from public, anon, authenticated';
        execute 'grant execute on function ' || v_function || ' to service_role';
    end loop;
end
$$;
revoke execute on all functions in schema automatch from public;
