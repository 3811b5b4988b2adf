-- Who was shown whose photo, a row a viewer, photo and day.

create table automatch.photo_views (
    id bigint generated always as identity primary key,
    face_id uuid not null references public.faces (id) on delete cascade,
    viewer_id uuid references public.profiles (id) on delete cascade,
    day date not null,
    first_at timestamptz not null,
    full_size boolean not null,
    constraint views_of_a_day_are_one unique nulls not distinct (face_id, viewer_id, day)
);
comment on table automatch.photo_views is 'Photos of others that people were shown. Not who looked at an own photo.';
comment on column automatch.photo_views.viewer_id is 'Null for operators, whose names are in the audit log.';
comment on column automatch.photo_views.full_size is 'Whether the whole photo was shown that day, and not only the face.';
create index photo_views_viewer_idx on automatch.photo_views (viewer_id);
create index photo_views_first_idx on automatch.photo_views (first_at);

create function public.record_photo_views(
    p_viewer_ids uuid[], p_face_ids uuid[], p_full_size boolean[], p_seen_at timestamptz[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- In the order of all locks, before the foreign keys take them in the order of the rows.
    perform from public.profiles as p
    where p.id = any (p_viewer_ids)
        or p.id in (select f.profile_id from public.faces as f where f.id = any (p_face_ids))
    order by p.id for key share;
    perform from public.faces as f where f.id = any (p_face_ids) order by f.id for key share;
    insert into automatch.photo_views as v (face_id, viewer_id, day, first_at, full_size)
    select s.face_id, s.viewer_id, (s.seen_at at time zone 'UTC')::date, min(s.seen_at), bool_or(s.full_size)
    from unnest(p_viewer_ids, p_face_ids, p_full_size, p_seen_at) as s (viewer_id, face_id, full_size, seen_at)
    join public.faces as f on f.id = s.face_id and f.profile_id is distinct from s.viewer_id
    join public.profiles as owner on owner.id = f.profile_id and not owner.simulated
    where s.viewer_id is null or exists (select from public.profiles as p where p.id = s.viewer_id)
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (face_id, viewer_id, day) do update set full_size = true
    where excluded.full_size and not v.full_size;
end
$$;
comment on function public.record_photo_views(uuid[], uuid[], boolean[], timestamptz[]) is
    'Record which photos of others were shown to whom and when; without a viewer, to an operator.';

create function automatch.blur_count(p_people bigint)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$ select case when p_people between 1 and 2 then '1-2' else p_people::text end $$;
comment on function automatch.blur_count(bigint) is
    'A number of people without naming them: whoever has one match would know who the one person was.';

create function public.count_photo_views()
returns table (people_this_week text, people_this_month text, operator_days_this_month integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        automatch.blur_count(count(distinct v.viewer_id) filter (
            where v.day > (automatch.now() at time zone 'UTC')::date - 7
        )),
        automatch.blur_count(count(distinct v.viewer_id)),
        count(distinct v.day) filter (where v.viewer_id is null)::integer
    from public.faces as f
    join automatch.photo_views as v on v.face_id = f.id
    where f.profile_id = (select automatch.uid()) and v.day > (automatch.now() at time zone 'UTC')::date - 30
$$;
create function public.list_photo_views()
returns table (week date, people text, operator_days integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- By week: by day, whoever has one match would read when that person was here.
    select date_trunc('week', v.day)::date, automatch.blur_count(count(distinct v.viewer_id)),
        count(distinct v.day) filter (where v.viewer_id is null)::integer
    from public.faces as f
    join automatch.photo_views as v on v.face_id = f.id
    where f.profile_id = (select automatch.uid())
    group by 1
    order by 1 desc
    limit 15
$$;
comment on function public.list_photo_views() is
    'How many people were shown photos of the caller in each week, and on how many days operators were; newest first.';
comment on function public.count_photo_views() is
    'How many people were shown photos of the caller in 7 and in 30 days, and on how many of these days operators were.';
