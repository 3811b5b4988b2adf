-- The roles that everything is granted to. A restore runs this file alone, before the dump.

-- Bodies name objects of later files; a test checks every body once all of them are there.
set check_function_bodies = off;
-- `vector` may have been installed in either.
set search_path = public, extensions;

-- A Supabase project has the first three roles. Servers and workers connect with the three logins alone:
-- they own nothing and inherit nothing from the roles that they may become.
-- Every function pins its search_path with pg_temp last. Left out, pg_temp comes first, and a login's
-- temporary type `uuid` would run code of its own with the owner's rights.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute pg_catalog.format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
    foreach v_role in array array['automatch_api', 'automatch_worker', 'automatch_schedule'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            -- Not to be used before `automatch migrate` has given it a password; by that it also knows whether
            -- another installation has.
            execute pg_catalog.format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
end
$$;

grant anon, authenticated to automatch_api;
grant service_role to automatch_worker;

-- A query that runs longer blocks others and has no reader any more.
alter role automatch_api set statement_timeout = '15s';
alter role automatch_api set lock_timeout = '5s';
alter role automatch_api set idle_in_transaction_session_timeout = '15s';
alter role automatch_worker set statement_timeout = '30s';
alter role automatch_worker set lock_timeout = '5s';
alter role automatch_worker set idle_in_transaction_session_timeout = '15s';
-- Before PostgreSQL 18, a plan with a step that is switched off looks so costly that it is compiled: a claim
-- took 0.7 s.
alter role automatch_api set jit = off;
alter role automatch_worker set jit = off;
alter role automatch_schedule set jit = off;

alter role automatch_api set search_path = public, extensions;
alter role automatch_worker set search_path = public, extensions;
alter role automatch_schedule set search_path = public, extensions;
