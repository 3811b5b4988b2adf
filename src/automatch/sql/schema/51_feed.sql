-- A feed is a list of people, each at a position. A writer locks the person's row of feed_counters until
-- commit, so positions have no gaps and follow the order of commits: a reader who has seen position n has
-- seen all positions below.

create table automatch.feed_counters (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    last_position bigint not null default 0,
    last_match bigint not null default 0,
    seen_position bigint not null default 0,
    seen_count bigint not null default 0
)
-- Room for the updates of a page's people to stay in it: a third of the log of a job among many people was the
-- primary key, each time a page that was not touched since the last checkpoint.
with (fillfactor = 80);
comment on column automatch.feed_counters.last_match is 'The highest number of a match of this person.';
comment on column automatch.feed_counters.seen_position is
    'No entry up to here is new, so that new ones are found without reading the feed.';
comment on column automatch.feed_counters.seen_count is 'How often an entry was marked as seen: open pages learn of it.';
create table automatch.feed_entries (
    -- Of feed_counters. No foreign key: whoever writes an entry holds the lock of the counter, and checking it for
    -- each entry costs as much as to write one.
    profile_id uuid not null,
    other_profile_id uuid not null,
    position bigint not null,
    place bigint not null,
    match_id uuid,
    last_match_id uuid,
    created_at timestamptz not null default automatch.now(),
    seen_at timestamptz,
    primary key (profile_id, other_profile_id),
    constraint position_is_unique unique (profile_id, position)
);
-- For pages of the feed.
create index feed_entries_place_idx on automatch.feed_entries (profile_id, place);
comment on column automatch.feed_entries.position is 'Grows with every change, so that open pages read what is new to them.';
comment on column automatch.feed_entries.place is
    'Where the card stands: the position of its last news. A card that goes and comes back has the place it had.';
comment on column automatch.feed_entries.match_id is
    'The best match of the two; null when none is left, so that open pages remove the card.';
comment on column automatch.feed_entries.last_match_id is 'The match that a removed card showed.';
comment on column automatch.feed_entries.seen_at is
    'When the person was shown it; null while it is new. A better pair of photos makes it new again.';
comment on column automatch.feed_entries.other_profile_id is
    'Nobody''s id once the other person is erased; open pages know the card by last_match_id then.';

create function automatch.create_feed_counter()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.feed_counters (profile_id) values (new.id) on conflict do nothing;
    return null;
end
$$;

create trigger profiles_create_feed_counter after insert on public.profiles
for each row execute function automatch.create_feed_counter();

create function automatch.feed_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.feed_entries as e where e.profile_id = old.profile_id;
    return null;
end
$$;

create trigger feed_counters_removed after delete on automatch.feed_counters
for each row execute function automatch.feed_removed();

