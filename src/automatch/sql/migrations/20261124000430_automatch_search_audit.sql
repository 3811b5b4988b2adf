-- Whether searches really find everybody: one job in a thousand is answered once more, by brute force.

set search_path = public, extensions;

create table automatch.search_settings (
    only_row boolean primary key default true,
    audit_one_in integer not null default 1000,
    index_from integer not null default 50000,
    index_until integer not null default 35000,
    most_indexes integer not null default 20,
    m integer not null default 24,
    ef_construction integer not null default 128,
    ef_search integer not null default 400,
    constraint there_is_one_row check (only_row),
    constraint audit_one_in_is_positive check (audit_one_in > 0),
    constraint index_goes_below_where_it_comes check (index_until between 1 and index_from),
    constraint most_indexes_is_not_negative check (most_indexes >= 0),
    constraint m_is_2_to_100 check (m between 2 and 100),
    constraint ef_construction_is_2_m_to_1000 check (ef_construction between 2 * m and 1000),
    constraint ef_search_is_100_to_1000 check (ef_search between 100 and 1000)
);
insert into automatch.search_settings default values;
comment on table automatch.search_settings is 'What `automatch tune` changes.';
comment on column automatch.search_settings.index_from is
    'A group of so many faces gets an index of its own; one that shrinks below index_until loses it.';
comment on column automatch.search_settings.ef_search is 'How many faces a search of such an index collects.';

create table automatch.group_indexes (
    school text not null,
    gender text not null,
    index_name text not null unique,
    ready boolean not null default false,
    m integer not null,
    ef_construction integer not null,
    built_at timestamptz,
    primary key (school, gender)
);
comment on table automatch.group_indexes is
    'Groups that are searched through an index of their own; one that is not ready is not used.';

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

do $$
declare
    v_table text;
begin
    foreach v_table in array array[
        'automatch.search_settings', 'automatch.group_indexes', 'automatch.search_audits'
    ] loop
        execute 'alter table ' || v_table || ' enable row level security';
        execute 'alter table ' || v_table || ' force row level security';
        execute 'create policy service on ' || v_table
            || ' to service_role, current_user using (true) with check (true)';
        execute 'revoke all on ' || v_table || ' from anon, authenticated, service_role';
        execute 'grant select, insert, update, delete on ' || v_table || ' to service_role';
    end loop;
end
$$;

create function automatch.search_by_force(
    p_embedding vector,
    p_school text,
    p_gender text,
    p_exclude_profile_ids uuid[],
    p_threshold double precision,
    p_count integer
)
returns table (face_id uuid, profile_id uuid)
language sql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
    select b.id, b.profile_id
    from (
        select distinct on (f.profile_id) f.id, f.profile_id, -(f.embedding <#> q.query) as cosine
        from (select l2_normalize(p_embedding) as query offset 0) as q
        cross join public.embedding_models as m
        join public.profiles as p
            on p.school = p_school and p.gender = p_gender and p.profile_type = 'user' and p.discoverable
        join public.faces as f on f.profile_id = p.id and f.embedding_model = m.id
        where m.active
          and not (p.id = any (p_exclude_profile_ids))
          and -(f.embedding <#> q.query) >= automatch.cosine_bound(p_threshold, m.midpoint, m.width)
          and automatch.has_consent(p.id)
        order by f.profile_id, -(f.embedding <#> q.query) desc, f.id
    ) as b
    order by b.cosine desc, b.id
    limit p_count
$$;
comment on function automatch.search_by_force(vector, text, text, uuid[], double precision, integer) is
    'What find_candidates() has to find, without its tables, its half precision and its plan.';

create function automatch.is_audited(p_job_id uuid)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select mod(hashtextextended(p_job_id::text, 0), s.audit_one_in) = 0 from automatch.search_settings as s
$$;

create function automatch.audit_search()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
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
                where j.user_id = e.profile_id and j.status in ('pending', 'processing')
            ) as comes_by_itself
        from public.profiles as p
        join public.faces as f on f.id = new.face_id
        cross join public.match_settings as s
        cross join lateral (
            select case p.gender when 'male' then 'female' else 'male' end as gender
        ) as g
        left join lateral automatch.search_by_force(
            f.embedding, p.school, g.gender, array(select automatch.hidden_from(p.id)) || p.id,
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
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
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
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with deleted as (
        delete from automatch.search_audits as a where a.recorded_at < automatch.now() - p_older_than returning 1
    )
    select count(*)::integer from deleted
$$;
comment on function public.clean_up_search_audits(interval) is 'Delete audits of long ago; the number of them.';

revoke execute on function public.get_search_recall(interval), public.clean_up_search_audits(interval)
    from public, anon, authenticated;
grant execute on function public.get_search_recall(interval), public.clean_up_search_audits(interval)
    to service_role, automatch_worker;
grant execute on function public.get_search_recall(interval) to automatch_api;
revoke execute on all functions in schema automatch from public;
