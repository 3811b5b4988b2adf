-- What /metrics tells of the database, for whichever process is asked; docs/metrics.md lists it. Rows of a name, the
-- value of its one label, and a number: the server knows the rest. Labels are ours: never a school, a person or an id.

create function automatch.measure_queue()
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with open as materialized (
        select case when j.scheduled then 'scheduled' else j.status end as status, j.created_at, j.lease_expires_at
        from public.match_jobs as j
        where j.completed_at is null
    )
    select m.name, m.label, m.value
    from (values ('pending'), ('scheduled'), ('processing')) as s (status)
    cross join lateral (
        select count(*) as jobs, extract(epoch from automatch.now() - min(o.created_at)) as oldest_s
        from open as o where o.status = s.status
    ) as c
    cross join lateral (
        values ('queue_jobs', s.status, c.jobs::double precision),
            ('queue_oldest_seconds', s.status, coalesce(c.oldest_s, 0)::double precision)
    ) as m (name, label, value)
    union all
    select 'expired_leases', null, count(*) from open as o where o.lease_expires_at < automatch.now()
    union all
    select 'queue_paused', null, q.paused::integer from automatch.queue_settings as q
    union all
    select 'queue_paused_schools', null, count(*) from automatch.paused_schools
    union all
    select 'workers', null, public.count_workers()
    union all
    select 'workers_paused', null, coalesce(sum(f.workers), 0) from public.list_worker_faults() as f
$$;
comment on function automatch.measure_queue() is 'The open jobs, and who works on them.';

create function automatch.group_size_bucket(p_model text, p_school text, p_gender text)
returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_people bigint;
begin
    -- Counted no further than the last bucket begins.
    select count(*) into v_people
    from (
        select from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
        limit 50001
    ) as counted;
    return case when v_people <= 1000 then '1000' when v_people <= 10000 then '10000' when v_people <= 50000 then '50000' else 'more' end;
end
$$;
comment on function automatch.group_size_bucket(text, text, text) is
    'The size of a group: the next higher of 1000, 10000 and 50000, or more.';

create function automatch.measure_ended_jobs(p_minutes integer)
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- For match_jobs_completed_idx, whatever the statistics say.
set enable_seqscan = off
as $$
    with ended as materialized (
        select j.status, j.error_code, j.school, p.gender,
            extract(epoch from j.completed_at - j.created_at)::double precision as took_s,
            (j.timings ->> 'claimed_ms')::double precision / 1000 as claimed_s,
            (j.timings ->> 'embedded_ms')::double precision / 1000 as embedded_s,
            (j.timings ->> 'searched_ms')::double precision / 1000 as searched_s,
            (j.timings ->> 'written_ms')::double precision / 1000 as written_s
        from public.match_jobs as j
        join public.profiles as p on p.id = j.user_id
        where j.completed_at > (select automatch.now() - make_interval(mins => p_minutes))
    ),
    -- Once for each group, and not for each of its jobs.
    searched as materialized (
        select automatch.group_size_bucket(
                public.active_embedding_model(), g.school, case g.gender when 'male' then 'female' else 'male' end
            ) as people, g.took_s
        from (
            select e.school, e.gender, array_agg(e.searched_s - e.embedded_s) as took_s
            from ended as e where e.status = 'completed' and e.embedded_s is not null
            group by e.school, e.gender order by count(*) desc limit 20
        ) as g
    )
    select 'recent_jobs_completed', null::text, count(*)::double precision from ended as e where e.status = 'completed'
    union all
    select 'recent_jobs_failed', e.error_code, count(*) from ended as e where e.status = 'failed' group by e.error_code
    union all
    select 'recent_job_seconds', q.label, percentile_cont(q.label::double precision) within group (order by e.took_s)
    from ended as e
    cross join (values ('0.5'), ('0.95'), ('0.99')) as q (label)
    where e.status = 'completed'
    group by q.label
    union all
    select 'recent_stage_p95_seconds', s.stage, percentile_cont(0.95) within group (order by s.took_s)
    from ended as e
    cross join lateral (
        values ('wait', e.claimed_s), ('analyze', e.embedded_s - e.claimed_s),
            ('search', e.searched_s - coalesce(e.embedded_s, e.claimed_s)), ('write', e.written_s - e.searched_s)
    ) as s (stage, took_s)
    where e.status = 'completed' and s.took_s is not null
    group by s.stage
    union all
    select 'recent_search_p95_seconds', s.people, percentile_cont(0.95) within group (order by t.took_s)
    from searched as s cross join unnest(s.took_s) as t (took_s)
    group by s.people
$$;
comment on function automatch.measure_ended_jobs(integer) is
    'The jobs that ended within the last minutes: how many, why not, and how long they took.';

create function public.get_metrics(p_minutes integer default 10)
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select * from automatch.measure_queue()
    union all
    select * from automatch.measure_ended_jobs(p_minutes)
    union all
    select m.name, s.name, m.value
    from public.list_schedule() as s
    cross join lateral (
        values (
                'schedule_last_run_age_seconds',
                extract(epoch from automatch.now() - s.last_run_at)::double precision
            ),
            ('schedule_last_run_failed', (s.status = 'failed')::integer::double precision)
    ) as m (name, value)
    where s.active and s.name in ('process-match-jobs', 'cleanup-match-jobs') and m.value is not null
    union all
    select m.name, m.label, m.value
    from public.get_search_recall() as r
    cross join lateral (
        values ('search_audits', null, r.audits::double precision), ('search_recall_ratio', null, r.recall)
    ) as m (name, label, value)
    where m.value is not null
    union all
    select 'mails', s.state, count(m.id)
    from (values ('waiting', false), ('failed', true)) as s (state, failed)
    left join automatch.mails as m on m.failed = s.failed
    group by s.state
    union all
    select 'mails_oldest_seconds', null, coalesce(extract(epoch from automatch.now() - min(m.requested_at)), 0)
    from automatch.mails as m where not m.failed
    union all
    select 'photo_erasures_oldest_seconds', null, coalesce(extract(epoch from automatch.now() - min(e.queued_at)), 0)
    from automatch.photo_erasures as e
$$;
comment on function public.get_metrics(integer) is
    'What /metrics tells of the database; the jobs that ended are those of the last minutes.';
