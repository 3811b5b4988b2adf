-- name: bound_wait
-- Bounds the wait for another migration.
set lock_timeout = '2min'

-- name: lock
-- Held by the session; the number only has to differ from those of other programs.
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
-- What has been applied, by us or by others.
select version, name
from supabase_migrations.schema_migrations

-- name: reset
-- Every file starts with the settings of a new session.
reset all

-- name: keep_functions_here
-- Citus would make each function on each machine of a cluster too, where nobody calls it: once it has sent a role
-- there, it does so in the rest of the transaction even if told not to. Roles go there with the tables.
select set_config('citus.create_object_propagation', 'deferred', true),
    set_config('citus.enable_create_role_propagation', 'off', true)

-- name: bound_lock_wait
-- Of one attempt at a file.
set local lock_timeout = '1s'

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
-- Installed extensions need no stand-in.
select extname from pg_catalog.pg_extension

-- name: may_sign_in
-- No row where the role is missing.
select rolcanlogin from pg_catalog.pg_roles where rolname = %(login)s

-- name: set_password
-- The password is hashed already.
alter role {login} login password {password}
