-- From an embedding to the faces that are most like it.
create table automatch.search_settings (
    only_row boolean primary key default true,
    audit_one_in integer not null default 1000,
    index_from integer not null default 50000,
    index_until integer not null default 35000,
    most_indexes integer not null default 20,
    m integer not null default 24,
    ef_construction integer not null default 128,
    ef_search integer not null default 400,
    constraint there_is_one_row check (only_row),
    constraint audit_one_in_is_positive check (audit_one_in > 0),
    constraint index_goes_below_where_it_comes check (index_until between 1 and index_from),
    constraint most_indexes_is_not_negative check (most_indexes >= 0),
    constraint m_is_2_to_100 check (m between 2 and 100),
    constraint ef_construction_is_2_m_to_1000 check (ef_construction between 2 * m and 1000),
    constraint ef_search_is_100_to_1000 check (ef_search between 100 and 1000)
);
comment on table automatch.search_settings is 'What `automatch tune` changes.';
comment on column automatch.search_settings.index_from is
    'A group of so many faces gets an index of its own; one that shrinks below index_until loses it.';
comment on column automatch.search_settings.ef_search is 'How many faces a search of such an index collects.';
insert into automatch.search_settings default values;

create function automatch.half_error()
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$ select 0.001::double precision $$;
comment on function automatch.half_error() is
    'What a cosine of unit vectors in half precision is off by, at most: 2^-11 for each of the two.';

