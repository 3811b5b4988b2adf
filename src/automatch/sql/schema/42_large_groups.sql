-- Groups that are so large that they are searched through an index of their own.
create table automatch.group_indexes (
    school text not null,
    gender text not null,
    index_name text not null unique,
    ready boolean not null default false,
    m integer not null,
    ef_construction integer not null,
    built_at timestamptz,
    primary key (school, gender)
);
comment on table automatch.group_indexes is
    'Groups that are searched through an index of their own; one that is not ready is not used.';

create function automatch.find_in_index(
    p_embedding vector,
    p_school text,
    p_gender text,
    p_exclude_profile_ids uuid[],
    p_bound double precision,
    p_count integer,
    out is_complete boolean, out face_ids uuid[], out profile_ids uuid[], out cosines double precision[]
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
-- The index or nothing; having settings of its own also ends the two below with the function.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_query vector := l2_normalize(p_embedding);
    v_query_half halfvec := v_query::halfvec;
    v_ef integer;
    v_faces uuid[];
    v_profiles uuid[];
    v_distances double precision[];
    v_last double precision;
begin
    select s.ef_search into v_ef from automatch.search_settings as s;
    perform set_config('hnsw.ef_search', v_ef::text, true), set_config('hnsw.iterative_scan', 'off', true);
    -- Literals, or the planner cannot tell that the index is that of this group. The threshold stays
    -- outside: inside, it would only take rows away from those the index hands out.
    execute format(
        'select array_agg(n.face_id), array_agg(n.profile_id), array_agg(n.distance), max(n.distance)
        from (
            select i.face_id, i.profile_id, i.embedding <#> $1 as distance
            from public.face_index as i
            where i.school = %L and i.gender = %L
            order by i.embedding <#> $1
            limit %s
        ) as n', p_school, p_gender, v_ef
    ) into v_faces, v_profiles, v_distances, v_last using v_query_half;

    with near as materialized (
        select n.face_id, n.profile_id, n.distance
        from unnest(v_faces, v_profiles, v_distances) as n (face_id, profile_id, distance)
        where n.distance <= 0.002 - p_bound and not (n.profile_id = any (p_exclude_profile_ids))
    ),
    people as materialized (
        select min(n.distance) as distance from near as n group by n.profile_id order by 1 limit p_count
    ),
    cut as materialized (
        select count(*) as people, coalesce(max(p.distance), 0) + 0.002 as distance from people as p
    ),
    exact as (
        select n.face_id, n.profile_id, -(f.embedding <#> v_query) as cosine
        from near as n
        join public.faces as f on f.id = n.face_id
        where n.distance <= (select c.distance from cut as c)
    )
    select
        -- Either all that could matter was handed out, or everybody over the threshold.
        coalesce(v_last > 0.002 - p_bound or (c.people = p_count and c.distance <= v_last), false),
        array(select e.face_id from exact as e order by e.face_id),
        array(select e.profile_id from exact as e order by e.face_id),
        array(select e.cosine from exact as e order by e.face_id)
    into is_complete, face_ids, profile_ids, cosines
    from cut as c;
end
$$;
comment on function automatch.find_in_index(vector, text, text, uuid[], double precision, integer) is
    'Like the shortlist of find_candidates(), from the index of a group. Not complete: the index did not hand '
    'out enough faces to tell, and the group has to be read.';

create function automatch.list_search_groups(p_limit integer)
returns table (
    school text, gender text, faces bigint, index_name text, index_ready boolean, index_bytes bigint,
    audits bigint, recall double precision
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select g.school, g.gender, g.faces, x.index_name, x.ready,
        pg_relation_size(to_regclass('public.' || quote_ident(x.index_name))), coalesce(a.audits, 0), a.recall
    from (
        select i.school, i.gender, count(*) as faces
        from public.face_index as i
        group by i.school, i.gender
        order by count(*) desc, i.school, i.gender
        limit p_limit
    ) as g
    left join automatch.group_indexes as x on x.school = g.school and x.gender = g.gender
    left join lateral (
        select count(*) as audits, sum(s.found)::double precision / nullif(sum(s.expected), 0) as recall
        from automatch.search_audits as s
        where s.school = g.school and s.gender = g.gender
    ) as a on true
    order by g.faces desc, g.school, g.gender
$$;
comment on function automatch.list_search_groups(integer) is 'The largest groups, how they are searched, and their recall.';
