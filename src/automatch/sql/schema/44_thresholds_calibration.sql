-- The threshold of a match, searching again after a change, and calibration.
create table public.match_settings (
    only_row boolean primary key default true,
    threshold double precision not null default 0.5,
    match_count integer not null default 20,
    match_same_person boolean not null default true,
    hold_another_person boolean not null default true,
    hold_another_account text not null default 'proven',
    constraint there_is_one_row check (only_row),
    constraint hold_another_account_is_known check (hold_another_account in ('never', 'proven', 'always')),
    constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    constraint match_count_is_1_to_100 check (match_count between 1 and 100)
);
comment on column public.match_settings.match_same_person is
    'Whether accounts that look like the same person can match; see set_match_same_person().';
comment on column public.match_settings.hold_another_person is
    'Whether a photo waits for a decision that shows somebody else than the person''s first one.';
comment on column public.match_settings.hold_another_account is
    'In which schools a first photo waits for a decision that looks like the person of another account: in none, in '
    'those that ask for a proof, or in open ones too. Whoever tries Auto-Match in an open one has two accounts.';
insert into public.match_settings default values;

create table automatch.reruns (
    id integer generated always as identity primary key,
    reason text not null,
    actor text,
    requested_at timestamptz not null default automatch.now(),
    -- Photos up to this id are queued; uuids are compared as bytes.
    last_face_id uuid not null default '00000000-0000-0000-0000-000000000000',
    queued integer not null default 0,
    finished_at timestamptz
);
comment on table automatch.reruns is
    'Requests to search for all photos again. Workers queue them in small steps, so that they never fill the queue.';
create unique index reruns_one_is_open on automatch.reruns ((true)) where finished_at is null;

create function automatch.count_photos_to_rerun()
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*)::integer
    from public.embedding_models as m
    join public.face_embeddings as e on e.model = m.id
    join public.faces as f on f.id = e.face_id
    join public.profiles as p on p.id = f.profile_id
    where m.active and p.school is not null and p.gender is not null and not p.simulated
$$;

