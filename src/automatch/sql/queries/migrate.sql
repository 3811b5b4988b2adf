-- name: bound_wait
-- Bounds the wait for whoever migrates right now.
set lock_timeout = '2min'

-- name: lock
-- Held by the session, so it ends with it; the number only has to differ from other programs'.
select pg_advisory_lock(6521478203915847)

-- name: create_ledger_schema
-- The Supabase CLI's own definition, as is the table's.
create schema if not exists supabase_migrations

-- name: create_ledger
-- Versions are compared as text.
create table if not exists supabase_migrations.schema_migrations (
    version text primary key,
    statements text[],
    name text
)

-- name: ledger_exists
-- False on a database that nobody has migrated yet.
select to_regclass('supabase_migrations.schema_migrations') is not null

-- name: list_applied
-- What is applied already, by us or by anybody else.
select version, name
from supabase_migrations.schema_migrations

-- name: reset
-- Gives every file the settings of a fresh session.
reset all

-- name: record
-- Written in the transaction of the file it names.
insert into supabase_migrations.schema_migrations (version, name, statements)
values (%(version)s, %(name)s, array[%(text)s])

-- name: is_supabase
-- A Supabase project has its own superuser, and its schema `auth` is not ours.
select exists (select from pg_catalog.pg_roles where rolname = 'supabase_admin')
    or exists (
        select
        from pg_catalog.pg_namespace
        where nspname = 'auth'
          and pg_catalog.pg_get_userbyid(nspowner) <> current_user
    )

-- name: list_extensions
-- What needs no stand-in.
select extname from pg_catalog.pg_extension

-- name: set_password
-- The password arrives hashed.
alter role {login} password {password}
