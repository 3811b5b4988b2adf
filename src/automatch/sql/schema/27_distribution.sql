-- The search copy spread over the machines of a Citus cluster, by school.

create function automatch.is_distributed(p_table text default 'public.face_index')
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_catalog constant regclass := to_regclass('pg_catalog.pg_dist_partition');
    v_is_distributed boolean := false;
begin
    if v_catalog is not null then
        -- By its oid, or a linter looks for the table in databases without Citus.
        execute format('select exists (select from %s as p where p.logicalrelid = $1)', v_catalog)
        into v_is_distributed using to_regclass(p_table);
    end if;
    return v_is_distributed;
end
$$;
comment on function automatch.is_distributed(text) is 'Whether the rows of a table lie in shards, on whatever machine.';

create function automatch.settled_before()
returns xid8 language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_xmin xid8 := pg_snapshot_xmin(pg_current_snapshot());
    v_behind bigint;
begin
    if not automatch.is_distributed() then
        return v_xmin;
    end if;
    -- A transaction ends here before its rows appear on other machines, and keeps the lock of its id until they have.
    select max((v_xmin::text::numeric - l.transactionid::text::numeric)::bigint & 4294967295) into v_behind
    from pg_locks as l
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
      and ((v_xmin::text::numeric - l.transactionid::text::numeric)::bigint & 4294967295) < 2147483648;
    return (v_xmin::text::numeric - coalesce(v_behind, 0))::text::xid8;
end
$$;
comment on function automatch.settled_before() is
    'The rows of every transaction before this one are there to be read, on every machine, or never will be.';

create function automatch.list_search_plans()
returns table (function regprocedure, mode text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.oid, split_part(c.setting, '=', 2)
    from pg_proc as p
    cross join unnest(p.proconfig) as c (setting)
    where p.pronamespace in ('public'::regnamespace, 'automatch'::regnamespace)
      and c.setting like 'plan_cache_mode=%'
      -- The first calls what looks for other accounts of the person; the second asks a shard where its mode is auto.
      and (p.prosrc like '%public.face_index %' or p.proname in ('store_face_embeddings', 'find_candidates'))
$$;
comment on function automatch.list_search_plans() is
    'The functions that say how what they read of face_index is planned, and how.';

create function automatch.set_search_plans()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure;
begin
    -- Citus plans for the values of parameters only.
    for v_function in select s.function from automatch.list_search_plans() as s loop
        execute format(
            'alter function %s set plan_cache_mode = %s', v_function,
            case when automatch.is_distributed() then 'auto' else 'force_generic_plan' end
        );
    end loop;
end
$$;
comment on function automatch.set_search_plans() is
    'Plan searches once for all parameters, or anew for each where face_index lies in shards.';

create function automatch.begin_index_copy(p_shards integer)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    if to_regclass('public.face_index_next') is not null then
        return;
    end if;
    create table public.face_index_next (
        like public.face_index including defaults including constraints including storage including indexes
    ) partition by list (model);
    -- Citus copies this to the shards, and refuses it afterwards.
    alter table public.face_index_next alter column embedding set statistics 0;
    perform automatch.apply_table_rules(to_regclass('public.face_index_next'));
    if p_shards > 0 then
        execute format(
            'select %s($1, $2, shard_count => $3, colocate_with => $4)',
            to_regproc('pg_catalog.create_distributed_table')
        ) using to_regclass('public.face_index_next'), 'school', p_shards, 'none';
    end if;
    perform automatch.add_index_partition('face_index_next', m.id, p_shards = 0)
    from public.embedding_models as m
    where to_regclass(format('public.%I', 'face_index_' || m.id)) is not null;
end
$$;
comment on function automatch.begin_index_copy(integer) is
    'Make an empty search copy beside the one in use, spread over so many shards, or over none.';

create function automatch.swap_index_copy(p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_comment constant text := obj_description('public.face_index'::regclass, 'pg_class');
    v_table record;
begin
    drop table public.face_index;
    for v_table in
        select c.relname as name, replace(c.relname, 'face_index_next', 'face_index') as new_name,
            x.relname as index_name
        from pg_partition_tree(to_regclass('public.face_index_next')) as t
        join pg_class as c on c.oid = t.relid
        join pg_index as i on i.indrelid = c.oid and i.indisprimary
        join pg_class as x on x.oid = i.indexrelid
        order by t.level
    loop
        execute format('alter table public.%I rename to %I', v_table.name, v_table.new_name);
        execute format('alter index public.%I rename to %I', v_table.index_name, left(v_table.new_name, 58) || '_pkey');
    end loop;
    execute format('comment on table public.face_index is %L', v_comment);
    perform automatch.apply_table_rules(t.relid) from pg_partition_tree('public.face_index') as t where t.level <= 1;
    -- They went with the rows.
    delete from automatch.group_indexes;
    perform automatch.set_search_plans();
    perform automatch.audit(p_actor, case when automatch.is_distributed() then 'distribute' else 'gather' end, '{}');
end
$$;
comment on function automatch.swap_index_copy(text) is
    'Search in the other copy from now on, and delete the one before. The caller has locked it, and both are equal.';