-- The order of locks, which prevents deadlocks: profiles (for update: only one), feed_counters, faces,
-- jobs; each by id.
create function automatch.lock_feeds(p_profile_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select h.profile_id from automatch.feed_counters as h
    where h.profile_id = any (p_profile_ids)
    order by h.profile_id
    for no key update
$$;

create function automatch.notify_feeds(p_profile_ids uuid[])
returns void language sql set search_path = pg_catalog, pg_temp
as $$
    -- A notification carries at most 8,000 bytes; an empty one is for everybody.
    select pg_notify('automatch_feed', string_agg(f.id::text, ',' order by f.id))
    from (
        select p.id, (row_number() over (order by p.id) - 1) / 200 as part
        from (select distinct unnest(p_profile_ids) as id) as p
        where p.id is not null
    ) as f
    group by f.part
$$;
comment on function automatch.notify_feeds(uuid[]) is
    'Notify servers whose feed or jobs change with this transaction. Ids alone: what changed each person reads.';

create function automatch.notify_job_owners(p_job_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.notify_feeds(array(select j.user_id from public.match_jobs as j where j.id = any (p_job_ids)))
$$;
comment on function automatch.notify_job_owners(uuid[]) is 'Notify servers that these jobs change.';

create function automatch.renumber_matches(p_match_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- complete_match_jobs() inserts matches under this lock. After an insert without it, a higher number may
    -- have been read meanwhile, and readers would skip this one.
    update public.matches as m
    set number = nextval('automatch.match_numbers')
    where m.id = any (p_match_ids)
      and exists (
          select from automatch.feed_counters as h
          where h.profile_id in (m.profile_a_id, m.profile_b_id) and h.last_match >= m.number
      )
$$;
comment on function automatch.renumber_matches(uuid[]) is
    'Draw higher numbers for matches that were not inserted under the lock of both feeds.';

create function automatch.publish_new_matches(p_match_ids uuid[], p_now timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with sides as materialized (
        select m.id, m.similarity, m.number, side.profile_id, side.other_profile_id
        from public.matches as m
        cross join lateral (
            values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
        ) as side (profile_id, other_profile_id)
        where m.id = any (p_match_ids)
    ),
    -- The entry of two people shows their best pair of photos; a worse one changes nothing.
    better as (
        select distinct on (s.profile_id, s.other_profile_id) s.*, shown.is_there
        from sides as s
        -- "limit" forces one lookup for each pair: a join that is planned while feeds are small would read all
        -- of them from then on.
        left join lateral (
            select true as is_there, m.similarity
            from automatch.feed_entries as e
            left join public.matches as m on m.id = e.match_id
            where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id
            limit 1
        ) as shown on true
        where shown.similarity is null or shown.similarity < s.similarity
        order by s.profile_id, s.other_profile_id, s.similarity desc, s.id
    ),
    -- The best match gets the highest position, which feeds show first. From the counters as they are locked: joined
    -- with what updates them, each entry would be compared with each counter of a batch.
    placed as materialized (
        select n.*, h.last_position + row_number() over (
            partition by n.profile_id order by n.similarity, n.other_profile_id
        ) as position
        from better as n
        join automatch.feed_counters as h on h.profile_id = n.profile_id
    ),
    -- One update for each counter: a second one would check its foreign key again, and so lock the profile
    -- after the feeds.
    grown as materialized (
        select c.profile_id, max(c.number) as last_match, max(c.position) as last_position
        from (
            select s.profile_id, s.number, 0 as position from sides as s
            union all
            select p.profile_id, p.number, p.position from placed as p
        ) as c
        group by c.profile_id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = greatest(h.last_position, g.last_position), last_match = greatest(h.last_match, g.last_match)
        from grown as g
        where h.profile_id = g.profile_id
    ),
    -- Apart from the others, mostly none: planned while feeds are small, each entry is compared with each of these.
    there as materialized (select p.* from placed as p where p.is_there),
    moved as (
        update automatch.feed_entries as e
        set position = p.position, place = p.position, match_id = p.id, created_at = p_now, seen_at = null
        from there as p
        where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id
    )
    -- Not "on conflict", which writes two records for each row: with both feeds locked nobody else adds one.
    insert into automatch.feed_entries (profile_id, other_profile_id, position, place, match_id, created_at)
    select p.profile_id, p.other_profile_id, p.position, p.position, p.id, p_now
    from placed as p
    where p.is_there is null;
end
$$;
comment on function automatch.publish_new_matches(uuid[], timestamptz) is
    'publish_matches() for matches that were inserted while both feeds were locked; notifies nobody.';

create function automatch.publish_matches(p_match_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile_ids uuid[] := array(
        select unnest(array[m.profile_a_id, m.profile_b_id])
        from public.matches as m where m.id = any (p_match_ids)
    );
begin
    perform automatch.lock_feeds(v_profile_ids);
    perform automatch.renumber_matches(p_match_ids);
    perform automatch.publish_new_matches(p_match_ids, automatch.now());
    perform automatch.notify_feeds(v_profile_ids);
end
$$;
comment on function automatch.publish_matches(uuid[]) is 'Put matches into both feeds.';

create function automatch.move_feed_entries(p_profile_ids uuid[], p_other_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with placed as (
        select e.profile_id, e.other_profile_id,
            row_number() over (partition by e.profile_id order by e.position) as step
        from unnest(p_profile_ids, p_other_profile_ids) as m (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = m.profile_id and e.other_profile_id = m.other_profile_id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = h.last_position + c.entries
        from (select p.profile_id, count(*) as entries from placed as p group by p.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_position - c.entries as before
    )
    update automatch.feed_entries as e
    set position = h.before + p.step, place = h.before + p.step
    from placed as p
    join counters as h on h.profile_id = p.profile_id
    where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform automatch.notify_feeds(p_profile_ids);
    end if;
end
$$;
comment on function automatch.move_feed_entries(uuid[], uuid[]) is
    'Move entries to the top of their feeds, in their old order, so that open pages update them. The feeds are '
    'locked first.';

create function automatch.resend_feed_entries(p_profile_id uuid, p_other_profile_ids uuid[], p_is_news boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with placed as (
        select e.other_profile_id, row_number() over (order by e.position) as step
        from automatch.feed_entries as e
        where e.profile_id = p_profile_id and e.other_profile_id = any (p_other_profile_ids)
          -- Or whoever is hidden from the other, or hides, would learn that something happened.
          and automatch.may_see(e.profile_id, e.other_profile_id)
          and automatch.may_see(e.other_profile_id, e.profile_id)
    ),
    counter as (
        update automatch.feed_counters as h
        set last_position = h.last_position + (select count(*) from placed)
        where h.profile_id = p_profile_id
        returning h.last_position - (select count(*) from placed) as before
    )
    update automatch.feed_entries as e
    set position = c.before + p.step, place = case when p_is_news then c.before + p.step else e.place end,
        seen_at = case when not p_is_news then e.seen_at end
    from placed as p cross join counter as c
    where e.profile_id = p_profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform automatch.notify_feeds(array[p_profile_id]);
    end if;
end
$$;
comment on function automatch.resend_feed_entries(uuid, uuid[], boolean) is
    'Have open pages read some entries of a feed, which is locked, again, of those where each sees the other; those that '
    'are news go to the top and are new again.';

create function automatch.bump_feed_entries(p_match_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.move_feed_entries(array_agg(e.profile_id), array_agg(e.other_profile_id))
    from public.matches as m
    cross join lateral (
        values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
    ) as side (profile_id, other_profile_id)
    join automatch.feed_entries as e
        on e.profile_id = side.profile_id and e.other_profile_id = side.other_profile_id and e.match_id = m.id
    where m.id = any (p_match_ids)
$$;
comment on function automatch.bump_feed_entries(uuid[]) is 'Move the entries that show these matches to the top.';

create function automatch.list_viewers(p_profile_id uuid, p_other_profile_id uuid)
returns uuid[] language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array[p_profile_id, p_other_profile_id]);
    return array(
        select v.viewer
        from (values (p_profile_id, p_other_profile_id), (p_other_profile_id, p_profile_id)) as v (viewer, other)
        where automatch.may_see(v.viewer, v.other)
    );
end
$$;
comment on function automatch.list_viewers(uuid, uuid) is 'Which of two people see the other; locks both feeds.';

create function automatch.show_best_match(p_profile_id uuid, p_other_profile_id uuid, p_told uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces constant uuid[] := array(
        select f.id from public.faces as f where f.profile_id in (p_profile_id, p_other_profile_id)
    );
    v_match_id uuid;
    v_side uuid;
    v_position bigint;
begin
    -- Two photos of one person are no match. Without an index of its own, which each match would write.
    select m.id into v_match_id
    from public.matches as m
    where m.face_a_id = any (v_faces) and m.face_b_id = any (v_faces)
    order by m.similarity desc, m.id
    limit 1;
    foreach v_side in array array[p_profile_id, p_other_profile_id] loop
        update automatch.feed_counters as h
        set last_position = h.last_position + 1
        where h.profile_id = v_side
          and v_side = any (p_told)
          and exists (
              select from automatch.feed_entries as e
              where e.profile_id = v_side
                and e.other_profile_id in (p_profile_id, p_other_profile_id)
          )
        returning h.last_position into v_position;
        update automatch.feed_entries as e
        set position = coalesce(v_position, e.position), match_id = v_match_id,
            last_match_id = coalesce(e.match_id, e.last_match_id)
        where e.profile_id = v_side
          and e.other_profile_id in (p_profile_id, p_other_profile_id);
        if v_position is not null then
            perform automatch.notify_feeds(array[v_side]);
        end if;
    end loop;
end
$$;
comment on function automatch.show_best_match(uuid, uuid, uuid[]) is
    'Put the best remaining match of two people, or none, in both feeds, which are locked. Only open pages of p_told '
    'read it: whoever does not see the other must not learn that something happened.';

create function automatch.refresh_feeds(p_profile_id uuid, p_other_profile_id uuid, p_viewers uuid[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_both constant uuid[] := array[p_profile_id, p_other_profile_id];
    v_viewers constant uuid[] := automatch.list_viewers(p_profile_id, p_other_profile_id);
begin
    perform automatch.show_best_match(p_profile_id, p_other_profile_id, array(
        select s.id from unnest(v_both) as s (id)
        where p_viewers is null or (s.id = any (p_viewers)) <> (s.id = any (v_viewers))
    ));
end
$$;
comment on function automatch.refresh_feeds(uuid, uuid, uuid[]) is
    'Show the best remaining match of two people in both feeds, or remove the card. Given those who saw the other before, '
    'only where that has changed: nobody is told of what changes nothing for them.';

create function automatch.matches_deleted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array(
        select unnest(array[g.profile_a_id, g.profile_b_id]) from deleted_matches as g
    ));
    perform automatch.show_best_match(pair.low, pair.high, automatch.list_viewers(pair.low, pair.high))
    from (
        select distinct
            least(g.profile_a_id, g.profile_b_id) as low,
            greatest(g.profile_a_id, g.profile_b_id) as high
        from deleted_matches as g
        -- A card that shows another pair of photos does not change.
        where exists (
            select from automatch.feed_entries as e
            where e.match_id = g.id
              and e.profile_id in (g.profile_a_id, g.profile_b_id)
              and e.other_profile_id in (g.profile_a_id, g.profile_b_id)
        )
    ) as pair;
    return null;
end
$$;

create trigger matches_deleted
after delete on public.matches
referencing old table as deleted_matches
for each statement execute function automatch.matches_deleted();

create function public.feed_page(
    p_before bigint default null, p_after bigint default null, p_limit integer default 20
)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        e.position, m.id, e.other_profile_id, p.name, p.school,
        case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end,
        case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end,
        automatch.shown_similarity(m.similarity),
        p.simulated, e.created_at, coalesce(e.match_id, e.last_match_id), e.place,
        l.profile_id is not null, coalesce(l.mutual, false), coalesce(l.was_mutual and e.seen_at is null, false),
        l.sentence, l.handle,
        m.id is not null and e.seen_at is null
    from automatch.feed_entries as e
    left join public.matches as m
        on m.id = e.match_id and automatch.may_see(e.profile_id, e.other_profile_id)
    left join public.profiles as p on p.id = e.other_profile_id and m.id is not null
    left join automatch.shown_likes as l
        on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id and m.id is not null
    where e.profile_id = (select automatch.uid())
      and (p_before is null or e.place < p_before)
      and (p_after is null or e.position > p_after)
      -- Removed cards only matter to pages that are open.
      and (m.id is not null or p_after is not null)
    order by
        case when p_after is null then e.place end desc,
        case when p_after is not null then e.position end
    limit least(greatest(p_limit, 1), 100)
$$;
comment on function public.feed_page(bigint, bigint, integer) is
    'The caller''s feed: newest first before a place, or what changed after a position, oldest change first, there '
    'with a null match_id for removed cards. sentence and handle: what the other shares, once both have liked. '
    'was_mutual: that both did and the other took it back, until the caller has seen it.';

create function public.feed_position()
returns bigint language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_position from automatch.feed_counters as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.feed_position() is 'The last position of the caller''s feed.';

-- Many people are read for at once, each as himself: the role and the claims change inside of one statement. So the
-- policies say what each sees, and nobody has to say it again for many.
create function public.take_role_of(p_claims jsonb)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if p_claims ->> 'role' is distinct from 'authenticated' or not public.is_session_live(p_claims) then
        return false;
    end if;
    perform set_config('request.jwt.claims', p_claims::text, true), set_config('role', 'authenticated', true);
    return true;
end
$$;
comment on function public.take_role_of(jsonb) is
    'Take the role and the claims of a person until the role is set to none, unless their session has ended.';

create function public.read_feed_positions(p_claims jsonb[])
returns table (reader integer, "position" bigint)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, public.feed_position();
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_feed_positions(jsonb[]) is
    'feed_position() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.read_feeds(p_claims jsonb[], p_after bigint[], p_limit integer default 100)
returns table (
    reader integer, "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid,
    own_face_id uuid, similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid,
    place bigint, liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, f.*
                from public.feed_page(p_after => p_after[v_reader], p_limit => p_limit) as f;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_feeds(jsonb[], bigint[], integer) is
    'feed_page() after a position as each of many people, under row level security as that person; nothing of ended '
    'sessions.';

create function public.read_own_jobs(p_claims jsonb[], p_limit integer default 20)
returns table (
    reader integer, id uuid, face_id uuid, status text, attempts smallint, max_attempts smallint, error_code text,
    error_message text, created_at timestamptz, started_at timestamptz, completed_at timestamptz, match_count integer,
    timings jsonb, face_boxes jsonb, refused_picture jsonb, request_id uuid, matches_now integer
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, j.id, j.face_id, j.status, j.attempts, j.max_attempts, j.error_code, j.error_message,
                    j.created_at, j.started_at, j.completed_at, j.match_count, j.timings, j.face_boxes, j.refused_picture,
                    j.request_id,
                    case when j.status = 'completed' then automatch.count_shown_matches(j.face_id) end
                from public.match_jobs as j
                where j.user_id = automatch.uid()
                order by j.created_at desc, j.id
                limit p_limit;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_own_jobs(jsonb[], integer) is
    'The newest jobs of each of many people, under row level security as that person; nothing of ended sessions.';

create function public.read_new_matches(p_claims jsonb[], p_after bigint[], p_limit integer default 100)
returns table (
    reader integer, number bigint, id uuid, face_a_id uuid, face_b_id uuid, created_at timestamptz
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, n.number, m.id, m.face_a_id, m.face_b_id, m.created_at
                from public.matches_after(p_after[v_reader], p_limit) as n
                left join public.matches as m on m.id = n.match_id
                order by n.number;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_new_matches(jsonb[], bigint[], integer) is
    'New matches of each of many people, in order, under row level security as that person, with a null id where a '
    'match is deleted or may not be read; nothing of ended sessions.';

create function public.feed_versions(p_profile_ids uuid[])
returns table (profile_id uuid, last_position bigint, jobs_version bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- With the number of the last match: a subscriber also gets matches that the feed does not show. And with what
    -- was seen, which the person's other pages show too.
    select h.profile_id, h.last_position, coalesce(jobs.version, 0) + h.last_match + h.seen_count
    from automatch.feed_counters as h
    cross join lateral (
        -- The token changes with every claim, even if a job fails twice in the same way between two calls.
        select sum(
            pg_catalog.hashtextextended(j.id::text || j.status || j.attempts::text || j.lease_token::text, 0) >> 8
        )::bigint as version
        from (
            select m.id, m.status, m.attempts, m.lease_token from public.match_jobs as m
            where m.user_id = h.profile_id
            order by m.created_at desc
            limit 20
        ) as j
    ) as jobs
    where h.profile_id = any (p_profile_ids)
$$;
comment on function public.feed_versions(uuid[]) is
    'Numbers that change whenever the feed or the newest jobs of a person change, so that a server knows whom '
    'to notify.';
