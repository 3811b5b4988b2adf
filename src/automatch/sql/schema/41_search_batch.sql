-- Searching for many jobs of one group at once, in the worker.

create function public.read_search_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (
    job_id uuid, model text, school text, gender text, embedding vector, bound double precision,
    match_count integer, hidden uuid[]
)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select
        j.id, m.id, p.school, case p.gender when 'male' then 'female' else 'male' end,
        coalesce(f.embedding, automatch.read_sharded_embedding(m.id, j.face_id)),
        automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width), s.match_count,
        array(select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p.id)
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    join public.match_jobs as j
        on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
    join public.embedding_models as m on m.active
    join public.face_embeddings as f on f.model = m.id and f.face_id = j.face_id
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    where p.school is not null and p.gender is not null and p.admitted
      and not exists (select from automatch.held_faces as h where h.face_id = j.face_id)
$$;
comment on function public.read_search_jobs(uuid[], bigint[]) is
    'What each job looks for: the group (model, school, gender searched), the embedding, the least cosine, and whom '
    'its person does not see. Jobs that cannot be searched for, or are not held, are missing.';

create function public.read_search_group(
    p_model text, p_school text, p_gender text, p_snapshot_xmin xid8 default null, p_max_faces bigint default null,
    out known bigint, out snapshot_xmin xid8, out face_ids bytea, out profile_ids bytea, out embeddings bytea,
    out settled bytea
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/search: a quarter less for each search of a batch, whose plan never changes.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    -- Every transaction below its snapshot's xmin had ended at the reader's last call. So a row of such a
    -- transaction that exists now existed then: when there are as many as the reader has, they are the same
    -- ones, and all others are returned.
    v_known xid8 := coalesce(p_snapshot_xmin, '0');
    -- Rows of a restored database may name transactions that this server has not reached. Those of another machine
    -- may be newer than the snapshot.
    v_next xid8 := case when automatch.is_distributed() then '18446744073709551615'
                        else pg_snapshot_xmax(pg_current_snapshot()) end;
    v_own xid8 := pg_current_xact_id_if_assigned();
begin
    if p_snapshot_xmin is null and p_max_faces < (
        select count(*)
        from (
            select from public.face_index as g
            where g.model = p_model and g.school = p_school and g.gender = p_gender
            limit p_max_faces + 1
        ) as counted
    ) then
        return;
    end if;
    snapshot_xmin := automatch.settled_before();
    select
        count(*) filter (where i.version < v_known),
        coalesce(string_agg(uuid_send(i.face_id), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(uuid_send(i.profile_id), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(halfvec_send(i.embedding), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(
            case when i.version < snapshot_xmin then '\x01'::bytea else '\x00'::bytea end, ''
        ) filter (where i.version >= v_known), '')
    into known, face_ids, profile_ids, embeddings, settled
    from (
        select g.face_id, g.profile_id, g.embedding,
            case when g.version < v_next or g.version = v_own then g.version else '0' end as version
        from public.face_index as g
        where g.model = p_model and g.school = p_school and g.gender = p_gender
        offset 0
    ) as i;
end
$$;
comment on function public.read_search_group(text, text, text, xid8, bigint) is
    'The faces of a group that changed since the snapshot_xmin that an earlier call returned, joined in binary '
    'form; known: how many others there are. When that is not what the reader has, somebody left: read again '
    'without a snapshot_xmin, which returns all; or nothing but nulls of a group of more than p_max_faces faces.';

create function automatch.find_in_groups(
    p_model text, p_queries vector[], p_bounds double precision[], p_schools text[], p_genders text[],
    p_profile_ids uuid[], p_count integer
)
returns table (number integer, face_id uuid, profile_id uuid, cosine double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in read_near_faces().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_error constant double precision := 2 * automatch.half_error();
    v_near record;
begin
    with asked as materialized (
        -- Cast once: inside the lateral join it would be cast for every row.
        select a.number::integer as number, l2_normalize(a.query)::halfvec as query, a.school, a.gender,
            v_error - a.bound as most, array(
                select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = a.profile_id
            ) || a.profile_id as hidden
        from unnest(p_queries, p_bounds, p_schools, p_genders, p_profile_ids)
            with ordinality as a (query, bound, school, gender, profile_id, number)
    ),
    near as (
        select a.number, g.face_id, g.profile_id, g.distance
        from asked as a
        -- "offset" keeps it from being planned, while groups are small, as one join that reads all of them.
        cross join lateral (
            select i.face_id, i.profile_id, i.embedding <#> a.query as distance
            from public.face_index as i
            where i.model = p_model and i.school = a.school and i.gender = a.gender
              and (i.embedding <#> a.query) <= a.most
              and not (i.profile_id = any (a.hidden))
            offset 0
        ) as g
    ),
    people as (
        select n.*, min(n.distance) over (partition by n.number, n.profile_id) as nearest from near as n
    ),
    placed as (
        select p.*, dense_rank() over (partition by p.number order by p.nearest, p.profile_id) as place from people as p
    ),
    -- nth_distance() of each query.
    cut as (
        select p.*, v_error + max(p.nearest) filter (where p.place = p_count) over (partition by p.number) as most
        from placed as p
    )
    select array_agg(c.number) as numbers, array_agg(c.face_id) as face_ids, array_agg(c.profile_id) as profile_ids
    into v_near
    from cut as c
    where c.most is null or c.distance <= c.most;
    if v_near.numbers is null then
        return;
    end if;
    return query select r.* from automatch.rank_faces(
        p_model, array(select l2_normalize(a.query) from unnest(p_queries) with ordinality as a (query, number) order by a.number),
        p_bounds, p_count, v_near.numbers, v_near.face_ids, v_near.profile_ids
    ) as r;
end
$$;
comment on function automatch.find_in_groups(
    text, vector[], double precision[], text[], text[], uuid[], integer
) is
    'find_candidates() for many people at once, each in a group of their own, in groups without an index. Query n is of '
    'p_profile_ids[n].';

create function automatch.place_candidates(
    p_starts integer[], p_ends integer[], p_listed uuid[], p_face_ids uuid[], p_profile_ids uuid[],
    p_numbers integer[], p_hidden uuid[],
    out numbers integer[], out face_ids uuid[], out profile_ids uuid[]
)
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp
-- Of arrays alone: loops would compare each with each.
set plan_cache_mode = force_generic_plan
set enable_nestloop = off
set enable_hashjoin = on
as $$
begin
    with listed as materialized (
        select s.number::integer as number, l.face_id
        from unnest(p_starts, p_ends) with ordinality as s (starts, ends, number)
        cross join lateral unnest(p_listed[s.starts:s.ends]) as l (face_id)
    )
    select array_agg(l.number), array_agg(f.face_id), array_agg(f.profile_id)
    into numbers, face_ids, profile_ids
    from listed as l
    join unnest(p_face_ids, p_profile_ids) as f (face_id, profile_id) on f.face_id = l.face_id
    where (l.number, f.profile_id) not in (
        select h.number, h.profile_id from unnest(p_numbers, p_hidden) as h (number, profile_id)
    );
end
$$;
comment on function automatch.place_candidates(integer[], integer[], uuid[], uuid[], uuid[], integer[], uuid[]) is
    'What rank_faces() takes: of each query the listed faces, with their people, of the faces that are there; without the '
    'people who are hidden from that query.';

create function automatch.rank_candidates(
    p_school text, p_gender text, p_job_ids uuid[], p_starts integer[], p_ends integer[], p_face_ids uuid[]
)
returns automatch.found_face[]
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/search: a quarter less for each search of a batch, whose plan never changes.
set plan_cache_mode = force_generic_plan
-- Through the primary keys: planned with old statistics, a join would read whole groups.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_settings public.match_settings;
    v_model public.embedding_models;
    v_asking record;
    v_hidden record;
    v_faces record;
    v_found automatch.found_face[];
begin
    select m.* into v_model from public.embedding_models as m where m.active;
    select s.* into v_settings from public.match_settings as s;
    select
        array_agg(
            -- Normalized once more, as find_candidates() does, or similarities would differ by their rounding.
            coalesce(e.embedding, l2_normalize(automatch.read_sharded_embedding(e.model, e.face_id)))
            order by asked.number
        ) as queries,
        array_agg(
            automatch.cosine_bound(coalesce(j.threshold, v_settings.threshold), v_model.midpoint, v_model.width)
            order by asked.number
        ) as bounds
    into v_asking
    from unnest(p_job_ids) with ordinality as asked (id, number)
    -- A deleted job keeps its number.
    left join public.match_jobs as j on j.id = asked.id
    left join public.face_embeddings as e on e.model = v_model.id and e.face_id = j.face_id;
    select array_agg(asked.number::integer) as numbers, array_agg(h.profile_id) as profile_ids
    into v_hidden
    from unnest(p_job_ids) with ordinality as asked (id, number)
    join public.match_jobs as j on j.id = asked.id
    cross join lateral (
        select j.user_id as profile_id
        union all
        select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = j.user_id
    ) as h;
    -- Faces that have left the group since are not found.
    select array_agg(i.face_id) as face_ids, array_agg(i.profile_id) as profile_ids
    into v_faces
    from public.face_index as i
    where i.model = v_model.id and i.school = p_school and i.gender = p_gender
      and i.face_id = any (array(
          select unnest(p_face_ids[s.starts:s.ends]) from unnest(p_starts, p_ends) as s (starts, ends)
      ));
    select array_agg(row(
        p_job_ids[r.number], r.face_id, r.profile_id, automatch.similarity(r.cosine, v_model.midpoint, v_model.width)
    )::automatch.found_face)
    into v_found
    from automatch.place_candidates(
        p_starts, p_ends, p_face_ids, v_faces.face_ids, v_faces.profile_ids, v_hidden.numbers, v_hidden.profile_ids
    ) as c
    cross join lateral automatch.rank_faces(
        v_model.id, v_asking.queries, v_asking.bounds, v_settings.match_count, c.numbers, c.face_ids, c.profile_ids
    ) as r;
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.rank_candidates(text, text, uuid[], integer[], integer[], uuid[]) is
    'The answers of find_candidates() for jobs that search one group, when those are on the candidates: of '
    'a job, the faces of p_face_ids from its start to its end.';
