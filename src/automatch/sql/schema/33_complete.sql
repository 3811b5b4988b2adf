-- Storing embeddings, and completing jobs with their matches.

create type automatch.found_face as (
    job_id uuid, face_id uuid, profile_id uuid, similarity double precision
);
-- The model may have changed since the claim: then the embeddings are dropped and the jobs released.
create function public.store_face_embeddings(
    p_job_ids uuid[], p_tokens bigint[], p_embeddings vector[], p_model text, p_quality jsonb[],
    p_timings jsonb[], p_detectors text[] default null
)
returns setof uuid language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in complete_jobs().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := automatch.now();
    v_seen record;
begin
    -- From here on the model in use stays the same.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    perform automatch.lock_owners(array(select j.face_id from public.match_jobs as j where j.id = any (p_job_ids)));
    if not exists (select from public.embedding_models as m where m.id = p_model and m.active) then
        perform public.release_match_jobs(p_job_ids, p_tokens);
        return;
    end if;
    with seen as materialized (
        select j.id, j.face_id, mine.embedding, mine.quality, mine.timings, mine.detector
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_embeddings, p_quality, p_timings, p_detectors)
            as mine (id, token, embedding, quality, timings, detector)
            on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    told as (
        update public.match_jobs as j
        set timings = j.timings || s.timings
                      || jsonb_build_object('embedded_ms', round(1000 * extract(epoch from v_now - j.created_at), 1))
        from seen as s
        where j.id = s.id
    )
    select array_agg(s.id) as job_ids, array_agg(s.face_id) as face_ids, array_agg(s.embedding) as embeddings,
        array_agg(s.quality) as quality, array_agg(s.detector) as detectors
    into v_seen
    from seen as s;
    perform automatch.store_new_faces(
        p_model, v_seen.face_ids, v_seen.embeddings, v_seen.quality, v_seen.detectors
    );
    return query select unnest(v_seen.job_ids);
end
$$;
comment on function public.store_face_embeddings(uuid[], bigint[], vector[], text, jsonb[], jsonb[], text[]) is
    'Committed before the search, so that of two people who upload at once the later search finds the '
    'other. Returns the jobs that are still held.';

create function automatch.search_alone(p_job_ids uuid[])
returns automatch.found_face[]
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select coalesce(array_agg(row(j.id, c.face_id, c.profile_id, c.similarity)::automatch.found_face), '{}')
    from public.match_jobs as j
    join public.embedding_models as m on m.active
    join public.face_embeddings as e on e.model = m.id and e.face_id = j.face_id
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    cross join lateral automatch.find_candidates(
        coalesce(e.embedding, automatch.read_sharded_embedding(m.id, j.face_id)),
        p.school,
        case p.gender when 'male' then 'female' else 'male' end,
        array(select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p.id) || p.id,
        coalesce(j.threshold, s.threshold),
        s.match_count
    ) as c
    where j.id = any (p_job_ids)
$$;
comment on function automatch.search_alone(uuid[]) is 'What search_for_jobs() finds, with a search for each job.';

create function automatch.search_for_jobs(p_job_ids uuid[], p_tokens bigint[])
returns automatch.found_face[]
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in complete_jobs().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_is_distributed constant boolean := automatch.is_distributed();
    v_model public.embedding_models;
    v_settings public.match_settings;
    v_asked record;
    v_found automatch.found_face[];
begin
    -- What is found is written before the model changes.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    select m.* into v_model from public.embedding_models as m where m.active;
    select s.* into v_settings from public.match_settings as s;
    with held as materialized (
        select j.id, j.user_id, p.school, case p.gender when 'male' then 'female' else 'male' end as gender,
            automatch.cosine_bound(coalesce(j.threshold, v_settings.threshold), v_model.midpoint, v_model.width) as bound,
            coalesce(e.embedding, automatch.read_sharded_embedding(v_model.id, e.face_id)) as embedding,
            p.school is null or p.gender is null as is_incomplete, e.face_id is null as is_unknown,
            -- Null where nobody is searched for. Groups that have an index or lie in shards are searched for each job.
            case when p.admitted and not exists (select from automatch.held_faces as h where h.face_id = j.face_id) then
                v_is_distributed or exists (
                    select from automatch.group_indexes as g
                    where g.model = v_model.id and g.school = p.school and g.gender <> p.gender and g.ready
                )
            end as is_alone
        from unnest(p_job_ids, p_tokens) as mine (id, token)
        join public.match_jobs as j
            on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
        join public.profiles as p on p.id = j.user_id
        left join public.face_embeddings as e on e.model = v_model.id and e.face_id = j.face_id
        where j.id = any (p_job_ids)
    )
    select bool_or(h.is_incomplete) as is_incomplete, bool_or(h.is_unknown) as is_unknown,
        array_agg(h.id) filter (where h.is_alone) as alone_ids,
        array_agg(h.id) filter (where not h.is_alone) as ids,
        array_agg(h.user_id) filter (where not h.is_alone) as user_ids,
        array_agg(h.school) filter (where not h.is_alone) as schools,
        array_agg(h.gender) filter (where not h.is_alone) as genders,
        array_agg(h.bound) filter (where not h.is_alone) as bounds,
        array_agg(h.embedding) filter (where not h.is_alone) as queries
    into v_asked
    from held as h;
    -- Without these the search would find nobody and look like "no match".
    if v_asked.is_incomplete then
        perform automatch.raise_error('profile_incomplete', 'Fill in your school and gender, then upload the photo again.');
    elsif v_asked.is_unknown then
        perform automatch.raise_error('embedding_invalid', 'The photo has no embedding of the active model.');
    end if;
    if v_asked.ids is not null then
        select array_agg(row(
            v_asked.ids[f.number], f.face_id, f.profile_id,
            automatch.similarity(f.cosine, v_model.midpoint, v_model.width)
        )::automatch.found_face)
        into v_found
        from automatch.find_in_groups(
            v_model.id, v_asked.queries, v_asked.bounds, v_asked.schools, v_asked.genders, v_asked.user_ids,
            v_settings.match_count
        ) as f;
    end if;
    if v_asked.alone_ids is not null then
        v_found := v_found || automatch.search_alone(v_asked.alone_ids);
    end if;
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.search_for_jobs(uuid[], bigint[]) is
    'The matches of each job, best first. Raises an error for a job that cannot find anybody.';

