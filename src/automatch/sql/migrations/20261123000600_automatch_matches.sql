-- Matches, what people say about them, and the position of each in a person's feed.

create table public.matches (
    id uuid primary key default gen_random_uuid(),
    face_a_id uuid not null references public.faces (id) on delete cascade,
    face_b_id uuid not null references public.faces (id) on delete cascade,
    profile_a_id uuid not null,
    profile_b_id uuid not null,
    similarity double precision not null,
    created_at timestamptz not null default automatch.now(),
    constraint pair_is_ordered check (face_a_id < face_b_id),
    constraint pair_is_of_two_people check (profile_a_id <> profile_b_id),
    constraint similarity_is_0_to_1 check (similarity between 0 and 1),
    constraint pair_is_unique unique (face_a_id, face_b_id)
);
comment on table public.matches is 'A pair of faces that look alike; one row for both people.';
create index matches_face_b_idx on public.matches (face_b_id);
-- The best remaining match of two people, when one of their photos goes.
create index matches_people_idx on public.matches
    (least(profile_a_id, profile_b_id), greatest(profile_a_id, profile_b_id), similarity desc);

create table public.match_dismissals (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    other_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, other_profile_id)
);
comment on table public.match_dismissals is '"Not a match", said by profile_id; obeyed by later runs.';
create index match_dismissals_other_idx on public.match_dismissals (other_profile_id);

create table public.profile_blocks (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    blocked_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, blocked_profile_id)
);
comment on table public.profile_blocks is 'Neither of the two sees the other any more.';
create index profile_blocks_blocked_idx on public.profile_blocks (blocked_profile_id);

-- A person's feed is a list of people, each at a position. Whoever writes into it
-- first locks the person's head until commit, so positions are without gaps and in
-- the order of commits: a reader that has seen position n has seen everything below.
create table automatch.feed_heads (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    last_pos bigint not null default 0
);

create table automatch.feed_entries (
    profile_id uuid not null references automatch.feed_heads (profile_id) on delete cascade,
    other_profile_id uuid not null,
    pos bigint not null,
    match_id uuid,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, other_profile_id),
    constraint position_is_unique unique (profile_id, pos)
);
comment on column automatch.feed_entries.match_id is
    'The best match of the two; null when none is left, so that open pages take the card away.';

create function automatch.open_feed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.feed_heads (profile_id) values (new.id) on conflict do nothing;
    return null;
end
$$;

create trigger profiles_open_feed
after insert on public.profiles
for each row execute function automatch.open_feed();

-- Who locks more than one thing does it in this order, so that nobody waits in a
-- circle: profile (for update: only one), feed heads (by id), faces (by id), jobs (by id).
create function automatch.lock_feeds(p_profile_ids uuid[])
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.profile_id from automatch.feed_heads as h
    where h.profile_id = any (p_profile_ids)
    order by h.profile_id
    for no key update
$$;

create function automatch.lock_for_erasing(p_profile_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    perform from public.profiles as p where p.id = p_profile_id for update;
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

create function automatch.put_in_feeds(p_match_ids uuid[])
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array(
        select unnest(array[m.profile_a_id, m.profile_b_id])
        from public.matches as m where m.id = any (p_match_ids)
    ));

    with sides as (
        select m.id, m.similarity, m.profile_a_id as profile_id, m.profile_b_id as other_profile_id
        from public.matches as m where m.id = any (p_match_ids)
        union all
        select m.id, m.similarity, m.profile_b_id, m.profile_a_id
        from public.matches as m where m.id = any (p_match_ids)
    ),
    -- Of two people the best pair of photos is shown; a worse one changes nothing.
    news as (
        select distinct on (s.profile_id, s.other_profile_id) s.*
        from sides as s
        left join automatch.feed_entries as e
            on e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id
        left join public.matches as shown on shown.id = e.match_id
        where shown.id is null or shown.similarity < s.similarity
        order by s.profile_id, s.other_profile_id, s.similarity desc, s.id
    ),
    -- The best match gets the highest position: a feed shows the newest first.
    placed as (
        select n.*, row_number() over (
            partition by n.profile_id order by n.similarity, n.other_profile_id
        ) as step
        from news as n
    ),
    heads as (
        update automatch.feed_heads as h
        set last_pos = h.last_pos + c.entries
        from (select p.profile_id, count(*) as entries from placed as p group by p.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_pos - c.entries as before
    )
    insert into automatch.feed_entries (profile_id, other_profile_id, pos, match_id, created_at)
    select p.profile_id, p.other_profile_id, h.before + p.step, p.id, automatch.now()
    from placed as p
    join heads as h on h.profile_id = p.profile_id
    on conflict (profile_id, other_profile_id)
        do update set pos = excluded.pos, match_id = excluded.match_id, created_at = excluded.created_at;

    perform pg_catalog.pg_notify('automatch_feed', '');
end
$$;

create function automatch.refresh_feeds(p_profile_id uuid, p_other_profile_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_match_id uuid;
    v_side uuid;
begin
    perform automatch.lock_feeds(array[p_profile_id, p_other_profile_id]);
    select m.id into v_match_id
    from public.matches as m
    where least(m.profile_a_id, m.profile_b_id) = least(p_profile_id, p_other_profile_id)
      and greatest(m.profile_a_id, m.profile_b_id) = greatest(p_profile_id, p_other_profile_id)
    order by m.similarity desc, m.id
    limit 1;
    foreach v_side in array array[p_profile_id, p_other_profile_id] loop
        with moved as (
            update automatch.feed_heads as h
            set last_pos = h.last_pos + 1
            where h.profile_id = v_side
              and exists (
                  select from automatch.feed_entries as e
                  where e.profile_id = v_side
                    and e.other_profile_id in (p_profile_id, p_other_profile_id)
              )
            returning h.last_pos
        )
        update automatch.feed_entries as e
        set pos = moved.last_pos, match_id = v_match_id, created_at = automatch.now()
        from moved
        where e.profile_id = v_side
          and e.other_profile_id in (p_profile_id, p_other_profile_id);
    end loop;
    perform pg_catalog.pg_notify('automatch_feed', '');
end
$$;
comment on function automatch.refresh_feeds(uuid, uuid) is
    'Show the best remaining match of two people in both feeds, or take the card away.';

create function automatch.matches_deleted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array(
        select unnest(array[g.profile_a_id, g.profile_b_id]) from gone as g
    ));
    perform automatch.refresh_feeds(pair.low, pair.high)
    from (
        select distinct
            least(g.profile_a_id, g.profile_b_id) as low,
            greatest(g.profile_a_id, g.profile_b_id) as high
        from gone as g
        -- A card that shows another pair of photos stays as and where it is.
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
referencing old table as gone
for each statement execute function automatch.matches_deleted();

do $$
declare
    v_table text;
begin
    foreach v_table in array array[
        'public.matches', 'public.match_dismissals', 'public.profile_blocks',
        'automatch.feed_heads', 'automatch.feed_entries'
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

revoke execute on all functions in schema automatch from public;
