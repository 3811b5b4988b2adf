-- name: install
create extension if not exists citus

-- name: coordinator
-- Whether the other machines know the address of this one.
select exists (select from pg_catalog.pg_dist_node as n where n.groupid = 0)

-- name: set_coordinator
select pg_catalog.citus_set_coordinator_host(%(host)s, %(port)s)

-- name: add_node
-- One that is there already stays as it is.
select pg_catalog.citus_add_node(%(host)s, %(port)s)

-- name: nodes
-- The machines that hold shards, with the number and the bytes of those.
select n.nodename as host, n.nodeport as port, count(s.shardid) as shards, coalesce(sum(s.shard_size), 0)::bigint as bytes
from pg_catalog.pg_dist_node as n
left join pg_catalog.citus_shards as s
    on s.nodename = n.nodename and s.nodeport = n.nodeport and s.table_name in (
        select t.relid
        from unnest(array['public.face_index'::regclass, 'automatch.sharded_embeddings']) as spread (name)
        cross join lateral pg_catalog.pg_partition_tree(spread.name) as t
        where t.isleaf
    )
where n.shouldhaveshards and n.isactive
group by n.nodename, n.nodeport
order by 1, 2

-- name: tune_machines
-- Settings of a function do not reach the machines that it reads from. Citus would have this done here, where most
-- tables need other plans. The memory is for building the index of a large group. A null where the cluster has no other machine.
select bool_and(t.success)
from unnest(array['enable_seqscan = off', 'jit = off', 'max_parallel_workers_per_gather = 0', (
    select 'hnsw.ef_search = ' || s.ef_search from automatch.search_settings as s
), 'maintenance_work_mem = 1048576']) as wanted (setting)
cross join lateral pg_catalog.run_command_on_workers(format(
    'do $do$ begin perform set_config(''citus.enable_ddl_propagation'', ''off'', true); '
    'execute format(''alter database %%%%I set %%s'', current_database()); end $do$', wanted.setting
)) as t

-- name: keep_out_of_samples
-- Shards that Citus makes of partitions, or moves, lack the target of the column: the planner's samples are embeddings.
select coalesce(bool_and(r.success), true)
from unnest(array['public.face_index'::regclass, 'automatch.sharded_embeddings']) as spread (name)
cross join lateral pg_catalog.pg_partition_tree(spread.name) as t
join pg_catalog.pg_dist_partition as p on p.logicalrelid = t.relid
cross join lateral pg_catalog.run_command_on_placements(
    t.relid, 'alter table %%s alter column embedding set statistics 0', false
) as r
where t.isleaf

-- name: are_sampled
-- Whether a machine may take samples of embeddings.
select coalesce(bool_or(r.result is distinct from '0'), false)
from unnest(array['public.face_index'::regclass, 'automatch.sharded_embeddings']) as spread (name)
cross join lateral pg_catalog.pg_partition_tree(spread.name) as t
join pg_catalog.pg_dist_partition as p on p.logicalrelid = t.relid
cross join lateral pg_catalog.run_command_on_placements(
    t.relid,
    'select attstattarget from pg_catalog.pg_attribute where attrelid = %%L::regclass and attname = ''embedding''', false
) as r
where t.isleaf

-- name: away
select h.to_nodename as host, h.to_nodeport as port
from pg_catalog.citus_check_cluster_node_health() as h
join pg_catalog.pg_dist_node as n on n.nodename = h.from_nodename and n.nodeport = h.from_nodeport and n.groupid = 0
where h.result is not true
order by 1, 2

-- name: is_co_located
-- Whether the shards of a school's faces and of their embeddings are always on one machine.
select count(distinct p.colocationid) = 1
from pg_catalog.pg_dist_partition as p
where p.logicalrelid in ('public.face_index'::regclass, 'automatch.sharded_embeddings'::regclass)

-- name: shard_of
-- Where the rows of a school lie.
select s.shardid as shard, s.nodename as host, s.nodeport as port
from pg_catalog.citus_shards as s
where s.table_name = 'public.face_index'::regclass
  and s.shardid = pg_catalog.get_shard_id_for_distribution_column('public.face_index', %(school)s::text)

-- name: has_company
-- Whether other values than that of the school would lie in its shard.
select s.shardminvalue <> s.shardmaxvalue from pg_catalog.pg_dist_shard as s where s.shardid = %(shard)s

-- name: isolate
select pg_catalog.isolate_tenant_to_new_shard('public.face_index', %(school)s::text, 'CASCADE', 'block_writes')

-- name: move
select pg_catalog.citus_move_shard_placement(
    %(shard)s::bigint, %(from_host)s, %(from_port)s, %(host)s, %(port)s, 'block_writes'
)
