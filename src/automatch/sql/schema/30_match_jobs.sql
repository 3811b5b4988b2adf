-- The queue: an upload is answered with 202 once its row is committed. docs/job-lifecycle.md draws the states.

create table public.match_jobs (
    id uuid primary key default gen_random_uuid(),
    face_id uuid not null references public.faces (id) on delete cascade,
    user_id uuid not null references public.profiles (id) on delete cascade,
    -- Set for the transactions of a request (queries/database.sql).
    request_id uuid default nullif(current_setting('automatch.request_id', true), '')::uuid,
    created_at timestamptz not null default automatch.now(),
    run_at timestamptz not null default automatch.now(),
    position bigint,
    threshold double precision,
    school text not null,
    max_attempts smallint not null default 5,
    missing_file_count smallint not null default 0,
    priority smallint not null default 2,
    first_of_user boolean not null default true,
    scheduled boolean not null default false,
    isolated boolean not null default false,
    -- From here on what claims and ends change: of an update within its page, only the bytes from the first that
    -- changes to the last are logged.
    attempts smallint not null default 0,
    status text not null default 'pending',
    -- The fence: grows with every claim and every lost lease. Unlike attempts it never shrinks.
    lease_token bigint not null default 0,
    lease_expires_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    worker_id uuid,
    match_count integer,
    timings jsonb not null default '{}',
    error_code text,
    error_message text,
    face_boxes jsonb,
    refused_picture jsonb,
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
    constraint pending_has_an_attempt_left check (status <> 'pending' or attempts < max_attempts),
    constraint priority_is_known check (priority between 1 and 3),
    constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    constraint pending_has_a_position_or_a_time check (
        status <> 'pending' or scheduled or position is not null
    ),
    constraint only_pending_is_scheduled check (status = 'pending' or not scheduled),
    constraint only_a_failed_job_asks_for_a_face check (face_boxes is null or status = 'failed'),
    constraint face_boxes_are_in_the_photo check (
        face_boxes is null or automatch.are_face_boxes(face_boxes)
    ),
    constraint only_a_failed_job_has_a_picture check (refused_picture is null or status = 'failed')
)
-- A job is updated three times and deleted once, and a claim has to step over the dead rows: so vacuum
-- runs early and at full speed. Free space in the pages lets claims and leases change without touching an index, also
-- where all jobs of a page are claimed at once.
with (
    fillfactor = 40,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 2000
);
comment on table public.match_jobs is
    'pending -> processing -> completed | failed; a retry or a lost lease goes back to pending.';
comment on column public.match_jobs.created_at is
    'When the photo was uploaded, or when the person chose their face on it.';
comment on column public.match_jobs.missing_file_count is
    'How often a worker did not find the file of the photo, which uses up no attempt.';
comment on column public.match_jobs.run_at is 'Not before this time; pushed out by a retry.';
comment on column public.match_jobs.completed_at is 'When the job ended, completed or failed.';
comment on column public.match_jobs.timings is
    'Milliseconds: from created_at to each step (claimed_ms, embedded_ms, searched_ms, written_ms), and what the '
    'photo took (decode_ms, detect_ms, embed_ms).';
comment on column public.match_jobs.position is
    'Workers claim the lowest first. Null until a scheduled job is due.';
comment on column public.match_jobs.priority is
    '1: a person''s first photo; 2: any other; 3: work that nobody waits for.';
comment on column public.match_jobs.first_of_user is
    'Whether no other job of its person and priority waited when it got its position: these count as the '
    'people of a school, see next_position().';
comment on column public.match_jobs.scheduled is
    'Waits for run_at instead of a position: a retry, or a job of a paused school (run_at = infinity).';
comment on column public.match_jobs.isolated is
    'Its worker was lost: it is claimed in a batch of its own from then on, in case it is the cause.';
comment on column public.match_jobs.threshold is
    'The threshold of this search, where an operator set another one than that of match_settings.';
comment on column public.match_jobs.face_boxes is
    'Set while the person has to say which face is theirs: left, top, width and height of each face as '
    'fractions of the upright photo, largest first. choose_face() takes an index into it.';
comment on column public.match_jobs.refused_picture is
    'Set while a picture of a refused photo is kept for its owner: its width and height, and where the face at '
    'fault is (left, top, width and height as fractions), or null.';
comment on column public.match_jobs.request_id is
    'The request that queued it, an upload for one: joins the log lines and the trace of server and workers.';
-- No index names what a claim or a renewal changes, the status above all: so they stay in their page and write to no
-- index, which halves what they log. A job leaves these four when it ends; the claim steps over those that are held.
-- For the claim, and for held_jobs.
create index match_jobs_position_idx on public.match_jobs (position) where completed_at is null and not scheduled;
-- For scheduled jobs that are due.
create index match_jobs_scheduled_idx on public.match_jobs (run_at) where scheduled;
-- For next_position(): the last position of a school, and of a person.
create index match_jobs_school_position_idx on public.match_jobs (school, priority, position)
    where completed_at is null and not scheduled and first_of_user;
create index match_jobs_user_position_idx on public.match_jobs (user_id, priority, position)
    where completed_at is null and not scheduled;
-- One open job a photo, so that a job can always go back to pending.
create unique index match_jobs_one_open_per_face on public.match_jobs (face_id) where completed_at is null;
-- For the newest jobs of a photo or a person.
create index match_jobs_face_idx on public.match_jobs (face_id, created_at desc);
create index match_jobs_user_idx on public.match_jobs (user_id, created_at desc);
-- For the cleanup: old jobs lie together, and a BRIN index costs an insert next to nothing.
create index match_jobs_created_idx on public.match_jobs using brin (created_at) with (pages_per_range = 32);
-- For the numbers of the last minutes (56_history.sql), likewise.
create index match_jobs_completed_idx on public.match_jobs using brin (completed_at) with (pages_per_range = 32);
-- For photos whose owner never chose a face.
create index match_jobs_face_boxes_idx on public.match_jobs (completed_at) where face_boxes is not null;
create trigger match_jobs_require_consent before insert on public.match_jobs
for each row execute function automatch.require_consent();

create table automatch.queue_settings (
    only_row boolean primary key default true,
    paused boolean not null default false,
    concurrency integer,
    constraint there_is_one_row check (only_row),
    constraint concurrency_is_positive check (concurrency > 0)
);
comment on column automatch.queue_settings.concurrency is
    'The most jobs that a worker may hold at once; null: as its own settings say.';
insert into automatch.queue_settings default values;
create table automatch.paused_schools (
    school text primary key,
    paused_at timestamptz not null default automatch.now()
);
comment on table automatch.paused_schools is 'Schools whose jobs wait until an operator resumes them.';
