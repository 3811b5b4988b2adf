-- What people can read about their own searches.

create function automatch.roughly(p_count bigint)
returns integer language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- Rounded down to two digits and to tens. From exact counts one could learn that a certain person paused,
    -- joined or left.
    select case
        when p_count < 100 then p_count / 10 * 10
        else p_count / power(10, length(p_count::text) - 2)::bigint
             * power(10, length(p_count::text) - 2)::bigint
    end::integer
$$;
comment on function automatch.roughly(bigint) is
    'A count that may be shown: rounded down to two digits and to tens; fewer than 10 is 0.';

create function public.match_pool()
returns table (school integer, other_gender integer, findable integer, hidden integer, threshold double precision)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_me public.profiles;
    v_model constant text := public.active_embedding_model();
    v_wanted text;
    v_hidden uuid[];
    v_findable bigint := 0;
begin
    select p.* into v_me from public.profiles as p where p.id = automatch.uid();
    if not found then
        return;
    end if;
    if v_me.admitted then
        v_wanted := case v_me.gender when 'male' then 'female' when 'female' then 'male' end;
        -- People who blocked the caller count as not findable, like those who paused or have no photo: nobody
        -- learns that they were blocked.
        v_hidden := array(select automatch.excluded_profile_ids(v_me.id));
        select count(distinct i.profile_id) into v_findable
        from public.face_index as i
        where i.model = v_model and i.school = v_me.school and i.gender = v_wanted and i.profile_id <> all (v_hidden);
    end if;
    return query
        select
            automatch.roughly((
                select count(*) from public.profiles as p
                where v_me.admitted and p.school = v_me.school and p.profile_type = 'user'
            )),
            automatch.roughly((
                select count(*) from public.profiles as p
                where v_me.admitted and p.school = v_me.school and p.profile_type = 'user' and p.gender <> v_me.gender
            )),
            automatch.roughly(v_findable),
            (
                select count(*)::integer from (
                    select b.blocked_profile_id from public.profile_blocks as b where b.profile_id = v_me.id
                    union
                    select d.other_profile_id from public.match_dismissals as d where d.profile_id = v_me.id
                ) as own
            ),
            (select s.threshold from public.match_settings as s);
end
$$;
comment on function public.match_pool() is
    'Among how many people the caller is searched for, roughly: of their school, of the opposite gender, '
    'findable for them; exactly: whom they hid themselves, and the threshold.';

create function public.read_match_pools(p_claims jsonb[])
returns table (
    reader integer, school integer, other_gender integer, findable integer, hidden integer, threshold double precision
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, p.* from public.match_pool() as p;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_match_pools(jsonb[]) is
    'match_pool() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.explain_match_job(p_job_id uuid)
returns table (
    school integer, other_gender integer, findable integer, hidden integer, threshold double precision,
    over_threshold integer
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As the search: the rows of one school and gender, read in place.
set jit = off
as $$
#variable_conflict use_column
declare
    v_asked record;
    v_half halfvec;
    v_hidden uuid[];
    v_count bigint;
begin
    select p.id, p.school, case p.gender when 'male' then 'female' when 'female' then 'male' end as wanted,
        f.model,
        coalesce(f.embedding, automatch.read_sharded_embedding(m.id, j.face_id)) as embedding,
        coalesce(j.threshold, s.threshold) as threshold,
        automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width) as bound
    into v_asked
    from public.match_jobs as j
    join public.profiles as p on p.id = j.user_id
    join public.embedding_models as m on m.active
    join public.face_embeddings as f on f.model = m.id and f.face_id = j.face_id
    cross join public.match_settings as s
    where j.id = p_job_id and j.user_id = automatch.uid() and p.admitted;
    if not found then
        return;
    end if;
    v_half := v_asked.embedding::halfvec;
    v_hidden := array(select automatch.excluded_profile_ids(v_asked.id));
    select count(distinct i.profile_id) into v_count
    from public.face_index as i
    where i.model = v_asked.model
      and i.school = v_asked.school
      and i.gender = v_asked.wanted
      and (i.embedding <#> v_half) <= -v_asked.bound
      and i.profile_id <> all (v_hidden);
    return query
        select m.school, m.other_gender, m.findable, m.hidden, v_asked.threshold, automatch.roughly(v_count)
        from public.match_pool() as m;
end
$$;
comment on function public.explain_match_job(uuid) is
    'match_pool() with the threshold of one of the caller''s jobs and, roughly, how many people reach it now; '
    'nothing while its photo has no embedding.';
