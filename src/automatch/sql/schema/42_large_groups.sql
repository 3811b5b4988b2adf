-- Groups that are so large that they are searched through an index of their own.
create table automatch.group_indexes (
    model text not null references public.embedding_models (id),
    school text not null,
    gender text not null,
    index_name text not null unique,
    ready boolean not null default false,
    m integer not null,
    ef_construction integer not null,
    built_at timestamptz,
    primary key (model, school, gender)
);
comment on table automatch.group_indexes is
    'Groups that are searched through an index of their own; one that is not ready is not used.';

create function automatch.find_group_partition(p_model text, p_school text, p_gender text)
returns regclass language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if automatch.is_distributed() then
        -- Citus makes an index in every shard; all but that of the school stay empty.
        return format('public.%I', 'face_index_' || p_model);
    end if;
    return (
        select i.tableoid from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender limit 1
    );
end
$$;
comment on function automatch.find_group_partition(text, text, text) is 'The table that the index of a group is made on.';

create function automatch.read_group_index(
    p_query halfvec, p_model text, p_dimensions integer, p_school text, p_gender text
)
returns table (face_id uuid, profile_id uuid, distance double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- The index has to be used: any other plan would be slower than the search without an index. Settings here also
-- make those below end with the function.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_ef integer;
begin
    -- A linter cannot tell that what is set here ends with the function, or what the statement below returns:
    -- @plpgsql_check_options: other_warnings = false, extra_warnings = false
    select s.ef_search into v_ef from automatch.search_settings as s;
    perform set_config('hnsw.ef_search', v_ef::text, true), set_config('hnsw.iterative_scan', 'off', true);
    -- Literals, or the planner cannot tell that the index is that of this group. No threshold here: it would only
    -- take rows away from those the index hands out.
    return query execute format(
        'select i.face_id, i.profile_id, i.embedding::halfvec(%1$s) <#> $1
        from public.face_index as i
        where i.model = %2$L and i.school = %3$L and i.gender = %4$L
        order by i.embedding::halfvec(%1$s) <#> $1
        limit %5$s', p_dimensions, p_model, p_school, p_gender, v_ef
    ) using p_query;
end
$$;
comment on function automatch.read_group_index(halfvec, text, integer, text, text) is
    'The faces nearest to the query that the index of a large group hands out.';

create function automatch.list_search_groups(p_limit integer)
returns table (
    school text, gender text, faces bigint, index_name text, index_ready boolean, index_bytes bigint, audits bigint,
    recall double precision
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
    v_is_distributed constant boolean := automatch.is_distributed();
begin
    return query
        with groups as materialized (
            select i.school, i.gender, count(*) as faces
            from public.face_index as i
            where i.model = v_model
            group by i.school, i.gender
            order by count(*) desc, i.school, i.gender
            limit p_limit
        )
        select g.school, g.gender, g.faces, x.index_name, x.ready,
            -- What lies on another machine has no size here.
            case when not v_is_distributed then pg_relation_size(to_regclass('public.' || quote_ident(x.index_name))) end,
            coalesce(a.audits, 0), a.recall
        from groups as g
        left join automatch.group_indexes as x on x.model = v_model and x.school = g.school and x.gender = g.gender
        left join lateral (
            select count(*) as audits, sum(s.found)::double precision / nullif(sum(s.expected), 0) as recall
            from automatch.search_audits as s
            where s.school = g.school and s.gender = g.gender
        ) as a on true
        order by g.faces desc, g.school, g.gender;
end
$$;
comment on function automatch.list_search_groups(integer) is 'The largest groups, how they are searched, and their recall.';
