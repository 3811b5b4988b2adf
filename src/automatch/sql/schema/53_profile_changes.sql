-- What follows when a person moves, pauses, comes back or is erased.

create function automatch.lock_related_feeds(p_profile_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    loop
        v_others := array(
            select e.other_profile_id from automatch.feed_entries as e
            where e.profile_id = p_profile_id and e.match_id is not null
        );
        begin
            perform automatch.lock_feeds(v_others || p_profile_id);
            -- Nobody writes into a feed that is locked, but somebody new may have done so just
            -- before; locked now, theirs would be out of order. The error lets go of all of them.
            exit when not exists (
                select from automatch.feed_entries as e
                where e.profile_id = p_profile_id
                  and e.match_id is not null
                  and e.other_profile_id <> all (v_others)
            );
            raise exception using errcode = 'AM002', message = 'the feed has grown';
        exception when sqlstate 'AM002' then
            null;
        end;
    end loop;
end
$$;
comment on function automatch.lock_related_feeds(uuid) is
    'Lock the feed of a person and the feeds that show them; the profile must be locked already.';

create function automatch.lock_for_erasing(p_profile_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_profile_id for update;
    perform automatch.lock_related_feeds(p_profile_id);
    perform from public.faces as f where f.profile_id = p_profile_id order by f.id for update;
    perform from public.match_jobs as j where j.user_id = p_profile_id order by j.id for update;
end
$$;
comment on function automatch.lock_for_erasing(uuid) is
    'Lock all that changes when a face of this person, or the person, goes.';

create function automatch.profile_erased()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_for_erasing(old.id);
    return old;
end
$$;

create trigger profiles_erased
before delete on public.profiles
for each row execute function automatch.profile_erased();

create function automatch.enqueue_searches(p_face_ids uuid[])
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
    v_open uuid[];
begin
    -- A photo that no worker has seen yet is searched for when it has been, by the rules of then;
    -- without a school or a gender a search would only fail. Nobody looks at a simulated feed.
    v_faces := array(
        select f.id
        from public.faces as f
        join public.embedding_models as m on m.id = f.embedding_model and m.active
        join public.profiles as p on p.id = f.profile_id
        where f.id = any (p_face_ids)
          and p.school is not null and p.gender is not null and not p.simulated
          and automatch.has_consent(p.id)
        order by f.id
    );
    perform automatch.lock_pauses_shared();
    -- In the order of locks, and no others below: queued one by one, jobs would be locked as the photos
    -- stand, across the order in which a worker ends a batch.
    v_open := array(
        select j.id from public.match_jobs as j
        where j.face_id = any (v_faces) and j.status in ('pending', 'processing')
        order by j.id
        for no key update
    );
    -- Whoever works on one of them may have searched already, by the old rules: their token is worth
    -- nothing now, and the job is back in its place, as if it had been released.
    update public.match_jobs as j
    set status = 'pending', attempts = j.attempts - 1, lease_token = j.lease_token + 1,
        scheduled = exists (select from automatch.paused_schools as s where s.school = j.school),
        run_at = automatch.now(), lease_expires_at = null, worker_id = null
    where j.id = any (v_open) and j.status = 'processing';
    if found then
        perform automatch.wake_workers();
    end if;
    -- Priority 3: an upload, for which somebody waits, always goes first. A job that was queued since
    -- searches by the new rules anyway.
    perform public.enqueue_match_job(f.id, 3::smallint)
    from unnest(v_faces) with ordinality as f (id, n)
    where not exists (
        select from public.match_jobs as j
        where j.face_id = f.id and j.status in ('pending', 'processing')
    )
    order by f.n;
    return cardinality(v_faces);
end
$$;
comment on function automatch.enqueue_searches(uuid[]) is
    'Queue photos for another search, behind all uploads; one that is being searched for starts over. '
    'How many there are.';

create function automatch.enqueue_profile_searches(p_profile_id uuid)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select automatch.enqueue_searches(array(
        -- A job each, and never two open ones of one photo: whoever changes their mind all day
        -- queues no more than this.
        select f.id from public.faces as f
        where f.profile_id = p_profile_id and f.embedding_model is not null
        order by f.created_at desc
        limit 100
    ))
$$;
comment on function automatch.enqueue_profile_searches(uuid) is
    'Queue the photos of a person for another search; the profile and its feed are locked first.';

create function automatch.profile_moves()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Before the row is written: its foreign keys go on to lock faces, which come after feeds.
    perform automatch.lock_related_feeds(new.id);
    return new;
end
$$;

create trigger profiles_lock_feeds
before update of school, gender, profile_type, discoverable on public.profiles
for each row
when (
    old.school is distinct from new.school or old.gender is distinct from new.gender
    or old.profile_type <> new.profile_type or old.discoverable <> new.discoverable
)
execute function automatch.profile_moves();

create function automatch.profile_moved()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Each direction by itself, as may_see() judges it: who pauses still sees others.
    with pairs as materialized (
        select e.other_profile_id as other_id,
            coalesce(o.school = old.school and o.gender <> old.gender, false) as was_pair,
            coalesce(o.school = new.school and o.gender <> new.gender, false) as is_pair,
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
    ),
    placed as (
        select e.profile_id, e.other_profile_id,
            row_number() over (partition by e.profile_id order by e.position) as step
        from changed as c
        join automatch.feed_entries as e
            on e.profile_id = c.profile_id and e.other_profile_id = c.other_profile_id
    ),
    heads as (
        update automatch.feed_counters as h
        set last_position = h.last_position + c.entries
        from (select p.profile_id, count(*) as entries from placed as p group by p.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_position - c.entries as before
    )
    update automatch.feed_entries as e
    set position = h.before + p.step
    from placed as p
    join heads as h on h.profile_id = p.profile_id
    where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform pg_notify('automatch_feed', '');
    end if;

    if new.school is distinct from old.school
        or new.gender is distinct from old.gender
        or (new.discoverable and not old.discoverable)
        or (new.profile_type = 'user' and old.profile_type <> 'user')
    then
        perform automatch.enqueue_profile_searches(new.id);
    end if;
    return null;
end
$$;
comment on function automatch.profile_moved() is
    'Take cards out of both feeds that are no longer allowed, bring back those that are again, and '
    'search again by the new rules.';

-- By its name after profiles_changed: the search copy is true by then.
create trigger profiles_moved
after update of school, gender, profile_type, discoverable on public.profiles
for each row
when (
    old.school is distinct from new.school or old.gender is distinct from new.gender
    or old.profile_type <> new.profile_type or old.discoverable <> new.discoverable
)
execute function automatch.profile_moved();
