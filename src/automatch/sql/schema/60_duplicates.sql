-- Accounts that may belong to the same person.

create table automatch.suspected_duplicates (
    id uuid primary key default gen_random_uuid(),
    profile_a_id uuid not null references public.profiles (id) on delete cascade,
    profile_b_id uuid not null references public.profiles (id) on delete cascade,
    u double precision not null,
    model text not null references public.embedding_models (id) on delete cascade,
    found_at timestamptz not null default automatch.now(),
    state text not null default 'open',
    decided_at timestamptz,
    decided_by text,
    constraint pair_is_ordered check (profile_a_id < profile_b_id),
    constraint pair_is_unique unique (profile_a_id, profile_b_id),
    constraint u_is_a_distance check (u between 0 and 2),
    constraint state_is_known check (state in ('open', 'dismissed', 'confirmed')),
    constraint decided_by_somebody check (
        (state = 'open') = (decided_at is null) and (state = 'open') = (decided_by is null)
    )
);
comment on table automatch.suspected_duplicates is
    'Pairs of accounts with photos that look like the same person: open until an operator confirms or dismisses '
    'them. Deleted with either account, and with the last photo of either.';
create index suspected_duplicates_b_idx on automatch.suspected_duplicates (profile_b_id);
create index suspected_duplicates_model_idx on automatch.suspected_duplicates (model);
create index suspected_duplicates_state_idx on automatch.suspected_duplicates (state, u);

create view automatch.excluded_profiles with (security_invoker = true) as
select d.profile_id, d.other_profile_id from public.match_dismissals as d
union
select d.other_profile_id, d.profile_id from public.match_dismissals as d
union
select b.profile_id, b.blocked_profile_id from public.profile_blocks as b
union
select b.blocked_profile_id, b.profile_id from public.profile_blocks as b
union
select s.profile_a_id, s.profile_b_id from automatch.suspected_duplicates as s
where s.state <> 'dismissed' and not (select m.match_same_person from public.match_settings as m)
union
select s.profile_b_id, s.profile_a_id from automatch.suspected_duplicates as s
where s.state <> 'dismissed' and not (select m.match_same_person from public.match_settings as m);
comment on view automatch.excluded_profiles is
    'People whom a person neither sees nor is shown to: dismissed or blocked by either of the two, or '
    'suspected to be the same person, where match_settings excludes those.';

create table automatch.duplicate_checks (
    face_id uuid primary key references public.faces (id) on delete cascade,
    queued_at timestamptz not null default automatch.now()
);
comment on table automatch.duplicate_checks is 'Photos that are still to be compared with the other accounts of their school.';
create index duplicate_checks_queued_idx on automatch.duplicate_checks (queued_at);

create function automatch.last_photo_deleted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- A suspicion is personal data, derived from the photos.
    if not exists (select from public.faces as f where f.profile_id = old.profile_id) then
        delete from automatch.suspected_duplicates
        where profile_a_id = old.profile_id or profile_b_id = old.profile_id;
    end if;
    return null;
end
$$;

create trigger faces_last_deleted after delete on public.faces
for each row execute function automatch.last_photo_deleted();

