-- What happened, every five minutes of the last 30 days: numbers that outlive the jobs, with nobody in them.

create table automatch.history (
    starts_at timestamptz primary key,
    queued integer not null,
    completed integer not null,
    background integer not null,
    matches bigint not null,
    seen_later integer not null,
    failures jsonb not null,
    stages jsonb not null,
    open_jobs integer not null,
    oldest_s double precision
);
comment on table automatch.history is 'Jobs of five minutes each; measure_history() says how the numbers are made.';
comment on column automatch.history.completed is 'Jobs that ended with a search, those of background included.';
comment on column automatch.history.background is 'Completed jobs that nobody waited for.';
comment on column automatch.history.seen_later is 'Times that somebody saw matches of a job on a page that was not open when they were made.';
comment on column automatch.history.failures is 'Failed jobs by error_code.';
comment on column automatch.history.stages is
    'Of completed jobs that somebody waited for: by stage the sum of its milliseconds (`ms`), and how many took how '
    'long (`counts`): n counts those of up to 2^(n/2) ms that n - 1 does not.';
comment on column automatch.history.open_jobs is 'Pending or processing at the end.';
comment on column automatch.history.oldest_s is 'Age of the oldest of them that does not wait for a set time.';

create function automatch.stage_times(p_from timestamptz, p_until timestamptz)
returns table (stage text, ms double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- As in measure_history().
set enable_seqscan = off
as $$
    with jobs as materialized (
        select j.id, j.user_id, j.created_at, j.completed_at, t.*
        from public.match_jobs as j
        cross join lateral jsonb_to_record(j.timings) as t (
            claimed_ms double precision, embedded_ms double precision, searched_ms double precision,
            written_ms double precision, decode_ms double precision, detect_ms double precision,
            embed_ms double precision
        )
        where j.completed_at >= p_from and j.completed_at < p_until and j.status = 'completed' and j.priority < 3
    )
    select s.stage, greatest(s.ms, 0)
    from jobs as j
    cross join lateral (values
        ('wait', j.claimed_ms),
        ('decode', j.decode_ms),
        ('detect', j.detect_ms),
        ('embed', j.embed_ms),
        ('store', j.embedded_ms - j.claimed_ms
            - coalesce(j.decode_ms, 0) - coalesce(j.detect_ms, 0) - coalesce(j.embed_ms, 0)),
        ('search', j.searched_ms - coalesce(j.embedded_ms, j.claimed_ms)),
        ('publish', j.written_ms - j.searched_ms),
        ('to_end', j.written_ms)
    ) as s (stage, ms)
    where s.ms is not null
    union all
    select s.stage, 1000 * extract(epoch from s.took)::double precision
    from jobs as j
    join automatch.deliveries as d on d.job_id = j.id and d.was_open
    cross join lateral (values
        (case when d.profile_id = j.user_id then 'deliver' else 'deliver_to_others' end, d.delivered_at - j.completed_at),
        (case when d.profile_id = j.user_id then 'to_screen' end, d.delivered_at - j.created_at)
    ) as s (stage, took)
    where s.stage is not null
$$;
comment on function automatch.stage_times(timestamptz, timestamptz) is
    'How long each stage of each job took that was completed in that time and that somebody waited for. to_end and '
    'to_screen are whole ways, the latter of uploaders whose page was open.';

create function automatch.measure_history(p_starts_at timestamptz)
returns automatch.history language sql stable security definer set search_path = pg_catalog, pg_temp
-- For the BRIN indexes of times, whatever the statistics say.
set enable_seqscan = off
as $$
    with span as (
        select p_starts_at as starts_at, p_starts_at + interval '5 minutes' as ends_at
    ),
    ended as materialized (
        select j.id, j.status, j.priority, j.match_count, j.error_code
        from span as s
        join public.match_jobs as j on j.completed_at >= s.starts_at and j.completed_at < s.ends_at
    ),
    -- Jobs that ended since were open then.
    open as (
        select count(*) as jobs, min(o.created_at) filter (where not o.scheduled) as oldest_at
        from span as s
        cross join lateral (
            select j.created_at, j.scheduled from public.match_jobs as j
            where j.completed_at is null and j.created_at < s.ends_at
            union all
            select j.created_at, j.scheduled from public.match_jobs as j
            where j.completed_at >= s.ends_at and j.created_at < s.ends_at
        ) as o
    ),
    times as (
        select t.stage, least(greatest(ceil(2 * log(2, greatest(t.ms, 1)::numeric)), 0), 48) as step,
            count(*) as jobs, sum(t.ms) as ms
        from span as s cross join lateral automatch.stage_times(s.starts_at, s.ends_at) as t
        group by 1, 2
    ),
    stages as (
        select t.stage, jsonb_build_object(
            'ms', round(sum(t.ms)::numeric, 1), 'counts', jsonb_object_agg(t.step::text, t.jobs)
        ) as numbers
        from times as t group by t.stage
    )
    select
        s.starts_at,
        (select count(*)::integer from public.match_jobs as j
            where j.created_at >= s.starts_at and j.created_at < s.ends_at),
        (select count(*)::integer from ended as e where e.status = 'completed'),
        (select count(*)::integer from ended as e where e.status = 'completed' and e.priority = 3),
        (select coalesce(sum(e.match_count), 0) from ended as e),
        (select count(*)::integer from automatch.deliveries as d
            where d.delivered_at >= s.starts_at and d.delivered_at < s.ends_at and not d.was_open),
        (select coalesce(jsonb_object_agg(f.code, f.jobs), '{}') from (
            select e.error_code as code, count(*) as jobs from ended as e where e.status = 'failed' group by 1
        ) as f),
        (select coalesce(jsonb_object_agg(g.stage, g.numbers), '{}') from stages as g),
        open.jobs::integer,
        extract(epoch from least(s.ends_at, automatch.now()) - open.oldest_at)::double precision
    from span as s cross join open
$$;
comment on function automatch.measure_history(timestamptz) is
    'The numbers of the five minutes from then on, so far, from the jobs that are kept.';

create function automatch.next_history()
returns timestamptz language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select greatest(
        coalesce(
            (select max(h.starts_at) from automatch.history as h) + interval '5 minutes',
            date_bin('5 minutes', (select min(j.created_at) from public.match_jobs as j), 'epoch'),
            date_bin('5 minutes', automatch.now(), 'epoch')
        ),
        date_bin('5 minutes', automatch.now() - interval '7 days', 'epoch')
    )
$$;
comment on function automatch.next_history() is
    'The first five minutes that history lacks, none older than a week: the jobs of that time are gone.';

create function public.record_history()
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    -- Whoever else is at it does the same.
    if not pg_try_advisory_xact_lock(automatch.lock_key('history')) then
        return 0;
    end if;
    insert into automatch.history
    select m.*
    -- Half a minute later, when servers have told what they delivered.
    from generate_series(
        automatch.next_history(), automatch.now() - interval '5 minutes 30 seconds', interval '5 minutes'
    ) with ordinality as due (starts_at, place)
    cross join lateral automatch.measure_history(due.starts_at) as m
    where due.place <= 100
    on conflict (starts_at) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.record_history() is
    'Write the numbers of the five minutes that are over, at most a hundred of them; how many. Call again until it is 0.';

create function public.get_history(p_age interval, p_step interval)
returns table (
    starts_at timestamptz, queued bigint, completed bigint, background bigint, matches bigint, seen_later bigint,
    failures jsonb, refusals jsonb, stages jsonb, open_jobs integer, oldest_s double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with kept as materialized (
        select date_bin(p_step, h.starts_at, 'epoch') as step, h.*
        from (
            select k.* from automatch.history as k
            union all
            -- What is not recorded yet, of two hours at most.
            select m.*
            from generate_series(
                greatest(automatch.next_history(), date_bin('5 minutes', automatch.now() - interval '2 hours', 'epoch')),
                automatch.now(), interval '5 minutes'
            ) as late (starts_at)
            cross join lateral automatch.measure_history(late.starts_at) as m
        ) as h
        where h.starts_at > automatch.now() - p_age - interval '5 minutes'
    ),
    failures as (
        select f.step, jsonb_object_agg(f.code, f.jobs) as jobs
        from (
            select k.step, c.key as code, sum(c.value::bigint) as jobs
            from kept as k cross join lateral jsonb_each_text(k.failures) as c group by 1, 2
        ) as f
        group by f.step
    ),
    refusals as (
        select f.step, jsonb_object_agg(f.code, f.uploads) as uploads
        from (
            select date_bin(p_step, r.starts_at, 'epoch') as step, r.code, sum(r.uploads) as uploads
            from automatch.upload_refusals as r
            where r.starts_at > automatch.now() - p_age - interval '5 minutes'
            group by 1, 2
        ) as f
        group by f.step
    ),
    counts as (
        select c.step, c.stage, jsonb_object_agg(c.bucket, c.jobs) as counts
        from (
            select k.step, s.key as stage, b.key as bucket, sum(b.value::bigint) as jobs
            from kept as k
            cross join lateral jsonb_each(k.stages) as s
            cross join lateral jsonb_each_text(s.value -> 'counts') as b
            group by 1, 2, 3
        ) as c
        group by 1, 2
    ),
    sums as (
        select k.step, s.key as stage, sum((s.value ->> 'ms')::double precision) as ms
        from kept as k cross join lateral jsonb_each(k.stages) as s group by 1, 2
    ),
    stages as (
        select c.step, jsonb_object_agg(c.stage, jsonb_build_object('ms', t.ms, 'counts', c.counts)) as numbers
        from counts as c join sums as t on t.step = c.step and t.stage = c.stage group by c.step
    )
    select k.step, sum(k.queued), sum(k.completed), sum(k.background), sum(k.matches)::bigint, sum(k.seen_later),
        coalesce(f.jobs, '{}'), coalesce(r.uploads, '{}'), coalesce(s.numbers, '{}'), max(k.open_jobs), max(k.oldest_s)
    from kept as k
    left join failures as f on f.step = k.step
    left join refusals as r on r.step = k.step
    left join stages as s on s.step = k.step
    group by k.step, f.jobs, r.uploads, s.numbers
    order by k.step
$$;
comment on function public.get_history(interval, interval) is
    'History from so long ago until now, added up in steps; open_jobs and oldest_s are the most of each step.';