create function automatch.exclude_held(p_found automatch.found_face[])
returns automatch.found_face[] language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from automatch.held_faces) then
        return p_found;
    end if;
    return array(
        select row(f.job_id, f.face_id, f.profile_id, f.similarity)::automatch.found_face
        from unnest(p_found) with ordinality as f (job_id, face_id, profile_id, similarity, place)
        join public.match_jobs as j on j.id = f.job_id
        where not exists (select from automatch.held_faces as h where h.face_id in (f.face_id, j.face_id))
        order by f.place
    );
end
$$;
comment on function automatch.exclude_held(automatch.found_face[]) is
    'What searches found, without photos that are held since. After locking the feeds, as hold_face() does.';

create function automatch.write_matches(p_found automatch.found_face[], p_job_ids uuid[], p_now timestamptz)
returns uuid[] language sql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    with scored as (
        -- What score_match() would do, for all at once.
        select j.face_id, j.user_id, other.id, other.profile_id, m.scale_version, m.midpoint, m.width, f.similarity,
            -- In a cluster from the similarity: no other scale comes into use between the search and this.
            case when a.embedding is null or b.embedding is null
                then least(automatch.cosine_bound(f.similarity, m.midpoint, m.width), 1)
                else greatest(least(-(a.embedding <#> b.embedding), 1), -1) end as cosine
        from unnest(p_found) as f
        join public.match_jobs as j on j.id = f.job_id
        join public.faces as other on other.id = f.face_id
        cross join public.embedding_models as m
        left join public.face_embeddings as a on a.model = m.id and a.face_id = j.face_id
        left join public.face_embeddings as b on b.model = m.id and b.face_id = other.id
        where f.job_id = any (p_job_ids) and m.active
    ),
    written as (
        insert into public.matches (
            face_a_id, face_b_id, profile_a_id, profile_b_id, similarity, created_at, cosine, scale_version
        )
        select
            least(s.face_id, s.id),
            greatest(s.face_id, s.id),
            case when s.face_id < s.id then s.user_id else s.profile_id end,
            case when s.face_id < s.id then s.profile_id else s.user_id end,
            coalesce(automatch.similarity(s.cosine, s.midpoint, s.width), s.similarity),
            p_now,
            s.cosine,
            s.scale_version
        from scored as s
        -- Two jobs of a batch may find each other.
        on conflict (face_a_id, face_b_id) do nothing
        returning id
    )
    select array_agg(w.id) from written as w
$$;
comment on function automatch.write_matches(automatch.found_face[], uuid[], timestamptz) is
    'Insert what the given jobs found; the ids of the new matches, or null.';

create function automatch.complete_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_found automatch.found_face[], p_searched_at timestamptz
)
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- benchmarks/queue: planning anew at each call is a third of what a batch of one job costs.
set plan_cache_mode = force_generic_plan
-- A plan for any number of jobs and matches must not read a whole table for a few of them.
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
    if cardinality(p_found) > 0 and not (select s.match_same_person from public.match_settings as s) then
        p_found := automatch.exclude_duplicates(p_found);
    end if;
    if cardinality(p_found) > 0 then
        perform automatch.lock_feeds(array(
            select f.profile_id from unnest(p_found) as f
            union
            select j.user_id from public.match_jobs as j where j.id = any (p_job_ids)
        ));
        p_found := automatch.exclude_held(p_found);
    end if;
    v_now := automatch.now();
    -- One update for each job: a second one would check the foreign keys again, and so lock the profile too late.
    with mine as materialized (
        select m.id, m.token, m.found, e.code, e.message
        from (
            select c.id, max(c.token) as token, sum(c.found)::integer as found
            from (
                select j.id, j.token, 0 as found from unnest(p_job_ids, p_tokens) as j (id, token)
                union all
                -- A face may have been erased since the search.
                select f.job_id, null, 1
                from unnest(p_found) as f
                where exists (select from public.faces as other where other.id = f.face_id)
            ) as c
            group by c.id
        ) as m
        join public.match_jobs as o on o.id = m.id
        left join automatch.held_faces as h on h.face_id = o.face_id
        left join lateral (select x.* from automatch.explain_hold(h.reason) as x where h.reason is not null) as e on true
        order by m.id
    ),
    finished as (
        update public.match_jobs as j
        set status = case when m.code is null then 'completed' else 'failed' end, completed_at = v_now,
            lease_expires_at = null, worker_id = null, match_count = case when m.code is null then m.found end,
            error_code = m.code, error_message = m.message,
            timings = j.timings || jsonb_build_object(
                'searched_ms', round(1000 * extract(epoch from p_searched_at - j.created_at), 1),
                'written_ms', round(1000 * extract(epoch from v_now - j.created_at), 1)
            )
        from mine as m
        where j.id = m.id and j.lease_token = m.token and j.status = 'processing'
        returning j.id, j.match_count
    )
    select array_agg(f.id), array_agg(f.match_count) into v_finished, v_counts from finished as f;

    if v_finished is not null and cardinality(p_found) > 0 then
        v_match_ids := automatch.write_matches(p_found, v_finished, v_now);
    end if;
    if v_match_ids is not null then
        perform automatch.publish_new_matches(v_match_ids, v_now);
    end if;
    if v_finished is not null then
        perform automatch.notify_feeds(array(
            select j.user_id from public.match_jobs as j where j.id = any (v_finished)
            union
            select unnest(array[m.profile_a_id, m.profile_b_id]) from public.matches as m where m.id = any (v_match_ids)
        ));
    end if;

    return query select f.id, f.found from unnest(v_finished, v_counts) as f (id, found);
    -- Jobs that this attempt has completed before count too: that commit's answer was lost.
    if cardinality(p_job_ids) > coalesce(cardinality(v_finished), 0) then
        return query
            select j.id, j.match_count
            from public.match_jobs as j
            join unnest(p_job_ids, p_tokens) as mine (id, token)
                on mine.id = j.id and mine.token = j.lease_token
            where j.id = any (p_job_ids)
              and (
                  j.status = 'completed'
                  or j.status = 'failed' and exists (select from automatch.held_faces as h where h.face_id = j.face_id)
              )
              and j.id <> all (coalesce(v_finished, '{}'));
    end if;
end
$$;
comment on function automatch.complete_jobs(uuid[], bigint[], automatch.found_face[], timestamptz) is
    'processing -> completed: write the matches and publish them in both feeds. Or failed, and a null, for a photo that '
    'waits for a decision.';

create function public.complete_match_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_found automatch.found_face[] := automatch.search_for_jobs(p_job_ids, p_tokens);
begin
    return query select * from automatch.complete_jobs(p_job_ids, p_tokens, v_found, automatch.now());
end
$$;
comment on function public.complete_match_jobs(uuid[], bigint[]) is
    'processing -> completed: search, write the matches and publish them in both feeds, or nothing of it. '
    'Each job with its number of matches; jobs whose lease is lost are missing.';

create function public.complete_match_jobs_with_candidates(
    p_job_ids uuid[], p_tokens bigint[], p_schools text[], p_genders text[], p_lengths integer[],
    p_face_ids uuid[]
)
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
    v_found automatch.found_face[] := array[]::automatch.found_face[];
    v_listed uuid[] := array[]::uuid[];
    v_rest uuid[];
    v_rest_tokens bigint[];
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    for v_group in
        select l.school, l.gender, array_agg(l.id) as ids, array_agg(l.ends - l.length + 1) as starts,
            array_agg(l.ends) as ends
        from (
            select mine.*, sum(mine.length) over (order by mine.number)::integer as ends
            from unnest(p_job_ids, p_tokens, p_schools, p_genders, p_lengths)
                with ordinality as mine (id, token, school, gender, length, number)
        ) as l
        join public.match_jobs as j on j.id = l.id and j.lease_token = l.token and j.status = 'processing'
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = j.face_id
        -- For a person who has moved since, the search is made below.
        join public.profiles as p on p.id = j.user_id and p.school = l.school and p.gender <> l.gender and p.admitted
        group by l.school, l.gender
    loop
        v_found := v_found || automatch.rank_candidates(
            v_group.school, v_group.gender, v_group.ids, v_group.starts, v_group.ends, p_face_ids
        );
        v_listed := v_listed || v_group.ids;
    end loop;
    select array_agg(mine.id), array_agg(mine.token) into v_rest, v_rest_tokens
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    where mine.id <> all (v_listed);
    if v_rest is not null then
        v_found := v_found || automatch.search_for_jobs(v_rest, v_rest_tokens);
    end if;
    return query select * from automatch.complete_jobs(p_job_ids, p_tokens, v_found, automatch.now());
end
$$;
comment on function public.complete_match_jobs_with_candidates(uuid[], bigint[], text[], text[], integer[], uuid[]) is
    'complete_match_jobs() for jobs with candidates: of each, the group searched, and the next p_lengths of '
    'p_face_ids. Without a group, or if the person has changed groups since, the search is made here.';
