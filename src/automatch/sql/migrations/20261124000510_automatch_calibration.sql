-- What a calibration looks at: strangers of opposite gender inside schools, as distances and nothing else.

set search_path = public, extensions;

create function automatch.comparable_people(p_simulated boolean)
returns table (
    profile_id uuid, face_id uuid, school text, gender text, half smallint, place bigint, women bigint, men bigint
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    -- One photo a person: somebody with many would count as many.
    with people as (
        select distinct on (i.profile_id) i.profile_id, i.face_id, i.school, i.gender
        from public.face_index as i
        join public.profiles as p on p.id = i.profile_id
        where p_simulated or not p.simulated
        order by i.profile_id, i.face_id
    )
    select
        p.profile_id, p.face_id, p.school, p.gender, (uuid_hash(p.profile_id) & 1)::smallint,
        row_number() over (partition by p.school, p.gender order by p.profile_id) - 1,
        count(*) filter (where p.gender = 'female') over (partition by p.school),
        count(*) filter (where p.gender = 'male') over (partition by p.school)
    from people as p
$$;
comment on function automatch.comparable_people(boolean) is
    'Who can be found, once each: with their number in their school and gender, and a half of all people.';

create function public.count_comparable_people(p_simulated boolean default false)
returns table (women bigint, men bigint, schools bigint, pairs numeric)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
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
language sql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
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
    )
    select
        sqrt(greatest(2 + 2 * (a.embedding <#> b.embedding), 0)),
        case when she.half = he.half then she.half end
    from drawn as d
    join people as she on she.school = d.school and she.gender = 'female' and she.place = d.number / d.men
    join people as he on he.school = d.school and he.gender = 'male' and he.place = d.number % d.men
    join public.faces as a on a.id = she.face_id
    join public.faces as b on b.id = he.face_id
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
    threshold double precision,
    people bigint,
    looked_at bigint,
    matches double precision,
    median_matches double precision,
    without_any bigint
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
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
        join public.face_index as i
            on i.profile_id = a.profile_id and i.school = a.school and i.gender = a.gender
    ),
    -- The search copy is half as exact as the search, which a preview bears.
    near as materialized (
        select o.profile_id, i.profile_id as other_id, -min(i.embedding <#> o.embedding) as cosine
        from photos as o
        join public.face_index as i on i.school = o.school and i.gender = o.wanted
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

revoke execute on function
    public.count_comparable_people(boolean),
    public.sample_stranger_distances(integer, bigint, boolean),
    public.preview_match_thresholds(double precision[], double precision, double precision, integer, bigint, boolean)
    from public, anon, authenticated;
grant execute on function
    public.count_comparable_people(boolean),
    public.sample_stranger_distances(integer, bigint, boolean),
    public.preview_match_thresholds(double precision[], double precision, double precision, integer, bigint, boolean)
    to service_role;
revoke execute on all functions in schema automatch from public;
