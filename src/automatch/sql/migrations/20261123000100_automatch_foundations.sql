-- Roles, the schema of the internals, the caller's identity and the clock.

-- A Supabase project has the first three; elsewhere they are made here. The two
-- logins are the only ones that Auto-Match connects with in its daily work:
-- neither owns anything, and neither inherits what it may become.
-- Every function names its search_path with pg_temp last. Left out, pg_temp comes
-- first: a login's own temporary type `uuid` would then run its checks as the owner.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute pg_catalog.format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
    foreach v_role in array array['automatch_api', 'automatch_worker'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute pg_catalog.format('create role %I login noinherit', v_role);
        end if;
    end loop;
end
$$;

grant anon, authenticated to automatch_api;
grant service_role to automatch_worker;

-- A query that runs this long is lost, and holds others up.
alter role automatch_api set statement_timeout = '15s';
alter role automatch_api set lock_timeout = '5s';
alter role automatch_api set idle_in_transaction_session_timeout = '15s';
alter role automatch_worker set statement_timeout = '30s';
alter role automatch_worker set lock_timeout = '5s';
alter role automatch_worker set idle_in_transaction_session_timeout = '15s';

create schema if not exists extensions;
create extension if not exists vector with schema extensions;
grant usage on schema extensions to anon, authenticated, service_role;
-- The type of a parameter is resolved as the login, before it becomes anyone.
grant usage on schema extensions to automatch_api, automatch_worker;
alter role automatch_api set search_path = public, extensions;
alter role automatch_worker set search_path = public, extensions;

create schema automatch;
comment on schema automatch is
    'Internals of Auto-Match. What apps and operators may use is in public.';
revoke all on schema automatch from public;
grant usage on schema automatch to anon, authenticated, service_role;

create function automatch.now()
returns timestamptz
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;
comment on function automatch.now() is
    'The one clock. Leases, retries and ages are judged by it; tests replace it.';

create function automatch.claims()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- After a commit the setting is '' and not null, which is no JSON.
    select coalesce(nullif(pg_catalog.current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create function automatch.uid()
returns uuid
language sql
stable
set search_path = pg_catalog, pg_temp
as $$ select nullif(automatch.claims() ->> 'sub', '')::uuid $$;
comment on function automatch.uid() is 'The person who asks, from the verified token; null for nobody.';

create function automatch.refuse(p_code text, p_message text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- SQLSTATE AM001 carries one of errors.py's codes in its hint.
    raise exception using errcode = 'AM001', message = p_message, hint = p_code;
end
$$;

revoke execute on all functions in schema automatch from public;
grant execute on function
    automatch.now(), automatch.claims(), automatch.uid(), automatch.refuse(text, text)
    to anon, authenticated, service_role;
