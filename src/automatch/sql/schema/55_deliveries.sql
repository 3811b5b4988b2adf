-- When matches reached the open pages of their people: the last stage of a job. A table of its own, because a change
-- of a job or a match would be news for open pages again.

create table automatch.deliveries (
    job_id uuid not null references public.match_jobs (id) on delete cascade,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    delivered_at timestamptz not null,
    was_open boolean not null,
    primary key (job_id, profile_id)
);
comment on table automatch.deliveries is
    'When the first match of a job was written to a page of one of its people: the uploader, or who was found.';
comment on column automatch.deliveries.was_open is
    'Whether the page was open when the match was made; of one that came later the time says nothing about us.';
create index deliveries_profile_idx on automatch.deliveries (profile_id);
-- For the numbers of the last minutes (56_history.sql).
create index deliveries_delivered_idx on automatch.deliveries using brin (delivered_at) with (pages_per_range = 32);

create function public.record_deliveries(
    p_profile_ids uuid[], p_match_ids uuid[], p_written_ago double precision[], p_opened_ago double precision[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := automatch.now();
begin
    -- In the order of all locks, before the foreign keys take them in the order of the rows; whoever is being erased is
    -- waited for, and is gone then.
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for key share;
    with written as materialized (
        select j.id as job_id, w.profile_id, v_now - make_interval(secs => w.written_ago) as written_at,
            m.created_at >= v_now - make_interval(secs => w.opened_ago) as was_open
        from unnest(p_profile_ids, p_match_ids, p_written_ago, p_opened_ago)
            as w (profile_id, match_id, written_ago, opened_ago)
        join public.profiles as p on p.id = w.profile_id
        join public.matches as m on m.id = w.match_id and w.profile_id in (m.profile_a_id, m.profile_b_id)
        -- complete_jobs() gives a job and its matches one time. Two jobs of a batch may have found each other.
        join public.match_jobs as j
            on j.face_id = any (array[m.face_a_id, m.face_b_id]) and j.completed_at = m.created_at
        order by j.id
        for key share of j
    )
    insert into automatch.deliveries as d (job_id, profile_id, delivered_at, was_open)
    select distinct on (w.job_id, w.profile_id) w.job_id, w.profile_id, w.written_at, w.was_open
    from written as w
    order by w.job_id, w.profile_id, w.written_at
    -- Another page of the person, perhaps of another server, may have been earlier.
    on conflict (job_id, profile_id) do update
        set delivered_at = excluded.delivered_at, was_open = excluded.was_open
        where excluded.delivered_at < d.delivered_at;
end
$$;
comment on function public.record_deliveries(uuid[], uuid[], double precision[], double precision[]) is
    'Record which matches were written to pages of whom, how many seconds ago, and how long ago each page had opened: '
    'ages, because the clocks of servers differ.';

create function automatch.delivery_times(p_job_ids uuid[])
returns table (job_id uuid, timings jsonb, reached bigint, seen_later bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        j.id,
        jsonb_strip_nulls(jsonb_build_object(
            'delivered_ms', max(t.ms) filter (where d.profile_id = j.user_id),
            'others_delivered_ms', max(t.ms) filter (where d.profile_id <> j.user_id)
        )),
        count(*) filter (where d.was_open),
        count(*) filter (where not d.was_open)
    from public.match_jobs as j
    join automatch.deliveries as d on d.job_id = j.id
    left join lateral (
        select round(1000 * extract(epoch from d.delivered_at - j.created_at), 1) as ms where d.was_open
    ) as t on true
    where j.id = any (p_job_ids)
    group by j.id
$$;
comment on function automatch.delivery_times(uuid[]) is
    'Milliseconds from created_at until the uploader had the first match, and the last of the others theirs; how many '
    'people had a page open, and how many saw a match later.';
