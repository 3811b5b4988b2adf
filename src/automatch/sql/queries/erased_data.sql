-- name: settled
-- The newest erasure whose rows no open transaction of this database can see any more, so that rewriting a
-- table leaves them out.
select max(e.xid::text::bigint)
from automatch.erasures as e
where age(e.xid::xid) > coalesce((
    select max(greatest(age(a.backend_xmin), age(a.backend_xid)))
    from pg_catalog.pg_stat_activity as a
    where a.datname = current_database() and a.pid <> pg_backend_pid()
), 0)

-- name: is_empty
-- An erasure may wait for a transaction that still sees its rows.
select not exists (select from automatch.erasures)

-- name: not_logged
-- Erasures that should be in the log outside of the database by now.
select count(*)
from automatch.erased_people as e
where not e.is_logged and e.erased_at < automatch.now() - interval '1 minute'

-- name: overdue
-- Erasures whose bytes should have been removed from the files by now.
select count(*)
from automatch.erasures as e
where e.erased_at < automatch.now() - make_interval(secs => %(seconds)s)

-- name: tables
-- Tables with personal values: those with a column that is kept out of the statistics, and those that tell how
-- alike two people are, or who liked or blocked whom. One is large when
-- rewriting it would hold up its users for longer than they wait for a lock; building an HNSW index does.
select
    n.nspname || '.' || c.relname as name,
    pg_total_relation_size(c.oid) > %(large_bytes)s or exists (
        select from pg_catalog.pg_index as i
        join pg_catalog.pg_class as x on x.oid = i.indexrelid
        join pg_catalog.pg_am as m on m.oid = x.relam
        where i.indrelid = c.oid and m.amname = 'hnsw'
    ) as is_large,
    automatch.is_distributed(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) as is_distributed
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r'
  and n.nspname in ('public', 'automatch', 'auth')
  and (
      c.relname in ('matches', 'profile_blocks', 'match_dismissals', 'likes', 'suspected_duplicates')
      or exists (
          select from pg_catalog.pg_attribute as a
          where a.attrelid = c.oid and a.attstattarget = 0 and not a.attisdropped
      )
  )
order by 1

-- name: all_tables
-- Dead rows of others have ids of erased people, and an index of vectors overwrites what is vacuumed.
select n.nspname || '.' || c.relname as name, false as is_large,
    automatch.is_distributed(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) as is_distributed
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in ('public', 'automatch', 'auth')
order by 1

-- name: bound_wait
-- Whoever comes after the rewriting waits for it too.
set lock_timeout = '2s'

-- name: rewrite
vacuum (full) {table}

-- name: vacuum
vacuum (skip_locked) {table}

-- name: switch_wal
select pg_switch_wal()

-- name: checkpoint
-- Deletes the segments of the write-ahead log before the current one, and the files of rewritten tables.
checkpoint

-- name: forget
delete from automatch.erasures where xid::text::bigint <= %(until)s
