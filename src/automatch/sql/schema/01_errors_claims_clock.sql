-- The clock, the caller's identity, and how a function reports an error.

create function automatch.now()
returns timestamptz
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;
comment on function automatch.now() is
    'The one clock. Leases, retries and ages are judged by it; tests replace it.';

create function automatch.seconds_since(p_start timestamptz)
returns numeric
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$ select round(extract(epoch from automatch.now() - p_start)::numeric, 4) $$;

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

create function automatch.raise_error(p_code text, p_message text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- SQLSTATE AM001 carries one of errors.py's codes in its hint.
    raise exception using errcode = 'AM001', message = p_message, hint = p_code;
end
$$;
