-- The roles of a Supabase project, made by its superuser supabase_admin, once in a cluster.

-- What a project gives its owner: much, but no superuser, and no right to the roles of its services.
create role postgres login createdb createrole replication bypassrls;
alter role postgres set search_path = "$user", public, extensions;

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
grant anon, authenticated, service_role to postgres with admin option;

create role authenticator login noinherit;
alter role authenticator set statement_timeout = '8s';
grant anon, authenticated, service_role to authenticator;

create role supabase_auth_admin login noinherit;
alter role supabase_auth_admin set search_path = auth;
create role supabase_storage_admin login noinherit;
create role supabase_replication_admin login replication;
create role supabase_read_only_user login bypassrls;
create role dashboard_user nologin createdb createrole replication;
