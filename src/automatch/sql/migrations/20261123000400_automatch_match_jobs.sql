-- The queue: one row is the promise that a 202 makes. docs/job-lifecycle.md draws its states.

create sequence automatch.match_job_pos;

create table public.match_jobs (
    id uuid primary key default gen_random_uuid(),
    face_id uuid not null references public.faces (id) on delete cascade,
    user_id uuid not null references public.profiles (id) on delete cascade,
    status text not null default 'pending',
    attempts smallint not null default 0,
    max_attempts smallint not null default 5,
    error_code text,
    error_message text,
    created_at timestamptz not null default automatch.now(),
    run_at timestamptz not null default automatch.now(),
    started_at timestamptz,
    completed_at timestamptz,
    -- Order of work; not the primary key, so that the planner has no reason to walk that.
    pos bigint not null default nextval('automatch.match_job_pos'),
    school text not null,
    -- The fence: grows at every claim and takeover, never shrinks. Attempts may shrink.
    lease_token bigint not null default 0,
    lease_expires_at timestamptz,
    worker_id uuid,
    match_count integer,
    timings jsonb not null default '{}',
    constraint status_is_known check (status in ('pending', 'processing', 'completed', 'failed')),
    constraint processing_has_a_lease check (
        (status = 'processing') = (lease_expires_at is not null)
        and (status = 'processing') = (worker_id is not null)
    ),
    constraint finished_has_completed_at check (
        (status in ('completed', 'failed')) = (completed_at is not null)
    ),
    constraint completed_has_match_count check ((status = 'completed') = (match_count is not null)),
    constraint failed_has_a_reason check (
        status <> 'failed' or (error_code is not null and error_message is not null)
    ),
    constraint attempts_are_bounded check (attempts between 0 and max_attempts),
    -- One such row would make every claim fail.
    constraint pending_has_an_attempt_left check (status <> 'pending' or attempts < max_attempts)
);
comment on table public.match_jobs is
    'pending -> processing -> completed | failed; a retry or a lost lease goes back to pending.';
comment on column public.match_jobs.run_at is 'Not before this time; pushed out by a retry.';
comment on column public.match_jobs.completed_at is 'When the job ended, completed or failed.';
comment on column public.match_jobs.timings is
    'Seconds since created_at at which the job was claimed, seen, searched and written.';

-- What a claim reads.
create index match_jobs_pending_idx on public.match_jobs (pos) where status = 'pending';
-- What the sweep reads. Not lease_expires_at: every renewal would have to write it.
create index match_jobs_processing_idx on public.match_jobs (id) where status = 'processing';
-- Of a photo, only one job is open, so that one which is given back always finds its place free.
create unique index match_jobs_one_open_per_face on public.match_jobs (face_id)
    where status in ('pending', 'processing');
-- The last jobs of one photo or one person.
create index match_jobs_face_idx on public.match_jobs (face_id, created_at desc);
create index match_jobs_user_idx on public.match_jobs (user_id, created_at desc);

create trigger match_jobs_require_consent
before insert on public.match_jobs
for each row execute function automatch.require_consent();

alter table public.match_jobs enable row level security;
alter table public.match_jobs force row level security;
create policy service on public.match_jobs to service_role, current_user using (true) with check (true);
create policy own_jobs on public.match_jobs for select to authenticated
    using (user_id = (select automatch.uid()));
revoke all on public.match_jobs from anon, authenticated, service_role;
grant select, insert, update, delete on public.match_jobs to service_role;
grant usage on sequence automatch.match_job_pos to service_role;
grant select (
    id, face_id, user_id, status, attempts, max_attempts, error_code, error_message,
    created_at, started_at, completed_at, match_count, timings
) on public.match_jobs to authenticated;

create function public.enqueue_match_job(p_face_id uuid)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into public.match_jobs (face_id, user_id, school)
    select f.id, p.id, p.school
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where f.id = p_face_id and p.school is not null
    -- The person may have moved since; and a job that is about to end is waited for.
    on conflict (face_id) where status in ('pending', 'processing') do update set school = excluded.school
    returning id into v_id;
    -- A wake-up without data; a sleeping worker looks into the table.
    perform pg_catalog.pg_notify('automatch_jobs', '');
    return v_id;
end
$$;
comment on function public.enqueue_match_job(uuid) is
    'Queue a face for matching; while one job of it is open, that one is returned.';

create function public.record_upload(p_face_id uuid, p_image_path text, p_image_sha256 text)
returns table (face_id uuid, job_id uuid, job_status text, is_new boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_face_id uuid;
begin
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    if not found then
        perform automatch.refuse('profile_not_found', 'This profile does not exist any more.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.refuse(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null or v_profile.birth_date is null then
        perform automatch.refuse(
            'profile_incomplete',
            'Fill in your school, gender and birth date before uploading a photo.'
        );
    end if;
    -- Any other path could be that of somebody else's photo: to be seen, and erased, as one's own.
    if p_image_path is distinct from left(p_face_id::text, 2) || '/' || p_face_id then
        perform automatch.refuse('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (p_face_id, v_profile.id, p_image_path, p_image_sha256)
    on conflict (profile_id, image_sha256) do nothing
    returning id into v_face_id;
    if v_face_id is not null then
        return query
            select v_face_id, public.enqueue_match_job(v_face_id), 'pending', true;
        return;
    end if;
    select f.id into v_face_id from public.faces as f
    where f.profile_id = v_profile.id and f.image_sha256 = p_image_sha256;
    return query
        select v_face_id, j.id, j.status, false
        from public.match_jobs as j
        where j.face_id = v_face_id
        order by j.created_at desc
        limit 1;
    -- The job of a photo of long ago has been cleaned up: look again for it.
    if not found then
        return query
            select v_face_id, public.enqueue_match_job(v_face_id), 'pending', false;
    end if;
end
$$;
comment on function public.record_upload(uuid, text, text) is
    'Write the caller''s photo as a face with its job; the same photo again gives the same ids.';

revoke execute on function public.enqueue_match_job(uuid) from public, anon, authenticated;
grant execute on function public.enqueue_match_job(uuid) to service_role;
revoke execute on function public.record_upload(uuid, text, text) from public, anon;
grant execute on function public.record_upload(uuid, text, text) to authenticated;
