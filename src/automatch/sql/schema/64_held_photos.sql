-- Photos that wait for a decision: which do, what their person is told, and what operators decide.

create function automatch.explain_hold(p_reason text, out code text, out message text)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- Not that there is another account: whoever sends somebody else's photo is not to learn who is at the school.
    select case p_reason
            when 'another_person' then 'another_person'
            when 'another_account' then 'photo_in_review'
            when 'reported' then 'photo_in_review'
            when 'challenge' then 'challenge_needed'
            when 'refused' then 'photo_refused'
        end,
        case p_reason
            when 'another_person' then
                'This doesn''t look like the person in your other photo, so nobody sees it yet. Delete the one that '
                'isn''t you, or leave both here and we''ll take a look.'
            when 'another_account' then
                'We''d like to look at this photo before anyone else sees it. You don''t need to do anything.'
            when 'reported' then
                'We''d like to look at this photo before anyone else sees it. You don''t need to do anything.'
            when 'challenge' then
                'One more step: show with your camera that this is you. Or leave it here and we''ll take a look.'
            when 'refused' then 'We looked at this photo and can''t use it. Delete it and add another one of you.'
        end
$$;
comment on function automatch.explain_hold(text) is
    'What the job of a held photo says to its person; nulls where it says nothing of it.';

