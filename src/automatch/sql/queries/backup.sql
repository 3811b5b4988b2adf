-- name: lock
-- One backup of a database at a time; held by the session.
select pg_catalog.pg_try_advisory_lock(automatch.lock_key('backup'))

-- name: unlock
select pg_catalog.pg_advisory_unlock(automatch.lock_key('backup'))

-- name: unbounded
-- The transaction waits while pg_dump works, and counting takes what it takes.
select
    pg_catalog.set_config('statement_timeout', '0', false),
    pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false)

-- name: state
-- Of the transaction whose snapshot pg_dump takes over.
select
    pg_catalog.pg_export_snapshot() as snapshot,
    pg_catalog.now() as taken_at,
    current_setting('server_version_num')::integer / 10000 as postgres,
    current_user::text as owner,
    -- Not Citus: rows in shards are written out as those of one server, and restored there.
    array(select e.extname::text from pg_catalog.pg_extension as e where e.extname !~ '^(citus|plpgsql)') as extensions,
    (select s.mark from automatch.photo_store as s) as photo_store,
    (
        select max(m.version) from supabase_migrations.schema_migrations as m where m.name like 'automatch\_%%'
    ) as schema_version

-- name: tables
-- All that pg_dump writes rows of.
select n.nspname as schema, c.relname as name
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2

-- name: photos
-- The copies of a photo with an embedding do not change any more; others may wait for a worker, or be refused.
select f.image_path, exists (select from public.face_embeddings as e where e.face_id = f.id) as is_final
from public.faces as f
order by f.image_path

-- name: known_photos
-- Those that nobody has erased since.
select f.image_path from public.faces as f where f.image_path = any (%(paths)s)

-- name: is_migrated
-- Whether a database has anything of Auto-Match.
select pg_catalog.to_regnamespace('automatch') is not null

-- name: forget_erased_bytes
-- The files of a restored database never had them, and its transactions have other numbers.
delete from automatch.erasures

-- name: analyze
-- For good plans from the beginning.
analyze

-- name: update_vector
-- The files of the new server have a later pgvector, maybe.
do $$
begin
    if exists (select from pg_catalog.pg_extension where extname = 'vector') then
        alter extension vector update;
    end if;
end
$$
