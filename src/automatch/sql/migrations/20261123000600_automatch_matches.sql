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

create function automatch.hidden_from(p_profile_id uuid)
returns setof uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.other_profile_id from public.match_dismissals as d where d.profile_id = p_profile_id
    union
    select d.profile_id from public.match_dismissals as d where d.other_profile_id = p_profile_id
    union
    select b.blocked_profile_id from public.profile_blocks as b where b.profile_id = p_profile_id
    union
    select b.profile_id from public.profile_blocks as b where b.blocked_profile_id = p_profile_id
$$;
comment on function automatch.hidden_from(uuid) is
    'People a person neither sees nor is shown to: dismissed or blocked, by either of the two.';

create function automatch.may_see(p_viewer_id uuid, p_other_id uuid)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from public.profiles as me
        join public.profiles as other
            on other.school = me.school
            and other.gender <> me.gender
            and other.profile_type = 'user'
            and other.discoverable
        where me.id = p_viewer_id
          and other.id = p_other_id
          and other.id not in (select automatch.hidden_from(p_viewer_id))
    )
$$;
comment on function automatch.may_see(uuid, uuid) is
    'Whether a match of the two is still allowed: what a later run would find again.';

create function automatch.caller_may_see(p_other_id uuid)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select automatch.may_see((select automatch.uid()), p_other_id) $$;

create function public.feed_page(
    p_before bigint default null, p_after bigint default null, p_limit integer default 20
)
returns table (
    pos bigint,
    match_id uuid,
    profile_id uuid,
    name text,
    school text,
    face_id uuid,
    own_face_id uuid,
    similarity double precision,
    simulated boolean,
    created_at timestamptz
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        e.pos, m.id, e.other_profile_id, p.name, p.school,
        case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end,
        case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end,
        -- A person never sees the exact value: enough of those rebuild a template.
        round(m.similarity::numeric * 20)::double precision / 20,
        p.simulated, e.created_at
    from automatch.feed_entries as e
    left join public.matches as m
        on m.id = e.match_id and automatch.may_see(e.profile_id, e.other_profile_id)
    left join public.profiles as p on p.id = e.other_profile_id and m.id is not null
    where e.profile_id = (select automatch.uid())
      and (p_before is null or e.pos < p_before)
      and (p_after is null or e.pos > p_after)
      -- Who pages back needs no news of what has gone.
      and (m.id is not null or p_after is not null)
    order by
        case when p_after is null then e.pos end desc,
        case when p_after is not null then e.pos end
    limit least(greatest(p_limit, 1), 100)
$$;
comment on function public.feed_page(bigint, bigint, integer) is
    'The caller''s feed: newest first before a position, or oldest first after one, then with a '
    'null match_id for whoever has gone.';

create function public.feed_position()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_pos from automatch.feed_heads as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.feed_position() is 'The newest position of the caller''s feed.';

create function public.feed_marks(p_profile_ids uuid[])
returns table (profile_id uuid, last_pos bigint, jobs_mark bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.profile_id, h.last_pos, coalesce(jobs.mark, 0)
    from automatch.feed_heads as h
    cross join lateral (
        select sum(pg_catalog.hashtextextended(j.id::text || j.status || j.attempts::text, 0) >> 8)::bigint as mark
        from (
            select m.id, m.status, m.attempts from public.match_jobs as m
            where m.user_id = h.profile_id
            order by m.created_at desc
            limit 20
        ) as j
    ) as jobs
    where h.profile_id = any (p_profile_ids)
$$;
comment on function public.feed_marks(uuid[]) is
    'What changes when a feed or the last jobs of a person change: how a server with many readers '
    'learns whom to wake, and nothing else.';

create function public.viewable_photo(p_face_id uuid)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.image_path
    from public.faces as f
    where f.id = p_face_id
      and (
          f.profile_id = (select automatch.uid())
          or exists (
              select
              from automatch.feed_entries as e
              join public.matches as m on m.id = e.match_id
              where e.profile_id = (select automatch.uid())
                and e.other_profile_id = f.profile_id
                and f.id in (m.face_a_id, m.face_b_id)
                and automatch.may_see(e.profile_id, e.other_profile_id)
          )
      )
$$;
comment on function public.viewable_photo(uuid) is
    'Path of a photo that the caller may see: an own one, or that of a match in the feed.';

create function automatch.keep_both(p_profile_id uuid, p_other_profile_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if (
        select count(*)
        from (
            select from public.profiles as p
            where p.id in (p_profile_id, p_other_profile_id)
            for key share
        ) as kept
    ) < 2 then
        perform automatch.refuse('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
end
$$;
comment on function automatch.keep_both(uuid, uuid) is
    'Neither of the two is erased before this transaction ends; refuses when one is already.';

create function public.dismiss_match(p_match_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_other uuid;
begin
    select case when m.profile_a_id = automatch.uid() then m.profile_b_id else m.profile_a_id end
    into v_other
    from public.matches as m
    where m.id = p_match_id and automatch.uid() in (m.profile_a_id, m.profile_b_id);
    if not found then
        perform automatch.refuse('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.keep_both(automatch.uid(), v_other);
    insert into public.match_dismissals (profile_id, other_profile_id)
    values (automatch.uid(), v_other) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), v_other);
end
$$;

create function public.block_profile(p_profile_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only who has been seen can be blocked: else this tells which ids exist.
    if not exists (
        select from automatch.feed_entries as e
        where e.profile_id = automatch.uid() and e.other_profile_id = p_profile_id
    ) then
        perform automatch.refuse('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.keep_both(automatch.uid(), p_profile_id);
    insert into public.profile_blocks (profile_id, blocked_profile_id)
    values (automatch.uid(), p_profile_id) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), p_profile_id);
end
$$;

create function public.delete_face(p_face_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_for_erasing(automatch.uid());
    delete from public.faces where id = p_face_id and profile_id = automatch.uid();
    if not found then
        perform automatch.refuse('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
end
$$;
comment on function public.delete_face(uuid) is
    'Erase one of the caller''s photos with its template, jobs and matches.';

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

create policy own_matches on public.matches for select to authenticated using (
    (select automatch.uid()) in (profile_a_id, profile_b_id)
    and automatch.caller_may_see(
        case when profile_a_id = (select automatch.uid()) then profile_b_id else profile_a_id end
    )
);
-- Everything but the exact similarity.
grant select (id, face_a_id, face_b_id, created_at) on public.matches to authenticated;
create policy own_dismissals on public.match_dismissals for select to authenticated
    using (profile_id = (select automatch.uid()));
grant select on public.match_dismissals to authenticated;
create policy own_blocks on public.profile_blocks for select to authenticated
    using (profile_id = (select automatch.uid()));
grant select on public.profile_blocks to authenticated;

revoke execute on all functions in schema automatch from public;
-- The policy of matches calls it as the person who asks.
grant execute on function automatch.caller_may_see(uuid) to authenticated, service_role;
revoke execute on function
    public.feed_page(bigint, bigint, integer),
    public.feed_position(),
    public.feed_marks(uuid[]),
    public.viewable_photo(uuid),
    public.dismiss_match(uuid),
    public.block_profile(uuid),
    public.delete_face(uuid)
    from public, anon, authenticated;
grant execute on function
    public.feed_page(bigint, bigint, integer),
    public.feed_position(),
    public.viewable_photo(uuid),
    public.dismiss_match(uuid),
    public.block_profile(uuid),
    public.delete_face(uuid)
    to authenticated;
-- To the login itself: the server that fans out acts for nobody.
grant execute on function public.feed_marks(uuid[]) to automatch_api;
