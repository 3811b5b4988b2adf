-- Photos of people, and the face in each.

create function automatch.is_face_box(p_box jsonb)
returns boolean language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- One after the other: what is no number cannot be compared with one.
    select case
        when p_box is null or jsonb_typeof(p_box) <> 'object' then false
        when exists (
            select from unnest('{left,top,width,height}'::text[]) as side (name)
            where coalesce(jsonb_typeof(p_box -> side.name), '') <> 'number'
        ) then false
        else (p_box ->> 'left')::float8 >= 0 and (p_box ->> 'width')::float8 > 0
             and (p_box ->> 'left')::float8 + (p_box ->> 'width')::float8 <= 1.0001
             and (p_box ->> 'top')::float8 >= 0 and (p_box ->> 'height')::float8 > 0
             and (p_box ->> 'top')::float8 + (p_box ->> 'height')::float8 <= 1.0001
    end
$$;
comment on function automatch.is_face_box(jsonb) is
    'Whether it has left, top, width and height in shares of an upright photo''s sides, inside the photo.';

create function automatch.are_face_boxes(p_boxes jsonb)
returns boolean language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select case
        when p_boxes is null or jsonb_typeof(p_boxes) <> 'array' then false
        else jsonb_array_length(p_boxes) between 2 and 64
             and not exists (
                 select from jsonb_array_elements(p_boxes) as box (value)
                 where not automatch.is_face_box(box.value)
             )
    end
$$;
comment on function automatch.are_face_boxes(jsonb) is 'Whether it is a list of 2 to 64 boxes of faces.';

create table public.faces (
    id uuid primary key default gen_random_uuid(),
    profile_id uuid not null references public.profiles (id) on delete cascade,
    image_path text not null,
    image_sha256 text not null,
    created_at timestamptz not null default automatch.now(),
    chosen_box jsonb,
    needs_challenge boolean not null default false,
    constraint one_face_per_photo unique (profile_id, image_sha256),
    constraint image_sha256_is_hex check (image_sha256 ~ '^[0-9a-f]{64}$'),
    constraint chosen_box_is_in_the_photo check (
        chosen_box is null
        or (automatch.is_face_box(chosen_box) and jsonb_typeof(chosen_box -> 'index') = 'number')
    )
);
comment on column public.faces.image_path is 'The path of the photo in the photo store; never a URL.';
comment on column public.faces.image_sha256 is 'Of the uploaded bytes: the same photo again is the same face.';
comment on column public.faces.chosen_box is
    'The face that the person chose of several, as in match_jobs.face_boxes, with its index there. Null for a '
    'photo with one face.';
comment on column public.faces.needs_challenge is
    'Whether, as a first photo, it waits until its person has turned their head before the camera as asked.';
create trigger faces_require_consent before insert on public.faces
for each row execute function automatch.require_consent();

create trigger faces_first_added after insert on public.faces
for each row execute function automatch.first_photo_added();

create table automatch.held_faces (
    face_id uuid primary key references public.faces (id) on delete cascade,
    reason text not null,
    held_at timestamptz not null default automatch.now(),
    lost_pair boolean not null default false,
    constraint reason_is_known check (
        reason in ('another_person', 'another_account', 'challenge', 'refused', 'reported', 'hidden')
    )
);
comment on table automatch.held_faces is
    'Photos that are neither found nor searched for, until somebody decides about them.';
comment on column automatch.held_faces.lost_pair is
    'Whether a pair that was not dismissed has gone, with an account or its last photo: dismissing others is not enough.';

-- A transaction cannot delete files: it records their paths, and they are deleted after the commit.
create table automatch.photo_erasures (
    image_path text primary key,
    queued_at timestamptz not null default automatch.now(),
    next_try_at timestamptz not null default automatch.now(),
    error text
);
comment on table automatch.photo_erasures is 'Photos of deleted faces whose files are still to be deleted.';
create index photo_erasures_next_try_idx on automatch.photo_erasures (next_try_at);

-- Nor can it remove the bytes of deleted rows from the files of the database.
create table automatch.erasures (
    xid xid8 primary key default pg_current_xact_id(),
    erased_at timestamptz not null default automatch.now()
);
comment on table automatch.erasures is
    'Transactions that erased a photo or a person whose bytes may still be in the files of the database.';

create function automatch.face_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.photo_erasures (image_path) values (old.image_path) on conflict do nothing;
    insert into automatch.erasures default values on conflict do nothing;
    return null;
end
$$;

create trigger faces_erased after delete on public.faces
for each row execute function automatch.face_erased();

