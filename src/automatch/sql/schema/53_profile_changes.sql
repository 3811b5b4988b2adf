-- Consequences of changing, pausing and erasing a profile.

create function automatch.lock_related_feeds(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    loop
        v_others := array(
            select distinct e.other_profile_id from automatch.feed_entries as e
            where e.profile_id = any (p_profile_ids) and e.match_id is not null
        );
        begin
            perform automatch.lock_feeds(v_others || p_profile_ids);
            -- Somebody new may have come into a feed just before it was locked, and locking their feed now
            -- would be out of order. The error releases all these locks.
            exit when not exists (
                select from automatch.feed_entries as e
                where e.profile_id = any (p_profile_ids)
                  and e.match_id is not null
                  -- Hashed: of many people this is tens of thousands.
                  and e.other_profile_id not in (select unnest(v_others))
            );
            raise exception using errcode = 'AM002', message = 'the feed has grown';
        exception when sqlstate 'AM002' then
            null;
        end;
    end loop;
end
$$;
comment on function automatch.lock_related_feeds(uuid[]) is
    'Lock the feeds of people and all feeds that show them, at once, after their profiles.';

create function automatch.lock_for_erasing(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_profile_id for update;
    perform automatch.lock_related_feeds(array[p_profile_id]);
    perform from public.faces as f where f.profile_id = p_profile_id order by f.id for update;
    perform from public.match_jobs as j where j.user_id = p_profile_id order by j.id for update;
end
$$;
comment on function automatch.lock_for_erasing(uuid) is
    'Lock everything that changes when a face of this person, or the person, is erased.';

create function automatch.profile_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    perform automatch.lock_for_erasing(old.id);
    insert into automatch.erasures default values on conflict do nothing;
    -- What is in a feed is in the other one too, so an index finds the entries that name this person.
    with others as (
        select e.profile_id,
            -- Or whoever is hidden from the other would learn that something happened.
            e.match_id is not null and automatch.may_see(e.profile_id, old.id) as is_told
        from automatch.feed_entries as own
        join automatch.feed_entries as e on e.profile_id = own.other_profile_id and e.other_profile_id = old.id
        where own.profile_id = old.id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = h.last_position + 1
        from others as o
        where h.profile_id = o.profile_id and o.is_told
        returning h.profile_id, h.last_position
    ),
    removed as (
        update automatch.feed_entries as e
        set other_profile_id = gen_random_uuid(), match_id = null, position = coalesce(c.last_position, e.position),
            last_match_id = coalesce(e.match_id, e.last_match_id)
        from others as o
        left join counters as c on c.profile_id = o.profile_id
        where e.profile_id = o.profile_id and e.other_profile_id = old.id
        returning e.profile_id
    )
    select array_agg(r.profile_id) into v_others from removed as r;
    perform automatch.notify_feeds(v_others);
    return old;
end
$$;

create trigger profiles_erased before delete on public.profiles
for each row execute function automatch.profile_erased();

create function automatch.enqueue_searches(p_face_ids uuid[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
    v_open uuid[];
begin
    -- Without photos that have no embedding yet, which will be searched for by the new rules; without people
    -- whose search would fail; and without simulated people, whose feeds have no reader.
    v_faces := array(
        select f.id
        from public.faces as f
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        where f.id = any (p_face_ids)
          and p.school is not null and p.gender is not null and p.admitted and not p.simulated
          and automatch.has_consent(p.id)
          and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by f.id
    );
    perform automatch.lock_pauses_shared();
    -- Locked here by id, as complete_match_jobs() does: enqueuing would lock them in the order of the photos.
    v_open := array(
        select j.id from public.match_jobs as j
        where j.face_id = any (v_faces) and j.completed_at is null
        order by j.id
        for no key update
    );
    -- Jobs in progress may have searched by the old rules: their leases end, as if they were released.
    update public.match_jobs as j
    set status = 'pending', attempts = j.attempts - 1, lease_token = j.lease_token + 1,
        scheduled = exists (select from automatch.paused_schools as s where s.school = j.school),
        run_at = automatch.now(), lease_expires_at = null, worker_id = null
    where j.id = any (v_open) and j.status = 'processing';
    if found then
        perform automatch.wake_workers();
    end if;
    -- Priority 3: uploads, for which somebody waits, go first. Open jobs will search by the new rules; one that is
    -- queued only now is not locked, which would be out of order.
    insert into public.match_jobs (face_id, user_id, school, priority)
    select f.id, p.id, p.school, 3
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where f.id = any (v_faces) and not exists (
        select from public.match_jobs as j
        where j.face_id = f.id and j.completed_at is null
    )
    order by f.id
    on conflict do nothing;
    return cardinality(v_faces);
end
$$;
comment on function automatch.enqueue_searches(uuid[]) is
    'Search for photos again, after all uploads; searches in progress start over. The number of photos. The caller has '
    'locked their people so that nobody else does this for the same people at once: two would wait in a circle.';

create function automatch.enqueue_profile_searches(p_profile_id uuid)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.enqueue_searches(array(
        select f.id from public.faces as f
        where f.profile_id = p_profile_id
          and exists (select from public.face_embeddings as e where e.face_id = f.id)
        order by f.created_at desc
        limit 100
    ))
$$;
comment on function automatch.enqueue_profile_searches(uuid) is
    'Search for the photos of a person again, after locking the profile and its feed.';

create function automatch.profile_moves()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Before the update: its cascades lock faces, which come after the feeds.
    perform automatch.lock_related_feeds(array[new.id]);
    return new;
end
$$;

create trigger profiles_lock_feeds
before update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_moves();

create function automatch.profile_moved()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profiles uuid[];
    v_others uuid[];
begin
    -- Each direction by itself, as in may_see(): a person who pauses still sees others.
    with pairs as materialized (
        select e.other_profile_id as other_id,
            coalesce(o.school = old.school and o.gender <> old.gender, false) and old.admitted and o.admitted as was_pair,
            coalesce(o.school = new.school and o.gender <> new.gender, false) and new.admitted and o.admitted as is_pair,
            o.profile_type = 'user' and o.discoverable as other_is_shown,
            old.profile_type = 'user' and old.discoverable as was_shown,
            new.profile_type = 'user' and new.discoverable as is_shown
        from automatch.feed_entries as e
        join public.profiles as o on o.id = e.other_profile_id
        where e.profile_id = new.id
          and e.match_id is not null
          and e.other_profile_id not in (select automatch.excluded_profile_ids(new.id))
    ),
    changed as (
        select new.id as profile_id, p.other_id as other_profile_id from pairs as p
        where p.other_is_shown and p.was_pair <> p.is_pair
        union all
        select p.other_id, new.id from pairs as p
        where (p.was_pair and p.was_shown) <> (p.is_pair and p.is_shown)
    )
    select array_agg(c.profile_id), array_agg(c.other_profile_id) into v_profiles, v_others from changed as c;
    perform automatch.move_feed_entries(v_profiles, v_others);
    perform automatch.tell_of_reader(l.profile_id, new.id, l.told_at)
    from automatch.likes as l where l.other_profile_id = new.id and l.mutual;

    if new.school is distinct from old.school
        or new.gender is distinct from old.gender
        or (new.discoverable and not old.discoverable)
        or (new.admitted and not old.admitted)
        or (new.profile_type = 'user' and old.profile_type <> 'user')
    then
        perform automatch.enqueue_profile_searches(new.id);
    end if;
    return null;
end
$$;
comment on function automatch.profile_moved() is
    'Remove cards that are no longer allowed from both feeds, bring back those that are allowed again, and '
    'search again.';

-- Triggers run in the order of their names: profiles_changed has updated face_index before.
create trigger profiles_moved
after update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_moved();
