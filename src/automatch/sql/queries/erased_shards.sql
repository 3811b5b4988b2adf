-- name: await_snapshots
-- On each machine, until no transaction is open that began before now: rewriting a table leaves out only what
-- nobody can see any more. Fails after two seconds.
select coalesce(bool_and(r.success), true) from pg_catalog.run_command_on_workers($command$
    do $do$
    declare
        v_next constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
    begin
        for attempt in 1..40 loop
            perform pg_stat_clear_snapshot();
            if not exists (
                select from pg_stat_activity as a
                where a.datname = current_database() and a.pid <> pg_backend_pid()
                  and greatest(age(a.backend_xmin), age(a.backend_xid)) > age(v_next::xid)
                union all
                select from pg_prepared_xacts as p
                where p.database = current_database() and age(p.transaction) > age(v_next::xid)
            ) then
                return;
            end if;
            perform pg_sleep(0.05);
        end loop;
        raise exception 'a transaction is open';
    end
    $do$
$command$) as r

-- name: files
-- The parts of a table, and the file that each is in.
select r.nodename, r.nodeport, r.shardid, split_part(r.result, ' ', 1) as file,
    split_part(r.result, ' ', 2)::bigint as bytes
from pg_catalog.run_command_on_placements(
    %(table)s, 'select pg_relation_filenode(%%1$L) || '' '' || pg_total_relation_size(%%1$L)', false
) as r
where r.success

-- name: are_moved
-- Whether no part is left where a machine was away when it went to another.
select not exists (select from pg_catalog.pg_dist_cleanup)

-- name: rewrite
-- One part after the other. What is in use keeps its file.
select coalesce(bool_and(r.success), true)
from pg_catalog.run_command_on_placements(%(table)s, 'vacuum (full, skip_locked) %%s', false) as r

-- name: vacuum
select coalesce(bool_and(r.success), true)
from pg_catalog.run_command_on_placements(%(table)s, 'vacuum (skip_locked) %%s', false) as r

-- name: forget_samples
-- Of a part that was made while it went to another machine.
select coalesce(bool_and(r.success), true) from pg_catalog.run_command_on_placements(
    %(table)s,
    'delete from pg_catalog.pg_statistic as s using pg_catalog.pg_attribute as a '
    'where s.starelid = %%1$L::regclass and a.attrelid = s.starelid and a.attnum = s.staattnum '
    'and a.attname = ''embedding''', false
) as r

-- name: rewrite_samples
select coalesce(bool_and(r.success), true)
from pg_catalog.run_command_on_workers('vacuum (full) pg_catalog.pg_statistic') as r

-- name: switch_wal
select coalesce(bool_and(r.success), true) from pg_catalog.run_command_on_workers('select pg_switch_wal()') as r

-- name: checkpoint
select coalesce(bool_and(r.success), true) from pg_catalog.run_command_on_workers('checkpoint') as r
