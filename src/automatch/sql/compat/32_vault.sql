-- Stands in for the extension: supabase_vault
-- The part of Supabase Vault that the schedule needs. Only the owner can read it; unlike Vault it does not
-- encrypt. Idempotent.

create schema if not exists vault;
comment on schema vault is 'Auto-Match stands in for the extension supabase_vault.';

create table if not exists vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text unique,
    description text not null default '',
    secret text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
alter table vault.secrets enable row level security;
alter table vault.secrets force row level security;
drop policy if exists owner on vault.secrets;
create policy owner on vault.secrets to current_user using (true) with check (true);

create or replace view vault.decrypted_secrets with (security_invoker = true) as
select s.id, s.name, s.description, s.secret, s.secret as decrypted_secret, s.created_at, s.updated_at
from vault.secrets as s;

create or replace function vault.create_secret(
    new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
)
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$ insert into vault.secrets (secret, name, description) values ($1, $2, $3) returning id $$;
comment on function vault.create_secret(text, text, text, uuid) is 'Store a secret; new_key_id is ignored.';

create or replace function vault.update_secret(
    secret_id uuid, new_secret text default null, new_name text default null, new_description text default null,
    new_key_id uuid default null
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update vault.secrets as s
    set secret = coalesce($2, s.secret), name = coalesce($3, s.name), description = coalesce($4, s.description),
        updated_at = now()
    where s.id = $1
$$;

do $$
declare
    v_function regprocedure;
begin
    for v_function in select p.oid from pg_catalog.pg_proc as p where p.pronamespace = 'vault'::regnamespace loop
        execute 'revoke execute on function ' || v_function || ' from public';
    end loop;
end
$$;
