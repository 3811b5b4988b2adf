-- Jobs that fail, are retried or released, and the question which face is the person's.

create function public.fail_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[],
    p_face_boxes jsonb[] default null, p_refused_pictures jsonb[] default null
)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id, lease.code, lease.message, lease.face_boxes, lease.refused_picture
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages, p_face_boxes, p_refused_pictures)
            as lease (id, token, code, message, face_boxes, refused_picture)
            on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    failed as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
            error_code = h.code, error_message = h.message, face_boxes = h.face_boxes,
            refused_picture = h.refused_picture
        from held as h
        where j.id = h.id
        returning j.id
    ),
    notified as (
        select automatch.notify_job_owners(array_agg(f.id)) from failed as f
    )
    select f.id from failed as f left join notified on true
$$;
comment on function public.fail_match_jobs(uuid[], bigint[], text[], text[], jsonb[], jsonb[]) is
    'processing -> failed. With p_face_boxes the person is asked which face is theirs, with p_refused_pictures '
    'they see what is wrong with the photo. Returns the jobs that were still held.';

create function public.choose_face(p_job_id uuid, p_index integer)
returns table (face_id uuid, job_status text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_job public.match_jobs;
    v_chosen jsonb;
begin
    -- In the order of lock_feeds(): erasing the photo, the consent or the account waits for this, or this
    -- waits for it and then finds nothing.
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    select f.chosen_box into v_chosen
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.id = p_job_id and j.user_id = automatch.uid()
    for no key update of f;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.raise_error(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null then
        perform automatch.raise_error('profile_incomplete', 'Fill in your school and gender before choosing a face.');
    end if;
    perform automatch.lock_pauses_shared();
    select j.* into v_job from public.match_jobs as j where j.id = p_job_id for no key update;

    if v_job.face_boxes is null and (v_chosen ->> 'index')::integer = p_index then
        -- The same choice again: a second tap, or a request whose answer was lost.
        return query select v_job.face_id, v_job.status;
        return;
    end if;
    if v_job.face_boxes is null then
        perform automatch.raise_error(
            'face_not_asked',
            'This photo does not ask which face is yours any more; load its job again.'
        );
    end if;
    if p_index is null or p_index not between 0 and jsonb_array_length(v_job.face_boxes) - 1 then
        perform automatch.raise_error('input_invalid', pg_catalog.format(
            'The photo shows %s faces: choose an index from 0 to %s.',
            jsonb_array_length(v_job.face_boxes), jsonb_array_length(v_job.face_boxes) - 1
        ));
    end if;
    update public.faces as f
    set chosen_box = (v_job.face_boxes -> p_index) || jsonb_build_object('index', p_index)
    where f.id = v_job.face_id;
    begin
        -- Like a new job: its waiting time begins now, and the next claim gives it a position.
        update public.match_jobs as j
        set status = 'pending', attempts = 0, missing_file_count = 0, created_at = automatch.now(),
            school = v_profile.school, scheduled = true, run_at = automatch.now(), position = null, isolated = false,
            started_at = null, completed_at = null, error_code = null, error_message = null, timings = '{}',
            face_boxes = null, refused_picture = null
        where j.id = p_job_id;
    exception when unique_violation then
        -- An operator has queued the photo again, and that job may be in progress.
        perform automatch.raise_error(
            'face_not_asked',
            'This photo is being analyzed again at this moment; load its job again.'
        );
    end;
    perform automatch.wake_workers();
    perform automatch.notify_feeds(array[automatch.uid()]);
    return query select v_job.face_id, 'pending'::text;
end
$$;
comment on function public.choose_face(uuid, integer) is
    'failed -> pending, for a job of the caller with face_boxes: store the choice and analyze the photo '
    'again. The same choice again changes nothing.';

create function automatch.retry_delay(p_attempts integer, p_first_s double precision, p_longest_s double precision)
returns interval language sql set search_path = pg_catalog, pg_temp
as $$
    -- Doubles with every attempt. The random part keeps jobs apart that failed together.
    select make_interval(secs => least(p_longest_s, p_first_s * power(2, least(p_attempts, 30) - 1))
                                 * (1 - random() / 2))
$$;

create function public.retry_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[],
    p_first_delay_s double precision, p_longest_delay_s double precision
)
returns table (job_id uuid, status text) language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id, lease.code, lease.message, miss.number as miss,
            -- Another worker may find the file: the photos of this one may be a copy that is behind.
            case miss.number when 1 then j.missing_file_count + 1 else j.attempts end < j.max_attempts as again
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages) as lease (id, token, code, message)
            on lease.id = j.id and lease.token = j.lease_token
        cross join lateral (select (lease.code = 'photo_missing')::integer) as miss (number)
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    retried as (
        update public.match_jobs as j
        set status = case when h.again then 'pending' else 'failed' end,
            attempts = j.attempts - case when h.again then h.miss else 0 end,
            missing_file_count = j.missing_file_count + h.miss,
            scheduled = h.again,
            run_at = case when h.again
                then automatch.now()
                     + automatch.retry_delay(j.attempts + j.missing_file_count, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            -- A new position, after those who wait now.
            position = case when h.again then null else j.position end,
            completed_at = case when h.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null, error_code = h.code, error_message = h.message
        from held as h
        where j.id = h.id
        returning j.id, j.status
    ),
    notified as (
        select automatch.notify_job_owners(array_agg(r.id)) from retried as r
    )
    select s.id, s.status from retried as s left join notified on true
$$;
comment on function public.retry_match_jobs(uuid[], bigint[], text[], text[], double precision, double precision) is
    'processing -> pending at a later time, or failed when no attempt is left. A missing file uses up none, and is '
    'looked for as often as there are attempts. The jobs that were still held, with their new status.';

create function public.release_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_delay interval default '0', p_new_turn boolean default false
)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.lock_pauses_shared();
    with held as materialized (
        select j.id,
            p_new_turn or p_delay > interval '0'
            or exists (select from automatch.paused_schools as s where s.school = j.school) as later
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    released as (
        update public.match_jobs as j
        set status = 'pending', attempts = j.attempts - 1, scheduled = h.later, run_at = automatch.now() + p_delay,
            position = case when not p_new_turn then j.position end,
            lease_expires_at = null, worker_id = null
        from held as h
        where j.id = h.id
        returning j.id
    ),
    notified as (
        select automatch.wake_workers() where exists (select from released)
    )
    select count(r.id)::integer from released as r left join notified on true
$$;
comment on function public.release_match_jobs(uuid[], bigint[], interval, boolean) is
    'processing -> pending at the old position, or with p_new_turn behind those who wait now, and without using up an '
    'attempt: for workers that stop, and for failures of the infrastructure.';

create function public.release_worker_match_jobs(p_worker_id uuid)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
        from automatch.held_jobs as j
        where j.worker_id = p_worker_id
        having count(*) > 0
    ), 0)
$$;
comment on function public.release_worker_match_jobs(uuid) is
    'release_match_jobs() for all that a worker holds, for one that stops: a claim may have been committed whose answer '
    'it no longer saw. How many.';

create function public.refused_photo(p_face_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select f.image_path
    from public.faces as f
    cross join lateral (
        select j.refused_picture from public.match_jobs as j
        where j.face_id = f.id
        order by j.created_at desc
        limit 1
    ) as newest
    where f.id = p_face_id and f.profile_id = (select automatch.uid()) and newest.refused_picture is not null
$$;
comment on function public.refused_photo(uuid) is
    'Path of a photo of the caller that was refused, while a picture of it is kept.';