create function automatch.find_lookalike_accounts(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text, p_count integer
)
returns table (profile_id uuid, u double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
declare
    v_half halfvec := p_embedding::halfvec;
    v_far double precision;
    v_near double precision;
    v_limit double precision;
begin
    select m.same_person_u, coalesce(m.same_person_same_gender_u, m.same_person_u) into v_far, v_near
    from public.embedding_models as m where m.id = p_model;
    v_limit := 2 * automatch.half_error() - (1 - v_far ^ 2 / 2);
    return query
    with close as materialized (
        -- "+ 0" keeps any vector index out.
        select i.face_id, i.profile_id, i.gender
        from public.face_index as i
        where i.model = p_model
          and i.school = p_school
          and i.gender = any (array['male', 'female'])
          and (i.embedding <#> v_half) + 0 <= v_limit
          and i.profile_id <> p_profile_id
    ),
    exact as (
        select c.profile_id, c.gender, sqrt(greatest(2 + 2 * (
                coalesce(f.embedding, automatch.read_sharded_embedding(p_model, c.face_id)) <#> p_embedding
            ), 0)) as u
        from close as c
        join public.face_embeddings as f on f.model = p_model and f.face_id = c.face_id
        join public.profiles as p on p.id = c.profile_id and not p.simulated
    )
    select e.profile_id, min(e.u)
    from exact as e
    where e.u <= case when e.gender = p_gender then v_near else v_far end
    group by e.profile_id
    order by min(e.u), e.profile_id
    limit p_count;
end
$$;
comment on function automatch.find_lookalike_accounts(text, vector, uuid, text, text, integer) is
    'Other accounts of a school that look like the person of an embedding, closest first. Without simulated people.';

create function automatch.find_absent_lookalikes(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text
)
returns table (profile_id uuid, u double precision)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
    with people as materialized (
        select p.id from public.profiles as p where p.school = p_school and not p.discoverable
        union
        select f.profile_id from automatch.frozen_profiles as f
        union
        select c.profile_id from automatch.settling_profiles as c
        union
        select f.profile_id
        from automatch.held_faces as h join public.faces as f on f.id = h.face_id
        where h.reason in ('reported', 'hidden')
    ),
    stored as materialized (
        select p.id, p.gender, f.id as face_id, e.embedding
        from people as o
        join public.profiles as p on p.id = o.id
        join public.faces as f on f.profile_id = p.id
        join public.face_embeddings as e on e.model = p_model and e.face_id = f.id
        where p.school = p_school and p.profile_type = 'user' and not p.simulated and p.id <> p_profile_id
          -- Whoever has no proof keeps nobody waiting, nor does a photo that nobody has let pass yet.
          and exists (
              select from automatch.schools as s
              where s.name = p.school and (s.is_open or exists (
                  select from automatch.memberships as m where m.profile_id = p.id and m.school_id = s.id
              ))
          )
          and not exists (
              select from automatch.held_faces as h
              where h.face_id = f.id and h.reason not in ('reported', 'hidden')
          )
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(
            p_model, array(select e.face_id from stored as e where e.embedding is null)
        ) as s
    ),
    seen as (
        select e.id, e.gender, sqrt(greatest(2 + 2 * (coalesce(e.embedding, s.embedding) <#> p_embedding), 0)) as u
        from stored as e
        left join sharded as s on s.face_id = e.face_id
    )
    select s.id, min(s.u)
    from seen as s
    join public.embedding_models as m on m.id = p_model
    where s.u <= case
        when s.gender = p_gender then coalesce(m.same_person_same_gender_u, m.same_person_u) else m.same_person_u
    end
    group by s.id
$$;
comment on function automatch.find_absent_lookalikes(text, vector, uuid, text, text) is
    'Other accounts of a school that look like the person of an embedding and may come back: paused, frozen, settling, '
    'or with a photo that is hidden.';

create function automatch.find_duplicate_accounts(p_face_id uuid, p_count integer)
returns table (profile_id uuid, u double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_asked record;
begin
    select f.model, coalesce(f.embedding, automatch.read_sharded_embedding(m.id, p_face_id)) as embedding, p.id,
        p.school, p.gender into v_asked
    from public.embedding_models as m
    join public.face_embeddings as f on f.model = m.id and f.face_id = p_face_id
    join public.faces as o on o.id = f.face_id
    join public.profiles as p on p.id = o.profile_id and not p.simulated
    where m.active;
    if not exists (
        select from public.face_index as i
        where i.model = v_asked.model and i.school = v_asked.school and i.gender = v_asked.gender
          and i.face_id = p_face_id
    ) then
        return;
    end if;
    return query
        select d.profile_id, d.u
        from automatch.find_lookalike_accounts(
            v_asked.model, v_asked.embedding, v_asked.id, v_asked.school, v_asked.gender, p_count
        ) as d;
end
$$;
comment on function automatch.find_duplicate_accounts(uuid, integer) is
    'Other accounts of the school that look like the person on a photo that can be found, closest first.';

create function automatch.exclude_duplicates(p_found automatch.found_face[])
returns automatch.found_face[] language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Without waiting for detect_duplicates(): the similarity of what was found is enough.
    select coalesce(array_agg(row(f.job_id, f.face_id, f.profile_id, f.similarity)::automatch.found_face
        order by f.place), '{}')
    from unnest(p_found) with ordinality as f (job_id, face_id, profile_id, similarity, place)
    join public.match_jobs as j on j.id = f.job_id
    cross join public.embedding_models as m
    where m.active
      and (
          f.similarity < automatch.similarity(1 - m.same_person_u ^ 2 / 2, m.midpoint, m.width)
          or exists (
              select from automatch.suspected_duplicates as s
              where s.profile_a_id = least(f.profile_id, j.user_id)
                and s.profile_b_id = greatest(f.profile_id, j.user_id)
                and s.state = 'dismissed'
          )
      )
$$;
comment on function automatch.exclude_duplicates(automatch.found_face[]) is
    'What searches found, without people who look like the searching person, unless an operator dismissed that.';

create function automatch.apply_duplicate_decisions(p_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_pair record;
begin
    for v_pair in
        select s.profile_a_id, s.profile_b_id from automatch.suspected_duplicates as s
        where s.id = any (p_ids)
        order by s.profile_a_id, s.profile_b_id
    loop
        perform automatch.refresh_feeds(v_pair.profile_a_id, v_pair.profile_b_id);
    end loop;
    -- For one of the two: a match is one row for both.
    perform automatch.enqueue_searches(array(
        select f.id
        from automatch.suspected_duplicates as s
        join public.faces as f on f.profile_id = s.profile_a_id
        where s.id = any (p_ids) and automatch.may_see(s.profile_a_id, s.profile_b_id)
        order by f.id
    ));
end
$$;
comment on function automatch.apply_duplicate_decisions(uuid[]) is
    'Remove the cards of suspected pairs from both feeds or bring them back, and search again for those who may '
    'match again. After lock_duplicate_pairs().';

create function automatch.lock_duplicate_pairs(p_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_people uuid[] := array(
        select distinct unnest(array[s.profile_a_id, s.profile_b_id])
        from automatch.suspected_duplicates as s where s.id = any (p_ids)
    );
begin
    perform from public.profiles as p where p.id = any (v_people) order by p.id for no key update;
    perform automatch.lock_feeds(v_people);
end
$$;
comment on function automatch.lock_duplicate_pairs(uuid[]) is
    'Lock the profiles of suspected pairs and their feeds, before the pairs.';

create function automatch.claim_duplicate_checks(p_limit integer)
returns uuid[] language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select array(
        select due.face_id
        from (
            select c.face_id
            from automatch.duplicate_checks as c
            join public.faces as f on f.id = c.face_id
            join public.profiles as p on p.id = f.profile_id
            order by c.queued_at, c.face_id
            limit p_limit
            -- Skips profiles that are being changed or erased: those transactions lock the check after the
            -- profile, so waiting for them could be a deadlock.
            for update of c skip locked
            for share of p skip locked
        ) as due
    )
$$;
comment on function automatch.claim_duplicate_checks(integer) is 'Lock the next photos to check, and their profiles.';

create function public.detect_duplicates(p_limit integer default 20, out checked integer, out flagged integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
    v_pairs jsonb;
    v_people uuid[];
    v_new uuid[];
    v_matches boolean;
begin
    checked := 0;
    flagged := 0;
    -- Only while no job waits.
    if exists (
        select from public.match_jobs as j where j.completed_at is null and j.status = 'pending' and not j.scheduled
    ) then
        return;
    end if;
    v_faces := automatch.claim_duplicate_checks(p_limit);
    checked := cardinality(v_faces);
    if checked = 0 then
        return;
    end if;

    -- Read first, then locked in the common order: profiles, feeds, pairs.
    select jsonb_agg(jsonb_build_object('a', near.a, 'b', near.b, 'u', near.u, 'model', near.model))
    into v_pairs
    from (
        select distinct on (least(f.profile_id, s.profile_id), greatest(f.profile_id, s.profile_id))
            least(f.profile_id, s.profile_id) as a, greatest(f.profile_id, s.profile_id) as b, s.u,
            public.active_embedding_model() as model
        from unnest(v_faces) as face (id)
        join public.faces as f on f.id = face.id
        cross join lateral automatch.find_duplicate_accounts(f.id, 5) as s
        order by least(f.profile_id, s.profile_id), greatest(f.profile_id, s.profile_id), s.u
    ) as near;
    delete from automatch.duplicate_checks as c where c.face_id = any (v_faces);
    if v_pairs is null then
        return;
    end if;
    v_people := array(
        select distinct unnest(array[(p.value ->> 'a')::uuid, (p.value ->> 'b')::uuid])
        from jsonb_array_elements(v_pairs) as p (value)
    );
    perform from public.profiles as p where p.id = any (v_people) order by p.id for share;
    select s.match_same_person into v_matches from public.match_settings as s;
    if not v_matches then
        perform automatch.lock_feeds(v_people);
    end if;
    with pairs as (
        select (p.value ->> 'a')::uuid as a, (p.value ->> 'b')::uuid as b,
            (p.value ->> 'u')::double precision as u, p.value ->> 'model' as model
        from jsonb_array_elements(v_pairs) as p (value)
    ),
    written as (
        insert into automatch.suspected_duplicates as s (profile_a_id, profile_b_id, u, model)
        select p.a, p.b, p.u, p.model
        from pairs as p
        -- Checked again behind the locks: an account or its last photo may be gone.
        where exists (
            select from public.faces as f join public.face_embeddings as e on e.face_id = f.id where f.profile_id = p.a
        )
          and exists (
              select from public.faces as f join public.face_embeddings as e on e.face_id = f.id
              where f.profile_id = p.b
          )
        order by p.a, p.b
        on conflict (profile_a_id, profile_b_id) do update set u = excluded.u, model = excluded.model
            -- Decided pairs do not change.
            where s.state = 'open' and (excluded.u < s.u or excluded.model <> s.model)
        returning s.id, s.xmax = 0 as is_new
    )
    select array_agg(w.id) filter (where w.is_new) into v_new from written as w;
    flagged := coalesce(cardinality(v_new), 0);
    if flagged > 0 and not v_matches then
        perform automatch.apply_duplicate_decisions(v_new);
    end if;
end
$$;
comment on function public.detect_duplicates(integer) is
    'Compare some photos with the other accounts of their school and store pairs that look like the same person; '
    'nothing while a job waits. How many photos were compared, and how many pairs are new.';

create function public.list_suspected_duplicates(
    p_state text default 'open', p_limit integer default 50, p_id uuid default null
)
returns table (
    id uuid, profile_a_id uuid, profile_b_id uuid, same_gender boolean, u double precision, model text, state text,
    found_at timestamptz, decided_at timestamptz, decided_by text, held_face_ids uuid[]
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.profile_a_id, s.profile_b_id, a.gender is not distinct from b.gender, s.u, s.model,
        s.state, s.found_at, s.decided_at, s.decided_by,
        array(
            select h.face_id from automatch.held_faces as h
            join public.faces as f on f.id = h.face_id
            where h.reason = 'another_account' and f.profile_id in (s.profile_a_id, s.profile_b_id)
            order by h.face_id
        )
    from automatch.suspected_duplicates as s
    join public.profiles as a on a.id = s.profile_a_id
    join public.profiles as b on b.id = s.profile_b_id
    where (p_state is null or s.state = p_state) and (p_id is null or s.id = p_id)
    order by s.u, s.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_suspected_duplicates(text, integer, uuid) is
    'Pairs of accounts, closest first, with the photos that wait for a decision about them; of one state, or (null) '
    'of all; or one pair.';

create function public.decide_suspected_duplicate(p_id uuid, p_state text, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before text;
    v_actor text := left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200);
begin
    if p_state is null or p_state not in ('open', 'dismissed', 'confirmed') then
        perform automatch.raise_error('input_invalid', 'A suspicion is open, dismissed or confirmed.');
    end if;
    perform automatch.lock_duplicate_pairs(array[p_id]);
    select s.state into v_before from automatch.suspected_duplicates as s where s.id = p_id for update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such pair; one of the two may have left.');
    end if;
    if v_before = p_state then
        return;
    end if;
    update automatch.suspected_duplicates
    set state = p_state,
        decided_at = case when p_state <> 'open' then automatch.now() end,
        decided_by = case when p_state <> 'open' then v_actor end
    where id = p_id;
    if not (select s.match_same_person from public.match_settings as s) then
        perform automatch.apply_duplicate_decisions(array[p_id]);
    end if;
    perform automatch.release_settled_faces(array[s.profile_a_id, s.profile_b_id])
    from automatch.suspected_duplicates as s where s.id = p_id;
    perform automatch.audit(p_actor, 'same_person', (
        select jsonb_build_object(
            'pair', p_id, 'state', p_state, 'before', v_before,
            'people', jsonb_build_array(s.profile_a_id, s.profile_b_id)
        )
        from automatch.suspected_duplicates as s where s.id = p_id
    ));
end
$$;
comment on function public.decide_suspected_duplicate(uuid, text, text) is
    'Decide whether a pair is the same person (confirmed) or not (dismissed), or reopen it (open).';

create function public.get_match_same_person()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select s.match_same_person from public.match_settings as s $$;
comment on function public.get_match_same_person() is 'Whether accounts that look like the same person can match.';

create function public.set_match_same_person(p_match boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before boolean;
    v_ids uuid[];
begin
    if p_match is null then
        perform automatch.raise_error('input_invalid', 'Say true or false: whether two accounts of one person match.');
    end if;
    select s.match_same_person into v_before from public.match_settings as s for update;
    if v_before = p_match then
        return;
    end if;
    -- Only opposite genders match.
    v_ids := array(
        select s.id
        from automatch.suspected_duplicates as s
        join public.profiles as a on a.id = s.profile_a_id
        join public.profiles as b on b.id = s.profile_b_id and b.gender <> a.gender
        where s.state <> 'dismissed'
    );
    perform automatch.lock_duplicate_pairs(v_ids);
    update public.match_settings set match_same_person = p_match;
    perform automatch.apply_duplicate_decisions(v_ids);
    perform automatch.audit(p_actor, 'match_same_person', jsonb_build_object('match', p_match));
end
$$;
comment on function public.set_match_same_person(boolean, text) is
    'Set whether accounts that look like the same person can match (the default), and update the feeds.';
