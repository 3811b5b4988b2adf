-- Freezing people and holding photos: nothing is erased, and everything comes back.

create function public.freeze_person(p_id uuid, p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_id for no key update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
    insert into automatch.frozen_profiles as f (profile_id, reason) values (p_id, p_reason)
    on conflict (profile_id) do update set reason = excluded.reason;
end
$$;
comment on function public.freeze_person(uuid, text) is
    'From now on the person finds nobody and nobody finds them; nothing is erased.';

create function public.unfreeze_person(p_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_id for no key update;
    delete from automatch.frozen_profiles as f where f.profile_id = p_id;
    return found;
end
$$;
comment on function public.unfreeze_person(uuid) is 'Undo freeze_person(). Whether the person was frozen.';

create function automatch.standing_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.notify_feeds(array[new.id]);
    return null;
end
$$;
comment on function automatch.standing_changed() is 'Wake the open pages of a person who takes part from now on, or no more.';

create trigger profiles_standing_changed after update of admitted, discoverable on public.profiles
for each row
when (old.admitted is distinct from new.admitted or old.discoverable is distinct from new.discoverable)
execute function automatch.standing_changed();

create function automatch.lock_for_holding(p_face_id uuid)
returns public.profiles language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles;
begin
    select p.* into v_profile
    from public.faces as f join public.profiles as p on p.id = f.profile_id
    where f.id = p_face_id
    for no key update of p;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such photo.');
    end if;
    perform automatch.lock_related_feeds(array[v_profile.id]);
    return v_profile;
end
$$;
comment on function automatch.lock_for_holding(uuid) is
    'Lock what changes when a photo is held or released; its person.';

create function automatch.hold_face(p_face_id uuid, p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles := automatch.lock_for_holding(p_face_id);
begin
    insert into automatch.held_faces as h (face_id, reason) values (p_face_id, p_reason)
    on conflict (face_id) do update set reason = excluded.reason;
    if v_profile.school is not null and v_profile.gender is not null then
        perform automatch.unindex_faces(v_profile.school, v_profile.gender, array[p_face_id]);
    end if;
    delete from public.matches as m where p_face_id in (m.face_a_id, m.face_b_id);
end
$$;
comment on function automatch.hold_face(uuid, text) is
    'Keep a photo from being found or searched for until it is released, and remove its matches from both feeds.';

create function automatch.release_face(p_face_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_for_holding(p_face_id);
    delete from automatch.held_faces as h where h.face_id = p_face_id;
    if not found then
        return false;
    end if;
    perform automatch.index_faces(array[p_face_id]);
    perform automatch.enqueue_searches(array[p_face_id]);
    return true;
end
$$;
comment on function automatch.release_face(uuid) is 'Undo hold_face(), and search for the photo. Whether it was held.';
