-- Which photo store holds the files of this database: the store bears the same mark. And how far it was swept.

create table automatch.photo_store (
    singleton boolean primary key default true check (singleton),
    mark uuid not null,
    marked_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_store is
    'The random mark of the folder or bucket with the photos. Whoever finds another one there does not start.';

create function public.claim_photo_store(p_mark uuid default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_mark is not null then
        -- Waits for another that claims at the same time, which marks its store before it commits.
        insert into automatch.photo_store (mark) values (p_mark) on conflict do nothing;
    end if;
    return (select s.mark from automatch.photo_store as s);
end
$$;
comment on function public.claim_photo_store(uuid) is
    'The mark of the photo store; p_mark becomes it where there is none yet.';

create table automatch.photo_sweep (
    singleton boolean primary key default true check (singleton),
    position text not null
);
comment on table automatch.photo_sweep is 'The path up to which stored copies were compared with the faces.';
