-- A photo with several faces asks which of them is its owner's: the job that failed of it keeps where
-- the faces are, and the answer stays with the photo, for every look at it from then on.

set search_path = public, extensions;

create function automatch.is_face_box(p_box jsonb)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
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
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
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

alter table public.match_jobs
    add column face_boxes jsonb,
    add constraint only_a_failed_job_asks_for_a_face check (face_boxes is null or status = 'failed'),
    add constraint face_boxes_are_in_the_photo check (
        face_boxes is null or automatch.are_face_boxes(face_boxes)
    );
comment on column public.match_jobs.face_boxes is
    'While the job asks which face is its owner''s: left, top, width and height of each, in shares of the '
    'upright photo''s sides, the largest first. choose_face() takes an index into it, from 0.';
comment on column public.match_jobs.created_at is
    'The upload, or the answer of a person who was asked which face is theirs.';
grant select (face_boxes) on public.match_jobs to authenticated;
-- The questions that nobody answered.
create index match_jobs_asking_idx on public.match_jobs (completed_at) where face_boxes is not null;

alter table public.faces
    add column chosen_box jsonb,
    add constraint chosen_box_is_in_the_photo check (
        chosen_box is null
        or (automatch.is_face_box(chosen_box) and jsonb_typeof(chosen_box -> 'index') = 'number')
    );
comment on column public.faces.chosen_box is
    'Of several faces the one that its owner chose, as in match_jobs.face_boxes, with its index there. Null '
    'for a photo of one person.';

create function automatch.stop_asking()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.face_boxes := null;
    return new;
end
$$;

-- Whoever lets the job run again, an operator too.
create trigger match_jobs_stop_asking
before update of status on public.match_jobs
for each row
when (old.face_boxes is not null and new.status <> 'failed')
execute function automatch.stop_asking();

create function public.fail_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[], p_face_boxes jsonb[]
)
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with held as materialized (
        select j.id, mine.code, mine.message, mine.face_boxes
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages, p_face_boxes)
            as mine (id, token, code, message, face_boxes)
            on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    failed as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
            error_code = h.code, error_message = h.message, face_boxes = h.face_boxes
        from held as h
        where j.id = h.id
        returning j.id
    ),
    told as (
        select pg_notify('automatch_feed', '') where exists (select from failed)
    )
    select f.id from failed as f left join told on true
$$;
comment on function public.fail_match_jobs(uuid[], bigint[], text[], text[], jsonb[]) is
    'processing -> failed, for reasons that no retry can mend; with p_face_boxes, a job then asks which face '
    'is its owner''s. Returns the jobs that were still held.';

create or replace function public.fail_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[]
)
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$ select public.fail_match_jobs(p_job_ids, p_tokens, p_codes, p_messages, null::jsonb[]) $$;

create function public.chosen_face(p_face_id uuid)
returns jsonb
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$ select f.chosen_box from public.faces as f where f.id = p_face_id $$;
comment on function public.chosen_face(uuid) is
    'Which face of a photo its owner chose; null for a photo that did not ask.';

create function public.choose_face(p_job_id uuid, p_index integer)
returns table (face_id uuid, job_status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_job public.match_jobs;
    v_chosen jsonb;
begin
    -- In the order of locks. Erasing the photo, the consent or the account waits here for the answer, or
    -- the answer for it, and then finds nothing.
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    select f.chosen_box into v_chosen
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.id = p_job_id and j.user_id = automatch.uid()
    for no key update of f;
    if not found then
        perform automatch.refuse('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.refuse(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null then
        perform automatch.refuse('profile_incomplete', 'Fill in your school and gender before choosing a face.');
    end if;
    perform automatch.heed_pauses();
    select j.* into v_job from public.match_jobs as j where j.id = p_job_id for no key update;

    if v_job.face_boxes is null and (v_chosen ->> 'index')::integer = p_index then
        -- The same answer again: a second tap, or a request whose answer was lost.
        return query select v_job.face_id, v_job.status;
        return;
    end if;
    if v_job.face_boxes is null then
        perform automatch.refuse(
            'face_not_asked',
            'This photo does not ask which face is yours any more; load its job again.'
        );
    end if;
    if p_index is null or p_index not between 0 and jsonb_array_length(v_job.face_boxes) - 1 then
        perform automatch.refuse('input_invalid', pg_catalog.format(
            'The photo shows %s faces: choose an index from 0 to %s.',
            jsonb_array_length(v_job.face_boxes), jsonb_array_length(v_job.face_boxes) - 1
        ));
    end if;
    update public.faces as f
    set chosen_box = (v_job.face_boxes -> p_index) || jsonb_build_object('index', p_index)
    where f.id = v_job.face_id;
    begin
        -- Like a job that is new: its time begins now, because nobody but its owner waited until here, and
        -- with the next claim it gets a turn behind those who wait, or its school's pause.
        update public.match_jobs as j
        set status = 'pending', attempts = 0, created_at = automatch.now(), school = v_profile.school,
            deferred = true, run_at = automatch.now(), pos = null, solo = false,
            started_at = null, completed_at = null, error_code = null, error_message = null, timings = '{}'
        where j.id = p_job_id;
    exception when unique_violation then
        -- An operator has queued the photo once more, and that job may have been seen already.
        perform automatch.refuse(
            'face_not_asked',
            'This photo is being looked at again this moment; load its job again.'
        );
    end;
    perform automatch.wake_workers();
    perform pg_notify('automatch_feed', '');
    return query select v_job.face_id, 'pending'::text;
end
$$;
comment on function public.choose_face(uuid, integer) is
    'failed -> pending, for a job of the caller that asks which face is theirs: the answer is kept with the '
    'photo, which is looked at again. The same answer again changes nothing. The photo and the job''s status.';

create function public.erase_unanswered_photo(p_older_than interval)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile_id uuid;
    v_until timestamptz := automatch.now() - p_older_than;
    v_count integer;
begin
    select j.user_id into v_profile_id
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.face_boxes is not null and j.completed_at < v_until and f.quality is null
      and not exists (
          select from public.match_jobs as open
          where open.face_id = f.id and open.status in ('pending', 'processing')
      )
    order by j.completed_at
    limit 1;
    if not found then
        return 0;
    end if;
    perform automatch.lock_for_erasing(v_profile_id);
    -- Looked at anew behind the locks: they may have answered meanwhile.
    delete from public.faces as f
    where f.profile_id = v_profile_id
      -- A photo that was accepted once, by another model, is its owner's to delete.
      and f.quality is null
      and exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.face_boxes is not null and j.completed_at < v_until
      )
      and not exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.status in ('pending', 'processing')
      );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.erase_unanswered_photo(interval) is
    'Erase the photos of one person that asked which face is theirs and got no answer for so long, with their '
    'jobs. How many; call it again until that is 0.';

revoke execute on function
    public.fail_match_jobs(uuid[], bigint[], text[], text[], jsonb[]),
    public.chosen_face(uuid),
    public.choose_face(uuid, integer),
    public.erase_unanswered_photo(interval)
    from public, anon, authenticated;
grant execute on function
    public.fail_match_jobs(uuid[], bigint[], text[], text[], jsonb[]),
    public.chosen_face(uuid),
    public.erase_unanswered_photo(interval)
    to service_role, automatch_worker;
grant execute on function public.choose_face(uuid, integer) to authenticated;
revoke execute on all functions in schema automatch from public;
-- The check constraints call them as whoever writes the row.
grant execute on function automatch.is_face_box(jsonb), automatch.are_face_boxes(jsonb) to service_role;
