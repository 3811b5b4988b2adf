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
    exchanged_by xid8 not null default '0',
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
comment on column automatch.search_settings.exchanged_by is
    'The transaction that exchanged the models last: a copy of a group from before is worth nothing.';
insert into automatch.search_settings default values;

create function automatch.find_candidates(
    p_embedding vector,
    p_school text,
    p_gender text,
    p_exclude_profile_ids uuid[],
    p_threshold double precision,
    p_count integer
)
returns table (face_id uuid, profile_id uuid, similarity double precision)
language plpgsql
stable
security definer
parallel safe
set search_path = pg_catalog, public, extensions, pg_temp
-- One plan, whatever the sizes and the statistics: one partition, through its primary key; then the
-- shortlist, one face at a time. Left to itself the planner reads a partition whole because one large
-- school is in it, or all of faces (with long embeddings, 100,000 of them took 370 ms) to rank 30.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_query vector := l2_normalize(p_embedding);
    -- Cast once: inside the row expression it would be cast for every row.
    v_query_half halfvec := v_query::halfvec;
    v_model public.embedding_models;
    v_bound double precision;
    v_indexed record;
begin
    select m.* into v_model from public.embedding_models as m where m.active;
    if vector_norm(v_query) = 0 then
        return;
    end if;
    v_bound := automatch.cosine_bound(p_threshold, v_model.midpoint, v_model.width);

    if exists (
        select from automatch.group_indexes as g
        where g.school = p_school and g.gender = p_gender and g.ready
    ) then
        select * into v_indexed
        from automatch.find_in_index(v_query, p_school, p_gender, p_exclude_profile_ids, v_bound, p_count);
        if v_indexed.is_complete then
            return query
                select b.face_id, b.profile_id,
                    automatch.similarity(b.cosine, v_model.midpoint, v_model.width)
                from (
                    select distinct on (e.profile_id) e.face_id, e.profile_id, e.cosine
                    from unnest(v_indexed.face_ids, v_indexed.profile_ids, v_indexed.cosines)
                        as e (face_id, profile_id, cosine)
                    where e.cosine >= v_bound
                    order by e.profile_id, e.cosine desc, e.face_id
                ) as b
                order by b.cosine desc, b.face_id
                limit p_count;
            return;
        end if;
    end if;

    return query
    with near as materialized (
        -- Rounding to half precision moves a cosine of unit vectors by less than 0.001 (2^-11 for each
        -- of the two), so with twice that nobody over the threshold is lost here.
        -- "+ 0" keeps any vector index out.
        select i.face_id, i.profile_id, (i.embedding <#> v_query_half) + 0 as distance
        from public.face_index as i
        where i.school = p_school
          and i.gender = p_gender
          and (i.embedding <#> v_query_half) <= 0.002 - v_bound
          and not (i.profile_id = any (p_exclude_profile_ids))
    ),
    people as materialized (
        select n.profile_id, min(n.distance) as distance
        from near as n
        group by n.profile_id
        order by min(n.distance)
        limit p_count
    ),
    -- What makes it exact: whoever is among the best p_count is, in half precision, at most
    -- 2 * 0.001 behind the last of the best p_count there. So a cloud of near-ties is read whole.
    shortlist as materialized (
        select n.face_id, n.profile_id
        from near as n
        where n.distance <= (select max(p.distance) + 0.002 from people as p)
    ),
    exact as (
        select s.face_id, s.profile_id, -(f.embedding <#> v_query) as cosine
        from shortlist as s
        join public.faces as f on f.id = s.face_id
    ),
    best as (
        select distinct on (e.profile_id) e.face_id, e.profile_id, e.cosine
        from exact as e
        where e.cosine >= v_bound
        order by e.profile_id, e.cosine desc, e.face_id
    )
    select b.face_id, b.profile_id, automatch.similarity(b.cosine, v_model.midpoint, v_model.width)
    from best as b
    order by b.cosine desc, b.face_id
    limit p_count;
end
$$;
comment on function automatch.find_candidates(vector, text, text, uuid[], double precision, integer) is
    'The people of one school and gender most like the query, best first, one face each.';

create function public.find_similar_faces_filtered(
    query_embedding vector,
    user_school text,
    user_gender text,
    exclude_profile_id uuid default null,
    match_threshold double precision default 0.5,
    match_count integer default 20
)
returns table (
    face_id uuid,
    profile_id uuid,
    similarity double precision,
    image_path text,
    profile_name text,
    profile_gender text,
    profile_school text
)
language sql
stable
security definer
parallel safe
set search_path = pg_catalog, public, extensions, pg_temp
-- Else two whole tables are read to name the 20 (38 ms among 20,000 faces).
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