create function public.set_match_threshold(
    p_threshold double precision, p_rerun boolean default false, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before double precision;
    v_photos integer := 0;
begin
    -- NaN is greater than any number here.
    if p_threshold is null or not (p_threshold > 0 and p_threshold < 1) then
        perform automatch.raise_error('input_invalid', 'A threshold is a similarity between 0 and 1, such as 0.4.');
    end if;
    select s.threshold into v_before from public.match_settings as s for update;
    update public.match_settings set threshold = p_threshold;
    if p_rerun then
        -- An earlier request used another threshold.
        update automatch.reruns set finished_at = automatch.now() where finished_at is null;
        insert into automatch.reruns (reason, actor) values ('threshold ' || p_threshold, p_actor);
        v_photos := automatch.count_photos_to_rerun();
    end if;
    perform automatch.audit(p_actor, 'threshold', jsonb_build_object(
        'threshold', p_threshold, 'before', v_before, 'rerun', p_rerun, 'photos', v_photos
    ));
    return v_photos;
end
$$;
comment on function public.set_match_threshold(double precision, boolean, text) is
    'From which similarity on two people match, for every search from now on; with p_rerun all photos are '
    'searched for again in the background. How many that is. Matches there are stay.';

create function public.get_match_threshold()
returns table (threshold double precision, match_count integer, photos integer, rerun_left integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.threshold, s.match_count, automatch.count_photos_to_rerun(), (
        select count(*)::integer
        from automatch.reruns as r
        join public.faces as f on f.id > r.last_face_id
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        where r.finished_at is null and p.school is not null and p.gender is not null and not p.simulated
    )
    from public.match_settings as s
$$;
comment on function public.get_match_threshold() is
    'The threshold in use, what a search again for everybody would cost in jobs, and how many of one that '
    'goes on are still to be queued.';

create function public.enqueue_reruns(p_most integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rerun automatch.reruns;
    v_room integer;
    v_faces uuid[];
begin
    select r.* into v_rerun from automatch.reruns as r
    where r.finished_at is null
    for update skip locked;
    if not found then
        return 0;
    end if;
    -- Only into a short queue: a full one would turn uploads away.
    v_room := p_most - public.count_waiting_match_jobs(p_most);
    if v_room <= 0 then
        return 0;
    end if;
    v_faces := array(
        select f.id from public.faces as f where f.id > v_rerun.last_face_id order by f.id limit v_room
    );
    if cardinality(v_faces) = 0 then
        update automatch.reruns set finished_at = automatch.now() where id = v_rerun.id;
        return 0;
    end if;
    -- In the order of locks: profiles, then jobs. Shared with uploads, since only one does this at a time.
    perform from public.profiles as p
    where p.id in (select f.profile_id from public.faces as f where f.id = any (v_faces))
    order by p.id
    for share;
    update automatch.reruns
    set last_face_id = v_faces[cardinality(v_faces)], queued = queued + automatch.enqueue_searches(v_faces)
    where id = v_rerun.id;
    return cardinality(v_faces);
end
$$;
comment on function public.enqueue_reruns(integer) is
    'Queue the next photos of a search again for everybody, while fewer than p_most jobs wait in all. How '
    'many photos were looked at; 0 when there is no room or nothing left.';

create function automatch.comparable_people(p_simulated boolean)
returns table (
    profile_id uuid, face_id uuid, school text, gender text, half smallint, place bigint, women bigint, men bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
begin
    return query
        -- One photo a person: somebody with many would count as many.
        with first_photos as materialized (
            select distinct on (i.profile_id) i.profile_id, i.face_id, i.school, i.gender
            from public.face_index as i
            where i.model = v_model
            order by i.profile_id, i.face_id
        ),
        people as (
            select i.* from first_photos as i
            join public.profiles as p on p.id = i.profile_id
            where p_simulated or not p.simulated
        )
        select
            p.profile_id, p.face_id, p.school, p.gender, (uuid_hash(p.profile_id) & 1)::smallint,
            row_number() over (partition by p.school, p.gender order by p.profile_id) - 1,
            count(*) filter (where p.gender = 'female') over (partition by p.school),
            count(*) filter (where p.gender = 'male') over (partition by p.school)
        from people as p;
end
$$;
comment on function automatch.comparable_people(boolean) is
    'Who can be found, once each: with their number in their school and gender, and a half of all people.';

create function public.count_comparable_people(p_simulated boolean default false)
returns table (women bigint, men bigint, schools bigint, pairs numeric)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        count(*) filter (where p.gender = 'female'),
        count(*) filter (where p.gender = 'male'),
        count(distinct p.school),
        -- Every woman stands for the men of her school.
        coalesce(sum(p.men) filter (where p.gender = 'female'), 0)
    from automatch.comparable_people(p_simulated) as p
$$;
comment on function public.count_comparable_people(boolean) is
    'How much there is to calibrate on: people with a photo who can be found, and their pairs of opposite '
    'gender inside schools.';

create function public.sample_stranger_distances(
    p_pairs integer, p_seed bigint default 1, p_simulated boolean default false
)
returns table (distance double precision, half smallint)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- test_calibrate.py: between two ANALYZE, when only face_embeddings has statistics, nested loops compare every pair of
-- people once for each pair drawn.
set enable_nestloop = off
set jit = off
as $$
    with people as materialized (
        select * from automatch.comparable_people(p_simulated)
    ),
    schools as (
        select s.*, sum(s.pairs) over (order by s.school) as upto, sum(s.pairs) over () as total
        from (
            select distinct p.school, p.women, p.men, p.women * p.men as pairs
            from people as p where p.women > 0 and p.men > 0
        ) as s
    ),
    -- Each school gives its share, so that the sample is of the pairs that searches compare.
    shares as (
        select s.school, s.men, s.pairs,
            trunc(s.upto * least(p_pairs, s.total) / s.total)
            - trunc((s.upto - s.pairs) * least(p_pairs, s.total) / s.total) as share
        from schools as s
    ),
    -- All pairs of a school, or some by chance that is the same for the same seed.
    drawn as (
        select distinct s.school, s.men, case
            when s.share = s.pairs then n - 1
            else (pg_catalog.hashint8extended(n, p_seed) & 9223372036854775807) % s.pairs
        end as number
        from shares as s
        cross join lateral pg_catalog.generate_series(1, s.share::bigint) as n
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(public.active_embedding_model(), array(
            select p.face_id
            from people as p
            join public.embedding_models as m on m.active
            join public.face_embeddings as e on e.model = m.id and e.face_id = p.face_id and e.embedding is null
        )) as s
    )
    select
        sqrt(greatest(2 + 2 * (coalesce(a.embedding, far_a.embedding) <#> coalesce(b.embedding, far_b.embedding)), 0)),
        case when she.half = he.half then she.half end
    from drawn as d
    join people as she on she.school = d.school and she.gender = 'female' and she.place = d.number / d.men
    join people as he on he.school = d.school and he.gender = 'male' and he.place = d.number % d.men
    join public.embedding_models as m on m.active
    join public.face_embeddings as a on a.model = m.id and a.face_id = she.face_id
    join public.face_embeddings as b on b.model = m.id and b.face_id = he.face_id
    left join sharded as far_a on far_a.face_id = a.face_id
    left join sharded as far_b on far_b.face_id = b.face_id
$$;
comment on function public.sample_stranger_distances(integer, bigint, boolean) is
    'Distances u = sqrt(2 - 2 cos) of at most p_pairs random pairs of opposite gender inside schools; half '
    'tells that both are of one half of the people (0 or 1), to see whether the halves agree.';

create function public.preview_match_thresholds(
    p_thresholds double precision[],
    p_midpoint double precision default null,
    p_width double precision default null,
    p_people integer default 300,
    p_seed bigint default 1,
    p_simulated boolean default false
)
returns table (
    threshold double precision, people bigint, looked_at bigint, matches double precision,
    median_matches double precision, without_any bigint
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_model public.embedding_models;
    v_bounds double precision[];
    v_loosest double precision;
begin
    select m.* into v_model from public.embedding_models as m where m.active;
    v_bounds := array(
        select automatch.cosine_bound(t, coalesce(p_midpoint, v_model.midpoint), coalesce(p_width, v_model.width))
        from unnest(p_thresholds) with ordinality as given (t, place)
        order by place
    );
    v_loosest := (select min(b) from unnest(v_bounds) as b);
    return query
    with everybody as materialized (
        select * from automatch.comparable_people(p_simulated)
    ),
    asked as materialized (
        select e.profile_id, e.school, e.gender,
            case e.gender when 'male' then 'female' else 'male' end as wanted
        from everybody as e
        order by pg_catalog.uuid_hash_extended(e.profile_id, p_seed)
        limit p_people
    ),
    -- Every photo of a person is searched for.
    photos as materialized (
        select a.profile_id, a.school, a.wanted, i.embedding
        from asked as a
        join public.faces as f on f.profile_id = a.profile_id
        join public.face_index as i
            on i.model = v_model.id and i.school = a.school and i.gender = a.gender and i.face_id = f.id
    ),
    -- The search copy is half as exact as the search, which a preview bears.
    near as materialized (
        select o.profile_id, i.profile_id as other_id, -min(i.embedding <#> o.embedding) as cosine
        from photos as o
        join public.face_index as i on i.model = v_model.id and i.school = o.school and i.gender = o.wanted
        where (i.embedding <#> o.embedding) <= -v_loosest
        group by o.profile_id, i.profile_id
    ),
    found as (
        select given.t, given.place, a.profile_id, count(n.other_id) as matches
        from unnest(p_thresholds, v_bounds) with ordinality as given (t, bound, place)
        cross join asked as a
        left join near as n on n.profile_id = a.profile_id and n.cosine >= given.bound
        group by given.t, given.place, a.profile_id
    )
    select
        f.t, (select count(*) from everybody), count(*), avg(f.matches)::double precision,
        percentile_cont(0.5) within group (order by f.matches::double precision),
        round((select count(*) from everybody) * (count(*) filter (where f.matches = 0))::numeric / count(*))::bigint
    from found as f
    group by f.t, f.place
    order by f.place;
end
$$;
comment on function public.preview_match_thresholds(
    double precision[], double precision, double precision, integer, bigint, boolean
) is
    'For each threshold: how many people of their school and the opposite gender a person reaches it with, '
    'and how many people of all reach it with nobody; judged by p_people of them, blocks left aside.';