create function automatch.tell_hold(p_face_ids uuid[], p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- The token, so that open pages are told. A job that failed otherwise says what was wrong with its photo.
    update public.match_jobs as j
    set status = 'failed', match_count = null, error_code = e.code, error_message = e.message,
        lease_token = j.lease_token + 1
    from automatch.explain_hold(p_reason) as e
    where j.face_id = any (p_face_ids) and (
        j.status = 'completed'
        or j.status = 'failed' and j.error_code in ('another_person', 'photo_in_review', 'challenge_needed')
    );
    perform automatch.notify_feeds(array(select f.profile_id from public.faces as f where f.id = any (p_face_ids)));
end
$$;
comment on function automatch.tell_hold(uuid[], text) is
    'Let the jobs of photos that are held now, or for another reason than before, say so.';

create function automatch.suspect_lookalikes(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text
)
returns boolean language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_schools text := (select s.hold_another_account from public.match_settings as s);
    v_pairs integer;
begin
    if p_school is null or p_gender is null or v_schools = 'never'
        -- Whoever is not let in is not to learn whose photo is at the school: hold_lookalike() looks again.
        or not exists (select from public.profiles as p where p.id = p_profile_id and p.admitted)
        or v_schools = 'proven' and exists (select from automatch.schools as s where s.name = p_school and s.is_open)
    then
        return false;
    end if;
    -- Of two accounts that send one face at the same time, the second sees the first.
    perform automatch.lock_first_photos(p_school);
    with found as materialized (
        select d.profile_id, d.u
        from (
            select l.profile_id, min(l.u) as u
            from (
                select a.*
                from automatch.find_lookalike_accounts(p_model, p_embedding, p_profile_id, p_school, p_gender, 5) as a
                union all
                select a.*
                from automatch.find_absent_lookalikes(p_model, p_embedding, p_profile_id, p_school, p_gender) as a
            ) as l
            group by l.profile_id
            order by min(l.u), l.profile_id
            limit 5
        ) as d
        -- Whoever is being erased is waited for.
        join public.profiles as p on p.id = d.profile_id
        where not exists (
            select from automatch.suspected_duplicates as s
            where s.profile_a_id = least(d.profile_id, p_profile_id)
              and s.profile_b_id = greatest(d.profile_id, p_profile_id) and s.state = 'dismissed'
        )
        for key share of p
    ),
    written as (
        insert into automatch.suspected_duplicates as s (profile_a_id, profile_b_id, u, model)
        select least(d.profile_id, p_profile_id), greatest(d.profile_id, p_profile_id), d.u, p_model
        from found as d
        order by 1, 2
        on conflict (profile_a_id, profile_b_id) do update set u = least(s.u, excluded.u)
        returning 1
    )
    select count(*) into v_pairs from written;
    return v_pairs > 0;
end
$$;
comment on function automatch.suspect_lookalikes(text, vector, uuid, text, text) is
    'Whether a face that is new in a school looks like another account there, by what match_settings says; the pairs '
    'are put before the operator. The person is locked.';

create function automatch.load_first_embedding(p_model text, p_profile_id uuid)
returns vector language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select coalesce(e.embedding, automatch.read_sharded_embedding(p_model, f.id))
    from public.faces as f
    join public.face_embeddings as e on e.model = p_model and e.face_id = f.id
    where f.profile_id = p_profile_id and not exists (select from automatch.held_faces as h where h.face_id = f.id)
    order by f.created_at, f.id
    limit 1
$$;
comment on function automatch.load_first_embedding(text, uuid) is
    'Of the oldest photo of a person that does not wait: what further ones are compared with.';

create function automatch.reason_to_hold(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text, p_needs_challenge boolean,
    out reason text, out is_first boolean
)
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_first vector := automatch.load_first_embedding(p_model, p_profile_id);
begin
    is_first := v_first is null;
    if is_first then
        if p_needs_challenge then
            reason := 'challenge';
        elsif automatch.suspect_lookalikes(p_model, p_embedding, p_profile_id, p_school, p_gender) then
            reason := 'another_account';
        end if;
    elsif (select s.hold_another_person from public.match_settings as s) and sqrt(greatest(2 + 2 * (v_first <#> p_embedding), 0)) > (
        select m.same_person_u from public.embedding_models as m where m.id = p_model
    ) then
        reason := 'another_person';
    end if;
    if reason is null and automatch.find_hiding_case(p_profile_id) is not null then
        reason := 'reported';
    end if;
end
$$;
comment on function automatch.reason_to_hold(text, vector, uuid, text, text, boolean) is
    'Why a new photo has to wait for a decision, or null; and whether it is the first of its person that can be found.';

create function automatch.hold_lookalike(p_profile_id uuid, p_school text, p_gender text)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model text := public.active_embedding_model();
    v_first vector := automatch.load_first_embedding(v_model, p_profile_id);
    v_faces uuid[];
begin
    if v_first is null or not automatch.suspect_lookalikes(v_model, v_first, p_profile_id, p_school, p_gender) then
        return;
    end if;
    v_faces := array(
        select f.id from public.faces as f
        where f.profile_id = p_profile_id and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by f.id
    );
    perform automatch.hold_face(f.id, 'another_account') from unnest(v_faces) as f (id);
    perform automatch.tell_hold(v_faces, 'another_account');
end
$$;
comment on function automatch.hold_lookalike(uuid, text, text) is
    'Hold the photos of a person who comes to a school and looks like another account there.';

create function automatch.look_at_held_again(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model text := public.active_embedding_model();
    v_held record;
    v_decision record;
    v_reported uuid[] := array[]::uuid[];
begin
    -- As if each were sent now, so that deleting a photo lets pass nothing that sending it anew would not. Its search
    -- was counted when it was sent. One after the other: the first that passes is what the next is compared with.
    for v_held in
        select f.id, f.needs_challenge, p.school, p.gender,
            coalesce(e.embedding, automatch.read_sharded_embedding(v_model, f.id)) as embedding
        from public.faces as f
        join automatch.held_faces as h on h.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        join public.face_embeddings as e on e.model = v_model and e.face_id = f.id
        where f.profile_id = p_profile_id and h.reason = 'another_person'
        order by f.created_at, f.id
    loop
        select r.* into v_decision from automatch.reason_to_hold(
            v_model, v_held.embedding, p_profile_id, v_held.school, v_held.gender, v_held.needs_challenge
        ) as r;
        if v_decision.reason is null then
            perform automatch.release_face(v_held.id);
        elsif v_decision.reason <> 'another_person' then
            update automatch.held_faces as h set reason = v_decision.reason where h.face_id = v_held.id;
            perform automatch.tell_hold(array[v_held.id], v_decision.reason);
            if v_decision.reason = 'reported' then
                v_reported := v_reported || v_held.id;
            end if;
        end if;
    end loop;
    -- Last, as cases are locked after all else.
    perform automatch.add_photos_to_cases(v_reported);
end
$$;
comment on function automatch.look_at_held_again(uuid) is
    'Decide again about the photos of a person, who is locked, that were held because they show somebody else than the '
    'first one, which has gone.';

create function automatch.store_new_faces(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[]
)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_new record;
    v_decision record;
    v_stored uuid[] := array[]::uuid[];
    v_reported uuid[] := array[]::uuid[];
begin
    -- By school, so that two batches do not wait for each other in a circle.
    for v_new in
        select f.id, f.profile_id, f.needs_challenge, p.school, p.gender, new.number, l2_normalize(new.embedding) as embedding
        from unnest(p_face_ids, p_embeddings) with ordinality as new (face_id, embedding, number)
        join public.faces as f on f.id = new.face_id
        join public.profiles as p on p.id = f.profile_id and not p.simulated
        -- Not one that was decided about, or that another model has seen.
        where not exists (select from public.face_embeddings as e where e.face_id = f.id)
          and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by p.school, f.profile_id, f.created_at, f.id
    loop
        select r.* into v_decision from automatch.reason_to_hold(
            p_model, v_new.embedding, v_new.profile_id, v_new.school, v_new.gender, v_new.needs_challenge
        ) as r;
        if v_decision.reason is not null then
            insert into automatch.held_faces (face_id, reason) values (v_new.id, v_decision.reason);
            if v_decision.reason = 'reported' then
                v_reported := v_reported || v_new.id;
            end if;
        elsif v_decision.is_first then
            -- At once, for the next one of this batch to be compared with.
            perform automatch.store_embeddings(
                p_model, array[v_new.id], array[v_new.embedding], p_quality[v_new.number:v_new.number],
                p_detectors[v_new.number:v_new.number]
            );
            v_stored := v_stored || v_new.id;
        end if;
    end loop;
    perform automatch.store_embeddings(p_model, n.face_ids, n.embeddings, n.quality, n.detectors)
    from (
        select array_agg(new.face_id) as face_ids, array_agg(new.embedding) as embeddings,
            array_agg(new.quality) as quality, array_agg(new.detector) as detectors
        from unnest(p_face_ids, p_embeddings, p_quality, p_detectors) as new (face_id, embedding, quality, detector)
        where new.face_id <> all (v_stored)
    ) as n
    where n.face_ids is not null;
    -- Last, as cases are locked after all else.
    perform automatch.add_photos_to_cases(v_reported);
end
$$;
comment on function automatch.store_new_faces(text, uuid[], vector[], jsonb[], text[]) is
    'store_embeddings(), after deciding which photos have to wait: those are not put into the search copy.';

create function automatch.pair_was_lost()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if old.state <> 'dismissed' then
        update automatch.held_faces as h
        set lost_pair = true
        from public.faces as f
        where f.id = h.face_id and f.profile_id in (old.profile_a_id, old.profile_b_id)
          and h.reason = 'another_account';
    end if;
    return null;
end
$$;

create trigger suspected_duplicates_lost after delete on automatch.suspected_duplicates
for each row execute function automatch.pair_was_lost();

create function automatch.release_settled_faces(p_profile_ids uuid[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
begin
    with released as (
        delete from automatch.held_faces as h
        using public.faces as f
        where f.id = h.face_id and f.profile_id = any (p_profile_ids) and h.reason = 'another_account'
          and not h.lost_pair and automatch.find_hiding_case(f.profile_id) is null
          and not exists (
              select from automatch.suspected_duplicates as s
              where f.profile_id in (s.profile_a_id, s.profile_b_id) and s.state <> 'dismissed'
          )
        returning h.face_id
    )
    select array_agg(r.face_id) into v_faces from released as r;
    if v_faces is null then
        return 0;
    end if;
    perform automatch.index_faces(v_faces);
    perform automatch.enqueue_searches(v_faces);
    return cardinality(v_faces);
end
$$;
comment on function automatch.release_settled_faces(uuid[]) is
    'Release the photos of people, who are locked, that waited for decisions about pairs and do so no more. How many.';

create function public.list_held_photos(p_reason text default null, p_limit integer default 50)
returns table (face_id uuid, profile_id uuid, school text, reason text, held_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select h.face_id, p.id, p.school, h.reason, h.held_at
    from automatch.held_faces as h
    join public.faces as f on f.id = h.face_id
    join public.profiles as p on p.id = f.profile_id
    -- Photos held by a report are decided in its case.
    where h.reason = p_reason or p_reason is null and h.reason in ('another_person', 'another_account', 'challenge')
    order by h.held_at, h.face_id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_held_photos(text, integer) is
    'Photos that wait for a decision, the longest waiting first; of one reason, or all that an operator decides here.';

create function public.open_held_photo(p_id uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_face public.faces;
begin
    select f.* into v_face
    from public.faces as f
    left join automatch.held_faces as h on h.face_id = f.id
    where p_id in (f.id, f.profile_id) and (h.reason is null or h.reason not in ('reported', 'hidden')) and (
        exists (
            select from automatch.held_faces as o join public.faces as w on w.id = o.face_id
            where w.profile_id = f.profile_id and o.reason not in ('reported', 'hidden')
        )
        or exists (
            select from automatch.suspected_duplicates as s where f.profile_id in (s.profile_a_id, s.profile_b_id)
        )
    )
    order by h.face_id is not null, f.created_at, f.id
    limit 1;
    if not found then
        perform automatch.raise_error('not_found', 'No photo waits there, and no account of a pair has it.');
    end if;
    perform public.record_photo_views(array[null]::uuid[], array[v_face.id], '{true}', array[automatch.now()]);
    return v_face.image_path;
end
$$;
comment on function public.open_held_photo(uuid) is
    'Where a photo lies that an operator decides about or compares with it, by its id or as the first of an account; '
    'its person is told that one looked.';

create function public.decide_held_photo(p_face_id uuid, p_release boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles := automatch.lock_for_holding(p_face_id);
    v_reason text;
begin
    select h.reason into v_reason from automatch.held_faces as h where h.face_id = p_face_id for update;
    if not found or v_reason in ('reported', 'hidden') then
        perform automatch.raise_error('not_found', 'This photo does not wait for a decision.');
    end if;
    if p_release then
        perform automatch.release_face(p_face_id);
    elsif v_reason <> 'refused' then
        perform automatch.hold_face(p_face_id, 'refused');
        delete from public.face_embeddings as e where e.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'refused');
    end if;
    perform automatch.audit(
        p_actor, case when p_release then 'release_photo' else 'refuse_photo' end,
        jsonb_build_object('photo', p_face_id, 'reason', v_reason), v_profile.id
    );
end
$$;
comment on function public.decide_held_photo(uuid, boolean, text) is
    'Let a photo that waits be found and searched for (p_release), or refuse it: its embedding is deleted, and its '
    'person is told.';
