-- The clock, the caller's identity, and how a function reports an error.

create function automatch.now()
returns timestamptz language sql set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;
comment on function automatch.now() is 'The clock for leases, retries and ages. Tests replace it.';

create function automatch.lock_key(p_purpose text)
returns bigint language sql immutable set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('automatch ' || p_purpose, 0) $$;
comment on function automatch.lock_key(text) is
    'The key of an advisory lock: worker, idle_worker, virtual_time, cleanup, owners, pauses, schedule, cron, backup, model, '
    'model_change, history, reports, uploads of a person, first photos of a school.';

create function automatch.claims()
returns jsonb language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- After a commit the setting is '' and not null.
    select coalesce(nullif(pg_catalog.current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create function automatch.uid()
returns uuid language sql stable set search_path = pg_catalog, pg_temp
as $$ select nullif(automatch.claims() ->> 'sub', '')::uuid $$;
comment on function automatch.uid() is 'The caller''s id, from the verified token; null without one.';

create function automatch.raise_error(p_code text, p_message text)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- The hint of SQLSTATE AM001 is an error code of docs/errors.md.
    raise exception using errcode = 'AM001', message = p_message, hint = p_code;
end
$$;
