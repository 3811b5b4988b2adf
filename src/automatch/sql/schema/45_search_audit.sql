-- Some searches are made again by brute force, to know how many faces they miss.
create table automatch.search_audits (
    id bigint generated always as identity primary key,
    recorded_at timestamptz not null default automatch.now(),
    job_id uuid not null,
    school text not null,
    gender text not null,
    expected integer not null,
    found integer not null
);
comment on table automatch.search_audits is 'Searches that were made again by brute force, and what came of it.';
create index search_audits_recorded_idx on automatch.search_audits (recorded_at);

create function automatch.brute_force_search(
    p_embedding vector,
    p_school text,
    p_gender text,
    p_excluded_profile_ids uuid[],
    p_threshold double precision,
    p_count integer
)
returns table (face_id uuid, profile_id uuid)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
    select r.face_id, r.profile_id
    from public.embedding_models as m
    cross join lateral (
        select array_agg(1) as numbers, array_agg(f.face_id) as face_ids, array_agg(f.profile_id) as profile_ids
        from automatch.findable_faces as f
        where f.model = m.id and f.school = p_school and f.gender = p_gender
          and not (f.profile_id = any (p_excluded_profile_ids))
    ) as a
    cross join lateral automatch.rank_faces(
        m.id, array[l2_normalize(p_embedding)],
        array[automatch.cosine_bound(p_threshold, m.midpoint, m.width)], p_count, a.numbers, a.face_ids, a.profile_ids
    ) as r
    where m.active
$$;
comment on function automatch.brute_force_search(vector, text, text, uuid[], double precision, integer) is
    'What find_candidates() has to find, without the search copy, its half precision and its indexes.';

create function automatch.is_audited(p_job_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select mod(hashtextextended(p_job_id::text, 0), s.audit_one_in) = 0 from automatch.search_settings as s
$$;

create function automatch.audit_search()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    insert into automatch.search_audits (job_id, school, gender, expected, found)
    select new.id, t.school, t.gender, count(t.profile_id),
        count(t.profile_id) filter (where t.found or t.comes_by_itself)
    from (
        select p.school, g.gender, e.profile_id,
            exists (
                select from public.matches as m
                where (m.face_a_id = new.face_id and m.profile_b_id = e.profile_id)
                   or (m.face_b_id = new.face_id and m.profile_a_id = e.profile_id)
            ) as found,
            -- Somebody who came after the search: their own job finds this one.
            exists (
                select from public.match_jobs as j
                where j.user_id = e.profile_id and j.completed_at is null
            ) as comes_by_itself
        from public.profiles as p
        join public.face_embeddings as f
            on f.model = public.active_embedding_model() and f.face_id = new.face_id
        cross join public.match_settings as s
        cross join lateral (
            select case p.gender when 'male' then 'female' else 'male' end as gender
        ) as g
        left join lateral automatch.brute_force_search(
            coalesce(f.embedding, automatch.read_sharded_embedding(f.model, f.face_id)), p.school, g.gender,
            array(select automatch.excluded_profile_ids(p.id)) || p.id,
            coalesce(new.threshold, s.threshold), s.match_count
        ) as e on true
        where p.id = new.user_id and p.school is not null and p.gender is not null
    ) as t
    group by t.school, t.gender;
    return null;
end
$$;

-- At the commit, when the matches are written. Whichever way a search takes, this looks at what came
-- of it.
create constraint trigger match_jobs_audit
after update of status on public.match_jobs
deferrable initially deferred
for each row
when (new.status = 'completed' and old.status = 'processing' and automatch.is_audited(new.id))
execute function automatch.audit_search();

create function public.get_search_recall(p_since interval default '1 day')
returns table (audits bigint, recall double precision, short_answers bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*), sum(a.found)::double precision / nullif(sum(a.expected), 0),
        count(*) filter (where a.found < a.expected)
    from automatch.search_audits as a
    where a.recorded_at > automatch.now() - p_since
$$;
comment on function public.get_search_recall(interval) is
    'Of the searches that were made again by brute force: how many, the share of people to be found that was '
    'found (null when there was nobody), and how many searches missed somebody.';

create function public.clean_up_search_audits(p_older_than interval default '30 days')
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with deleted as (
        delete from automatch.search_audits as a where a.recorded_at < automatch.now() - p_older_than returning 1
    )
    select count(*)::integer from deleted
$$;
comment on function public.clean_up_search_audits(interval) is 'Delete audits of long ago; the number of them.';
