-- Which servers run, and how many pages each keeps up to date.

create table automatch.servers (
    id uuid primary key,
    host text not null,
    version text not null,
    started_at timestamptz not null default automatch.now(),
    seen_at timestamptz not null default automatch.now(),
    streams integer not null,
    channels integer not null,
    keys jsonb not null default '{}'
)
-- So that a sign of life touches no index.
with (fillfactor = 50);
comment on table automatch.servers is 'Servers that have shown a sign of life; a stop takes the row away.';
comment on column automatch.servers.streams is 'Open feeds of pages and apps.';
comment on column automatch.servers.channels is 'Channels of supabase clients.';
comment on column automatch.servers.keys is
    'What its host has in its data folder, by name: fingerprints, which are the same on all hosts.';

create table automatch.upload_refusals (
    starts_at timestamptz not null,
    code text not null,
    uploads integer not null,
    primary key (starts_at, code)
);
comment on table automatch.upload_refusals is
    'Uploads that were refused in five minutes, by error code: they made no job, so nothing else tells of them.';

create function public.report_server(
    p_server_id uuid, p_host text, p_version text, p_streams integer, p_channels integer, p_refusals jsonb default '{}',
    p_keys jsonb default '{}'
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.servers as s
    set seen_at = automatch.now(), streams = p_streams, channels = p_channels, keys = p_keys
    where s.id = p_server_id;
    if not found then
        -- Those that were killed.
        delete from automatch.servers as s where s.seen_at < automatch.now() - interval '1 hour';
        insert into automatch.servers (id, host, version, streams, channels, keys)
        values (p_server_id, p_host, p_version, p_streams, p_channels, p_keys);
    end if;
    insert into automatch.upload_refusals as r (starts_at, code, uploads)
    select date_bin('5 minutes', automatch.now(), 'epoch'), n.key, n.value::integer
    from jsonb_each_text(p_refusals) as n
    -- So that two servers lock the rows in one order.
    order by n.key
    on conflict (starts_at, code) do update set uploads = r.uploads + excluded.uploads;
end
$$;
comment on function public.report_server(uuid, text, text, integer, integer, jsonb, jsonb) is
    'Show a sign of life, every ten seconds, and tell how many uploads were refused since the last one, by error code.';

create function public.forget_server(p_server_id uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ delete from automatch.servers as s where s.id = p_server_id $$;
comment on function public.forget_server(uuid) is 'Say that a server stops.';

create function public.list_servers()
returns table (
    id uuid, host text, version text, started_at timestamptz, seen_at timestamptz, streams integer, channels integer,
    keys jsonb, alive boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.host, s.version, s.started_at, s.seen_at, s.streams, s.channels, s.keys,
        s.seen_at > automatch.now() - interval '30 seconds'
    from automatch.servers as s
    order by s.started_at, s.id
$$;
comment on function public.list_servers() is
    'The servers; one that was silent for half a minute is not alive, and forgotten after an hour.';
