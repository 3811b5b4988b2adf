-- How many photos of a person are searched for in a day.

create table automatch.photo_searches (
    job_id uuid primary key,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    counted_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_searches is
    'Searches that people began by sending a photo. A row outlives its photo, so that deleting one brings no search '
    'back; searches that the system begins are not counted.';
create index photo_searches_profile_idx on automatch.photo_searches (profile_id, counted_at);
create index photo_searches_counted_idx on automatch.photo_searches (counted_at);

create function automatch.enqueue_upload(p_face_id uuid, p_priority smallint)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.photo_searches as s (job_id, profile_id)
    select j.id, automatch.uid() from public.enqueue_match_job(p_face_id, p_priority) as j (id)
    on conflict (job_id) do update set counted_at = s.counted_at
    returning s.job_id
$$;
comment on function automatch.enqueue_upload(uuid, smallint) is 'Queue a photo that the caller sent, and count its search.';

create function automatch.uncount_search()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- One that waits for a decision is not free: somebody has to look at it.
    delete from automatch.photo_searches as s
    where s.job_id = new.id and not exists (select from automatch.held_faces as h where h.face_id = new.face_id);
    return null;
end
$$;

-- Whoever is asked for a face can still answer.
create trigger match_jobs_uncount_search
after update of status on public.match_jobs
for each row
when (new.status = 'failed' and new.face_boxes is null)
execute function automatch.uncount_search();

create function public.get_search_wait(p_most integer)
returns double precision language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(extract(epoch from max(s.counted_at) + interval '1 day' - automatch.now())::double precision, 0)
    from (
        select c.counted_at from automatch.photo_searches as c
        where c.profile_id = automatch.uid() and c.counted_at > automatch.now() - interval '1 day'
        order by c.counted_at desc
        offset p_most
        limit 1
    ) as s
$$;
comment on function public.get_search_wait(integer) is
    'Seconds until the caller''s searches of the last 24 hours are no more than p_most; 0 when they are now.';