create function automatch.rank_faces(
    p_model text, p_queries vector[], p_bounds double precision[], p_count integer, p_numbers integer[],
    p_face_ids uuid[], p_profile_ids uuid[]
)
returns table (number integer, face_id uuid, profile_id uuid, cosine double precision)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- test_search_scale.py: otherwise Postgres may read all of face_embeddings to rank 30 faces, or compare each of them
-- with each candidate.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_hashjoin = on
set enable_indexscan = on
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    return query
    -- benchmarks/search: looked up together, faces cost a third of what they cost one by one.
    with stored as materialized (
        select e.face_id, e.embedding
        from public.face_embeddings as e
        where e.model = p_model and e.face_id = any (p_face_ids)
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(
            p_model, array(select e.face_id from stored as e where e.embedding is null)
        ) as s
        where exists (select from stored as e where e.embedding is null)
    ),
    exact as materialized (
        select c.number, c.face_id, c.profile_id, -(e.embedding <#> p_queries[c.number]) as cosine
        from unnest(p_numbers, p_face_ids, p_profile_ids) as c (number, face_id, profile_id)
        join (
            select s.* from stored as s where s.embedding is not null union all select s.* from sharded as s
        ) as e on e.face_id = c.face_id
    ),
    best as (
        select distinct on (e.number, e.profile_id) e.*
        from exact as e
        where e.cosine >= p_bounds[e.number]
        order by e.number, e.profile_id, e.cosine desc, e.face_id
    ),
    placed as (
        select b.*, row_number() over (partition by b.number order by b.cosine desc, b.face_id) as place
        from best as b
    )
    select p.number, p.face_id, p.profile_id, p.cosine
    from placed as p
    where p.place <= p_count
    order by p.number, p.place;
end
$$;
comment on function automatch.rank_faces(text, vector[], double precision[], integer, integer[], uuid[], uuid[]) is
    'The ranking of every search. Candidate n is a face and its person, for query p_numbers[n]. Of each query the '
    'best p_count people whose cosine is not below its bound, best first, one best face each, in full precision.';

create function automatch.nth_distance(p_profile_ids uuid[], p_distances double precision[], p_count integer)
returns double precision language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(p_profile_ids) < p_count then
        return null;
    end if;
    return (
        select min(n.distance)
        from unnest(p_profile_ids, p_distances) as n (profile_id, distance)
        group by n.profile_id
        order by 1
        offset p_count - 1
        limit 1
    );
end
$$;
comment on function automatch.nth_distance(uuid[], double precision[], integer) is
    'The distance of the nearest face of the p_count-th person; null when there are fewer people.';

create function automatch.read_near_faces(
    p_query halfvec, p_model text, p_school text, p_gender text, p_limit double precision, p_hidden uuid[],
    out face_ids uuid[], out profile_ids uuid[], out distances double precision[]
)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
-- test_search_scale.py: otherwise a partition in which one school is large would be read whole; or a group in the
-- order of its key, row by row, where it is a small part of a large partition: six times the pages.
set enable_seqscan = off
set enable_indexscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    select array_agg(n.face_id), array_agg(n.profile_id), array_agg(n.distance)
    into face_ids, profile_ids, distances
    from (
        select i.face_id, i.profile_id, i.embedding <#> p_query as distance
        from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
          and (i.embedding <#> p_query) <= p_limit
          and not (i.profile_id = any (p_hidden))
    ) as n;
end
$$;
comment on function automatch.read_near_faces(halfvec, text, text, text, double precision, uuid[]) is
    'The faces of a group within a distance of the query, of nobody hidden. Reads the whole group.';

create function automatch.find_in_shard(
    p_query vector, p_half halfvec, p_model text, p_school text, p_gender text, p_limit double precision,
    p_bound double precision, p_hidden uuid[], p_count integer,
    out face_ids uuid[], out profile_ids uuid[], out cosines double precision[], out is_complete boolean
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    -- A machine of the cluster has no functions of ours.
    v_error constant double precision := 2 * automatch.half_error();
begin
    with near as materialized (
        select i.face_id, i.profile_id, i.embedding <#> p_half as distance
        from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
          and (i.embedding <#> p_half) <= p_limit
          and not (i.profile_id = any (p_hidden))
    ),
    chosen as materialized (
        select n.face_id, n.profile_id from near as n
        where n.distance <= v_error + (
            select max(p.distance)
            from (select min(n.distance) as distance from near as n group by n.profile_id order by 1 limit p_count) as p
        )
    ),
    stored as materialized (
        select s.face_id, s.embedding from automatch.sharded_embeddings as s
        where s.model = p_model and s.school = p_school and s.face_id = any (array(select c.face_id from chosen as c))
    ),
    exact as materialized (
        select c.face_id, c.profile_id, -(s.embedding <#> p_query) as cosine
        from chosen as c
        left join stored as s on s.face_id = c.face_id
    ),
    best as (
        select distinct on (e.profile_id) e.* from exact as e
        where e.cosine >= p_bound
        order by e.profile_id, e.cosine desc, e.face_id
    ),
    placed as (select b.* from best as b order by b.cosine desc, b.face_id limit p_count)
    select array_agg(p.face_id order by p.cosine desc, p.face_id),
        array_agg(p.profile_id order by p.cosine desc, p.face_id),
        array_agg(p.cosine order by p.cosine desc, p.face_id),
        not exists (select from exact as e where e.cosine is null)
    into face_ids, profile_ids, cosines, is_complete
    from placed as p;
end
$$;
comment on function automatch.find_in_shard(
    vector, halfvec, text, text, text, double precision, double precision, uuid[], integer
) is
    'read_near_faces() and rank_faces() in one statement for one machine; not complete while embeddings of the group '
    'are elsewhere.';

create function automatch.find_candidates(
    p_embedding vector, p_school text, p_gender text, p_excluded_profile_ids uuid[],
    p_threshold double precision, p_count integer, p_model text default null
)
returns table (face_id uuid, profile_id uuid, similarity double precision)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/queue: planning each search anew triples what a search of a small group costs (33 to 100 us).
-- set_search_plans() takes it away where Citus could not plan.
set plan_cache_mode = force_generic_plan
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_query vector := l2_normalize(p_embedding);
    -- Cast once: inside the statement it would be cast for every row.
    v_half halfvec := v_query::halfvec;
    v_model public.embedding_models;
    v_bound double precision;
    v_limit double precision;
    v_cut double precision;
    v_is_complete boolean := false;
    v_near record;
    v_found record;
begin
    if vector_norm(v_query) = 0 then
        return;
    end if;
    select m.* into v_model from public.embedding_models as m where m.id = p_model or p_model is null and m.active;
    v_bound := automatch.cosine_bound(p_threshold, v_model.midpoint, v_model.width);
    -- With twice the error of half precision nobody over the threshold is lost.
    v_limit := 2 * automatch.half_error() - v_bound;

    if exists (
        select from automatch.group_indexes as g
        where g.model = v_model.id and g.school = p_school and g.gender = p_gender and g.ready
    ) then
        select array_agg(n.face_id) filter (where n.is_near) as face_ids,
            array_agg(n.profile_id) filter (where n.is_near) as profile_ids,
            array_agg(n.distance) filter (where n.is_near) as distances, max(n.distance) as last
        into v_near
        from (
            select f.*, f.distance <= v_limit and not (f.profile_id = any (p_excluded_profile_ids)) as is_near
            from automatch.read_group_index(v_half, v_model.id, v_model.dimensions, p_school, p_gender) as f
        ) as n;
        v_cut := automatch.nth_distance(v_near.profile_ids, v_near.distances, p_count) + 2 * automatch.half_error();
        -- Either everybody over the threshold was handed out, or all that could be among the best.
        v_is_complete := coalesce(v_near.last > v_limit, false) or coalesce(v_cut <= v_near.last, false);
    end if;
    -- So set_search_plans() left it, because the faces lie in shards.
    if not v_is_complete and current_setting('plan_cache_mode') = 'auto' then
        select f.* into v_found from automatch.find_in_shard(
            v_query, v_half, v_model.id, p_school, p_gender, v_limit, v_bound, p_excluded_profile_ids, p_count
        ) as f;
        if v_found.is_complete then
            return query
                select f.face_id, f.profile_id, automatch.similarity(f.cosine, v_model.midpoint, v_model.width)
                from unnest(v_found.face_ids, v_found.profile_ids, v_found.cosines) as f (face_id, profile_id, cosine);
            return;
        end if;
    end if;
    if not v_is_complete then
        select n.face_ids, n.profile_ids, n.distances, null::double precision as last into v_near
        from automatch.read_near_faces(v_half, v_model.id, p_school, p_gender, v_limit, p_excluded_profile_ids) as n;
        v_cut := automatch.nth_distance(v_near.profile_ids, v_near.distances, p_count) + 2 * automatch.half_error();
    end if;
    if v_near.face_ids is null then
        return;
    end if;
    -- What makes it exact: whoever is among the best p_count is, in half precision, at most twice its error behind
    -- the last of the best p_count there. So a cloud of near-ties is ranked whole.
    return query
        select r.face_id, r.profile_id, automatch.similarity(r.cosine, v_model.midpoint, v_model.width)
        from (
            select array_agg(1) as numbers, array_agg(n.face_id) as face_ids, array_agg(n.profile_id) as profile_ids
            from unnest(v_near.face_ids, v_near.profile_ids, v_near.distances) as n (face_id, profile_id, distance)
            where n.distance <= v_cut or v_cut is null
        ) as s
        cross join lateral automatch.rank_faces(
            v_model.id, array[v_query], array[v_bound], p_count, s.numbers, s.face_ids, s.profile_ids
        ) as r;
end
$$;
comment on function automatch.find_candidates(vector, text, text, uuid[], double precision, integer, text) is
    'The people of one school and gender most like the query, best first, one face each; by the model in use, '
    'unless another is named.';

create function public.find_similar_faces_filtered(
    query_embedding vector,
    user_school text,
    user_gender text,
    exclude_profile_id uuid default null,
    match_threshold double precision default 0.5,
    match_count integer default 20
)
returns table (
    face_id uuid, profile_id uuid, similarity double precision, image_path text, profile_name text,
    profile_gender text, profile_school text
)
language sql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- test_search.py: otherwise two tables are read whole to name 20 people.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select c.face_id, c.profile_id, c.similarity, f.image_path, p.name, p.gender, p.school
    from automatch.find_candidates(
        query_embedding,
        user_school,
        case user_gender when 'male' then 'female' when 'female' then 'male' end,
        array_remove(array[exclude_profile_id], null),
        match_threshold,
        match_count
    ) as c
    join public.faces as f on f.id = c.face_id
    join public.profiles as p on p.id = c.profile_id
    order by c.similarity desc, c.face_id
$$;
comment on function public.find_similar_faces_filtered(vector, text, text, uuid, double precision, integer) is
    'The people of user_school and of the gender opposite to user_gender who look most alike, '
    'best first, at most one face a person, similarity on the 0..1 scale of the active model.';
