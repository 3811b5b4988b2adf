-- Turning one's head before the camera, so that a first photo is one's own. A hurdle, and no proof.

create table automatch.photo_challenges (
    face_id uuid primary key references public.faces (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    session_id text not null,
    turns text[] not null,
    begun_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_challenges is
    'What people were asked to do before the camera, until they answer; pictures are never kept.';

create function public.require_photo_challenge(p_face_id uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update public.faces as f set needs_challenge = true
    where f.id = p_face_id and f.profile_id = automatch.uid() and not f.needs_challenge
$$;
comment on function public.require_photo_challenge(uuid) is
    'Let a photo of the caller wait for a challenge, should it be their first.';

create function public.begin_photo_challenge(p_profile_id uuid, p_session_id text, p_face_id uuid)
returns table (id uuid, turns text[])
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    -- Both sides, in an order that cannot be known before.
    v_orders constant text[] := array[
        'left right left', 'right left right', 'left left right', 'right right left', 'left right right', 'right left left'
    ];
begin
    if not exists (
        select from public.faces as f join automatch.held_faces as h on h.face_id = f.id and h.reason = 'challenge'
        where f.id = p_face_id and f.profile_id = p_profile_id
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    return query
        insert into automatch.photo_challenges as c (face_id, session_id, turns)
        values (
            p_face_id, p_session_id,
            string_to_array(v_orders[1 + get_byte(uuid_send(gen_random_uuid()), 0) % cardinality(v_orders)], ' ')
        )
        on conflict (face_id) do update
            set id = excluded.id, session_id = excluded.session_id, turns = excluded.turns, begun_at = excluded.begun_at
        returning c.id, c.turns;
end
$$;
comment on function public.begin_photo_challenge(uuid, text, uuid) is
    'Ask a person, in one of their sessions, to turn their head; an earlier challenge of the photo ends.';

create function public.take_photo_challenge(p_profile_id uuid, p_session_id text, p_face_id uuid, p_id uuid)
returns text[] language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_challenge automatch.photo_challenges;
begin
    delete from automatch.photo_challenges as c
    using public.faces as f
    where c.face_id = p_face_id and c.id = p_id and c.session_id = p_session_id
      and f.id = c.face_id and f.profile_id = p_profile_id
    returning c.* into v_challenge;
    -- Nobody turns three times within two seconds.
    if not found or automatch.now() - v_challenge.begun_at not between interval '2 seconds' and interval '2 minutes' then
        return null;
    end if;
    return v_challenge.turns;
end
$$;
comment on function public.take_photo_challenge(uuid, text, uuid, uuid) is
    'The turns that were asked for, once; null for a challenge that is over, of another session, or answered in no time.';

create function public.pass_photo_challenge(p_profile_id uuid, p_face_id uuid, p_model text, p_embeddings vector[])
returns boolean language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_profile public.profiles;
    v_embedding vector;
begin
    select p.* into v_profile from public.profiles as p where p.id = p_profile_id for no key update;
    select coalesce(e.embedding, automatch.read_sharded_embedding(p_model, f.id)) into v_embedding
    from public.faces as f
    join automatch.held_faces as h on h.face_id = f.id and h.reason = 'challenge'
    join public.face_embeddings as e on e.face_id = f.id and e.model = p_model
    where f.id = p_face_id and f.profile_id = p_profile_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    if cardinality(p_embeddings) = 0 or exists (
        select from unnest(p_embeddings) as seen (embedding)
        join public.embedding_models as m on m.id = p_model
        where sqrt(greatest(2 + 2 * (l2_normalize(seen.embedding) <#> v_embedding), 0)) > m.same_person_u
    ) then
        return false;
    end if;
    -- The feeds before the school, as when a person comes to one.
    perform automatch.lock_related_feeds(array[v_profile.id]);
    if automatch.suspect_lookalikes(p_model, v_embedding, v_profile.id, v_profile.school, v_profile.gender) then
        update automatch.held_faces as h set reason = 'another_account' where h.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'another_account');
    elsif automatch.find_hiding_case(p_profile_id) is not null then
        update automatch.held_faces as h set reason = 'reported' where h.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'reported');
        perform automatch.add_photos_to_cases(array[p_face_id]);
    else
        perform automatch.release_face(p_face_id);
    end if;
    return true;
end
$$;
comment on function public.pass_photo_challenge(uuid, uuid, text, vector[]) is
    'Release a first photo if the faces before the camera are its person; false if not. What looks like another account '
    'goes on waiting, and so does what a case about the person is asked for.';
