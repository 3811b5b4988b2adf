-- Backups that were made or tried. They are kept elsewhere: what is whole there is what counts.

create table automatch.backup_runs (
    id bigint generated always as identity primary key,
    started_at timestamptz not null default automatch.now(),
    finished_at timestamptz,
    place text not null,
    scheduled boolean not null,
    name text,
    encrypted boolean,
    photos bigint,
    byte_count bigint,
    error text,
    constraint ended_well_or_with_an_error check (finished_at is null or (name is null) <> (error is null))
);
comment on table automatch.backup_runs is
    'Each backup that was begun: where to, and how it ended. One without an end runs, or was killed.';
create index backup_runs_started_idx on automatch.backup_runs (started_at);

create function automatch.start_backup_run(p_place text, p_scheduled boolean)
returns bigint language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.backup_runs (place, scheduled) values (p_place, p_scheduled) returning id
$$;
comment on function automatch.start_backup_run(text, boolean) is 'Note that a backup begins; the number of the run.';

create function automatch.finish_backup_run(
    p_id bigint, p_name text default null, p_encrypted boolean default null, p_photos bigint default null,
    p_bytes bigint default null, p_error text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.backup_runs as r
    set finished_at = automatch.now(), name = p_name, encrypted = p_encrypted, photos = p_photos,
        byte_count = p_bytes, error = p_error
    where r.id = p_id
$$;
comment on function automatch.finish_backup_run(bigint, text, boolean, bigint, bigint, text) is
    'Note how a backup ended: with its name, or with an error.';

create function public.list_backup_runs(p_limit integer default 50)
returns table (
    id bigint, started_at timestamptz, finished_at timestamptz, place text, scheduled boolean, name text,
    encrypted boolean, photos bigint, byte_count bigint, error text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select r.id, r.started_at, r.finished_at, r.place, r.scheduled, r.name, r.encrypted, r.photos, r.byte_count,
        r.error
    from automatch.backup_runs as r
    order by r.started_at desc, r.id desc
    limit p_limit
$$;
comment on function public.list_backup_runs(integer) is 'The latest backups that were made or tried, newest first.';

create function public.is_backup_due(p_every interval, p_hour integer)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from automatch.backup_runs as r
        where r.started_at >= date_bin(
                p_every, automatch.now(), timestamptz '2000-01-01 00:00:00+00' + make_interval(hours => p_hour)
            ) and r.name is not null
            -- One that failed is tried again.
            or r.started_at > automatch.now() - interval '30 minutes' and r.scheduled and r.name is null
    )
$$;
comment on function public.is_backup_due(interval, integer) is
    'Whether no backup was made since its time, which comes every so often, counted from an hour of the day (UTC).';