create function public.record_upload(
    p_face_id uuid, p_image_path text, p_image_sha256 text, p_costly boolean default false
)
returns table (
    face_id uuid, job_id uuid, job_status text, is_new boolean, error_code text, error_message text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_face_id uuid;
    v_job public.match_jobs;
    -- The first photos of others are not to wait for one that takes seconds to decode.
    v_priority constant smallint := case when p_costly then 2 end;
begin
    -- The first photo is counted as a choice of its school.
    perform automatch.lock_schools_of(array[automatch.uid()])
    where not exists (select from automatch.profile_choices as c where c.profile_id = automatch.uid());
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.raise_error(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    elsif automatch.must_consent_again(v_profile.id) then
        perform automatch.raise_error(
            'consent_outdated', 'The consent text has changed; read it in your profile and consent to it first.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null or v_profile.birth_date is null then
        perform automatch.raise_error(
            'profile_incomplete',
            'Fill in your school, gender and birth date before uploading a photo.'
        );
    end if;
    -- Any other path could be somebody else's photo, which would be shown and erased as one's own.
    if p_image_path is distinct from left(p_face_id::text, 2) || '/' || p_face_id then
        perform automatch.raise_error('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (p_face_id, v_profile.id, p_image_path, p_image_sha256)
    on conflict do nothing
    returning id into v_face_id;
    if v_face_id is not null then
        return query
            select v_face_id, automatch.enqueue_upload(v_face_id, v_priority), 'pending', true, null::text, null::text;
        return;
    end if;
    select f.id into v_face_id from public.faces as f
    where f.profile_id = v_profile.id and f.image_sha256 = p_image_sha256;
    if not found then
        -- The id is taken. Postgres would say so, and that there is such a photo of somebody.
        perform automatch.raise_error('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    select j.* into v_job from public.match_jobs as j
    where j.face_id = v_face_id
    order by j.created_at desc
    limit 1;
    -- Under the face's own id the caller has stored the file again; the template of an old photo, whose job has
    -- been cleaned up, needs none.
    if (v_face_id = p_face_id and (v_job.id is null or v_job.status = 'failed' and v_job.face_boxes is null)
            and not exists (select from automatch.held_faces as h where h.face_id = v_face_id))
        or (v_job.id is null and exists (select from public.face_embeddings as e where e.face_id = v_face_id))
    then
        return query
            select v_face_id, automatch.enqueue_upload(v_face_id, v_priority), 'pending', false, null::text, null::text;
        return;
    end if;
    return query
        select v_face_id, v_job.id, v_job.status, false,
            case v_job.status when 'failed' then v_job.error_code end,
            case v_job.status when 'failed' then v_job.error_message end;
end
$$;
comment on function public.record_upload(uuid, text, text, boolean) is
    'Store the caller''s photo as a face with its job; the same photo again returns the same ids and why it failed. '
    'Without a job, or after a failure that was not the photo''s fault: store the file at the face''s path and call '
    'this again with the face''s id, for a new job. p_costly: it takes long to decode and waits like a second photo.';

create function public.check_upload_limits(p_max_photos integer, p_max_waiting integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id constant uuid := automatch.uid();
begin
    -- One upload of a person after the other, so that each counts those before it.
    perform pg_advisory_xact_lock(automatch.lock_key('uploads of ' || v_id));
    if p_max_photos < (
        select count(*) from public.faces as f
        where f.profile_id = v_id
          -- A photo that was refused takes no place.
          and (
              exists (select from public.face_embeddings as e where e.face_id = f.id)
              or not exists (
                  select from public.match_jobs as j
                  where j.face_id = f.id and j.status = 'failed' and j.face_boxes is null
              )
              or exists (
                  select from public.match_jobs as j where j.face_id = f.id and j.completed_at is null
              )
          )
    ) then
        perform automatch.raise_error(
            'photos_full',
            'You can keep ' || p_max_photos || case p_max_photos when 1 then ' photo' else ' photos' end
            || '. Delete one first.'
        );
    end if;
    if p_max_waiting < (
        select count(*) from public.match_jobs as j where j.user_id = v_id and j.completed_at is null and j.status = 'pending'
    ) then
        perform automatch.raise_error(
            'photos_waiting', 'Your other photos are still waiting for their turn. Try again when one is done.'
        );
    end if;
end
$$;
comment on function public.check_upload_limits(integer, integer) is
    'Refuse when the caller, with a photo that was just recorded, has more photos or more that wait than allowed.';

create function public.get_chosen_face(p_face_id uuid)
returns jsonb language sql security definer set search_path = pg_catalog, pg_temp
as $$ select f.chosen_box from public.faces as f where f.id = p_face_id $$;
comment on function public.get_chosen_face(uuid) is
    'The face that the person chose on a photo; null if there was no choice.';

create function automatch.lock_first_photos(p_school text)
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock(automatch.lock_key('first photos of ' || p_school)) $$;
comment on function automatch.lock_first_photos(text) is
    'Have the photos of a school''s accounts compared with each other in turn, until the transaction ends.';

create function public.delete_face(p_face_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
begin
    select p.school into v_school
    from public.profiles as p
    where p.id = automatch.uid() and exists (
        select from automatch.held_faces as h join public.faces as f on f.id = h.face_id
        where f.profile_id = p.id and h.reason = 'another_person'
    )
    for no key update;
    if found and v_school is not null then
        -- Before the person is locked for good: whoever compares with their photos holds this and waits for them.
        perform automatch.lock_first_photos(v_school);
    end if;
    perform automatch.lock_for_erasing(automatch.uid());
    delete from public.faces where id = p_face_id and profile_id = automatch.uid();
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.look_at_held_again(automatch.uid());
end
$$;
comment on function public.delete_face(uuid) is
    'Erase one of the caller''s photos with its template, jobs and matches, and decide again about those that were '
    'held because they show somebody else.';

create function public.viewable_photo(p_face_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select f.image_path
    from public.faces as f
    where f.id = p_face_id
      and (
          f.profile_id = (select automatch.uid())
          or exists (
              select
              from automatch.feed_entries as e
              join public.matches as m on m.id = e.match_id
              where e.profile_id = (select automatch.uid())
                and e.other_profile_id = f.profile_id
                and f.id in (m.face_a_id, m.face_b_id)
                and automatch.may_see(e.profile_id, e.other_profile_id)
          )
      )
$$;
comment on function public.viewable_photo(uuid) is
    'Path of a photo that the caller may see: an own one, or that of a match in the feed.';
