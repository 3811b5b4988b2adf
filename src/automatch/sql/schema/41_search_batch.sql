-- Searching for many jobs of one group at once, in the worker.

create function public.read_search_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (
    job_id uuid, school text, gender text, embedding vector, bound double precision, match_count integer,
    hidden uuid[]
)
language sql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select
        j.id, p.school, case p.gender when 'male' then 'female' else 'male' end, f.embedding,
        automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width), s.match_count,
        array(select automatch.excluded_profile_ids(p.id))
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    join public.match_jobs as j
        on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
    join public.faces as f on f.id = j.face_id
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    where p.school is not null and p.gender is not null
$$;
comment on function public.read_search_jobs(uuid[], bigint[]) is
    'What each job looks for: the group (school, gender searched), the embedding, the least cosine, and whom '
    'its person does not see. Jobs that cannot be searched for, or are not held, are missing.';

create function public.read_search_group(
    p_school text, p_gender text, p_horizon xid8 default null,
    out known bigint, out horizon xid8, out face_ids bytea, out profile_ids bytea, out embeddings bytea,
    out settled bytea
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    -- Every transaction below its snapshot's xmin had ended when the reader looked last. So a row
    -- of such a transaction that is here now was there then: when as many are counted as the reader
    -- kept, they are the very same ones, and all others come along anew.
    v_known_age integer := case when p_horizon is null then 2147483647 else age(p_horizon::xid) end;
    v_settled_age integer;
begin
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    v_settled_age := age(horizon::xid);
    select
        count(*) filter (where i.age > v_known_age),
        coalesce(string_agg(uuid_send(i.face_id), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(uuid_send(i.profile_id), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(halfvec_send(i.embedding), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(
            case when i.age > v_settled_age then '\x01'::bytea else '\x00'::bytea end, ''
        ) filter (where i.age <= v_known_age), '')
    into known, face_ids, profile_ids, embeddings, settled
    from (
        select g.face_id, g.profile_id, g.embedding, age(g.xmin) as age
        from public.face_index as g
        where g.school = p_school and g.gender = p_gender
        offset 0
    ) as i;
    -- The rows of another model are older than the exchange that brought them here, and would pass for
    -- the very same ones.
    if p_horizon <= (select s.exchanged_by from automatch.search_settings as s) then
        known := -1;
    end if;
end
$$;
comment on function public.read_search_group(text, text, xid8) is
    'The faces of a group that changed since the horizon that an earlier answer gave, one behind the other '
    'in binary form; known: how many others there are. When that is not what the reader kept, somebody left: '
    'read again without a horizon, which gives all.';

create function automatch.rank_shortlists(
    p_school text, p_gender text, p_job_ids uuid[], p_starts integer[], p_ends integer[], p_face_ids uuid[]
)
returns automatch.found_face[]
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_found automatch.found_face[];
begin
    with asking as materialized (
        select
            j.id, mine.starts, mine.ends, l2_normalize(f.embedding) as query, s.match_count,
            m.midpoint, m.width,
            automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width) as bound,
            array(select automatch.excluded_profile_ids(j.user_id)) || j.user_id as hidden
        from unnest(p_job_ids, p_starts, p_ends) as mine (id, starts, ends)
        join public.match_jobs as j on j.id = mine.id
        join public.faces as f on f.id = j.face_id
        join public.embedding_models as m on m.id = f.embedding_model and m.active
        cross join public.match_settings as s
    ),
    exact as materialized (
        select a.id, i.face_id, i.profile_id, -(f.embedding <#> a.query) as cosine, a.bound, a.match_count,
            a.midpoint, a.width
        from asking as a
        cross join lateral unnest(p_face_ids[a.starts:a.ends]) as s (face_id)
        -- Whoever is not in the group any more is not found, whatever the shortlist says.
        join public.face_index as i
            on i.school = p_school and i.gender = p_gender and i.face_id = s.face_id
        join public.faces as f on f.id = s.face_id
        where not (i.profile_id = any (a.hidden))
    ),
    best as (
        select distinct on (e.id, e.profile_id) e.*
        from exact as e
        where e.cosine >= e.bound
        order by e.id, e.profile_id, e.cosine desc, e.face_id
    ),
    placed as (
        select b.*, row_number() over (partition by b.id order by b.cosine desc, b.face_id) as place
        from best as b
    )
    select array_agg(row(
        p.id, p.face_id, p.profile_id, automatch.similarity(p.cosine, p.midpoint, p.width)
    )::automatch.found_face)
    into v_found
    from placed as p
    where p.place <= p.match_count;
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.rank_shortlists(text, text, uuid[], integer[], integer[], uuid[]) is
    'The answers of find_candidates() for jobs that search one group, when those are on the shortlists: of '
    'a job, the faces of p_face_ids from its start to its end.';
