-- Matches, dismissals and blocks, and who may see whom.
--
-- matches has a row for each pair of photos. A feed has an entry for each other person, with their best pair.

-- Subscribers to the table, such as supabase clients, get new rows in this order.
create sequence automatch.match_numbers;
create table public.matches (
    id uuid primary key default gen_random_uuid(),
    face_a_id uuid not null references public.faces (id) on delete cascade,
    face_b_id uuid not null references public.faces (id) on delete cascade,
    profile_a_id uuid not null,
    profile_b_id uuid not null,
    similarity double precision not null,
    created_at timestamptz not null default automatch.now(),
    cosine double precision not null,
    -- No foreign key: its check would lock one row of similarity_scales for every match.
    scale_version integer not null,
    number bigint not null default nextval('automatch.match_numbers'),
    constraint pair_is_ordered check (face_a_id < face_b_id),
    constraint pair_is_of_two_people check (profile_a_id <> profile_b_id),
    constraint similarity_is_0_to_1 check (similarity between 0 and 1),
    constraint cosine_is_a_cosine check (cosine between -1 and 1),
    constraint pair_is_unique unique (face_a_id, face_b_id)
);
comment on table public.matches is 'A pair of similar faces; one row for both people.';
comment on column public.matches.cosine is 'Of the two embeddings; similarity is computed from it.';
comment on column public.matches.scale_version is 'The scale of similarity, and so its model.';
comment on column public.matches.number is
    'Grows in the order in which matches of a person are committed: it is drawn while both feeds are locked.';
create index matches_face_b_idx on public.matches (face_b_id);
-- For matches that are still to be rescored, in the order of the feeds.
create index matches_scale_idx on public.matches (scale_version, created_at);

create table public.match_dismissals (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    other_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, other_profile_id)
);
comment on table public.match_dismissals is 'profile_id said "not a match"; later searches exclude the pair.';
create index match_dismissals_other_idx on public.match_dismissals (other_profile_id);

create table public.profile_blocks (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    blocked_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, blocked_profile_id)
);
comment on table public.profile_blocks is 'Neither of the two sees the other any more.';
create index profile_blocks_blocked_idx on public.profile_blocks (blocked_profile_id);

create function automatch.score_match()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model record;
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    -- From the embeddings, not from the similarity: the scale may have changed since the search.
    select -(
            coalesce(a.embedding, automatch.read_sharded_embedding(m.id, a.face_id))
            <#> coalesce(b.embedding, automatch.read_sharded_embedding(m.id, b.face_id))
        ) as cosine, m.midpoint, m.width, m.scale_version into v_model
    from public.embedding_models as m
    join public.face_embeddings as a on a.model = m.id and a.face_id = new.face_a_id
    join public.face_embeddings as b on b.model = m.id and b.face_id = new.face_b_id
    where m.active;
    if found then
        new.cosine := greatest(least(v_model.cosine, 1), -1);
        new.similarity := automatch.similarity(new.cosine, v_model.midpoint, v_model.width);
    else
        -- A row written by hand for photos without embeddings: the cosine follows from the similarity.
        select m.midpoint, m.width, m.scale_version into v_model from public.embedding_models as m where m.active;
        new.cosine := least(automatch.cosine_bound(new.similarity, v_model.midpoint, v_model.width), 1);
    end if;
    new.scale_version := v_model.scale_version;
    return new;
end
$$;
comment on function automatch.score_match() is
    'Store the cosine of a new match, and its similarity on the scale in use.';

create trigger matches_score before insert on public.matches
for each row when (new.cosine is null) execute function automatch.score_match();

create function public.rescore_matches(p_limit integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
    v_ids uuid[];
    v_profiles uuid[];
    v_others uuid[];
begin
    select s.version into v_version
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model and m.scale_version <> s.version
    where exists (select from public.matches as x where x.scale_version = s.version)
    order by s.version
    limit 1;
    if not found then
        return 0;
    end if;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
        order by x.created_at
        limit p_limit
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    with old as materialized (
        select x.id, x.similarity from public.matches as x
        where x.id = any (v_ids) and x.scale_version = v_version
    ),
    scored as (
        update public.matches as x
        set similarity = automatch.similarity(x.cosine, m.midpoint, m.width), scale_version = m.scale_version
        from old, automatch.similarity_scales as s, public.embedding_models as m
        where x.id = old.id and s.version = v_version and m.id = s.model
        returning x.id, x.profile_a_id, x.profile_b_id,
            automatch.shown_similarity(x.similarity) <> automatch.shown_similarity(old.similarity) as is_shown_otherwise
    ),
    shown as (
        select e.profile_id, e.other_profile_id,
            bool_or(s.is_shown_otherwise) over (partition by e.profile_id) as moves
        from scored as s
        cross join lateral (
            values (s.profile_a_id, s.profile_b_id), (s.profile_b_id, s.profile_a_id)
        ) as side (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = side.profile_id
            and e.other_profile_id = side.other_profile_id
            and e.match_id = s.id
    )
    select array_agg(s.profile_id), array_agg(s.other_profile_id) into v_profiles, v_others
    from shown as s
    where s.moves;
    -- Where the shown number of one entry changes, all rescored entries of the feed move: moved alone, the
    -- changed ones would end up above better and newer ones.
    perform automatch.move_feed_entries(v_profiles, v_others);
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches(integer) is
    'Rescore some matches of an older scale, and update both feeds. How many; call again until it is 0.';

create function automatch.excluded_profile_ids(p_profile_id uuid)
returns setof uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p_profile_id $$;
comment on function automatch.excluded_profile_ids(uuid) is 'excluded_profiles of one person; of many, ask the view.';

create function automatch.may_see(p_viewer_id uuid, p_other_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from public.profiles as me
        join public.profiles as other
            on other.school = me.school
            and other.gender <> me.gender
            and other.profile_type = 'user'
            and other.discoverable
            and other.admitted
        where me.id = p_viewer_id
          and me.admitted
          and other.id = p_other_id
          and not exists (
              select from automatch.excluded_profiles as x
              where x.profile_id = p_viewer_id and x.other_profile_id = other.id
          )
    )
$$;
comment on function automatch.may_see(uuid, uuid) is 'Whether a search would still find the other person.';

create function automatch.caller_may_see(p_other_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select automatch.may_see((select automatch.uid()), p_other_id) $$;

create function automatch.count_shown_matches(p_face_id uuid)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(distinct o.id)::integer
    from public.profiles as me
    join public.faces as f on f.id = p_face_id and f.profile_id = me.id
    join public.matches as m on f.id in (m.face_a_id, m.face_b_id)
    -- The rules of may_see(), once for all.
    join public.profiles as o
        on o.id = case when m.profile_a_id = me.id then m.profile_b_id else m.profile_a_id end
        and o.school = me.school and o.gender <> me.gender and o.profile_type = 'user' and o.discoverable
        and o.admitted
    where me.id = (select automatch.uid()) and me.admitted
      and o.id not in (select automatch.excluded_profile_ids(me.id))
$$;
comment on function automatch.count_shown_matches(uuid) is
    'How many people a photo of the caller matches now, of those whom the caller may see.';

create function automatch.lock_both_profiles(p_profile_id uuid, p_other_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
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
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
end
$$;
comment on function automatch.lock_both_profiles(uuid, uuid) is
    'Prevent that either is erased before this transaction ends; an error if one is already.';

create function public.dismiss_match(p_match_id uuid)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_other uuid;
    v_viewers uuid[];
begin
    select case when m.profile_a_id = automatch.uid() then m.profile_b_id else m.profile_a_id end
    into v_other
    from public.matches as m
    where m.id = p_match_id and automatch.uid() in (m.profile_a_id, m.profile_b_id);
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.lock_both_profiles(automatch.uid(), v_other);
    v_viewers := automatch.list_viewers(automatch.uid(), v_other);
    insert into public.match_dismissals (profile_id, other_profile_id)
    values (automatch.uid(), v_other) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), v_other, v_viewers);
    return v_other;
end
$$;
comment on function public.dismiss_match(uuid) is 'Hide the two of a match from each other; the other person''s id.';

create function public.block_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_viewers uuid[];
begin
    -- Only people of the feed: otherwise this would tell which ids exist.
    if not exists (
        select from automatch.feed_entries as e
        where e.profile_id = automatch.uid() and e.other_profile_id = p_profile_id
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    insert into public.profile_blocks (profile_id, blocked_profile_id)
    values (automatch.uid(), p_profile_id) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), p_profile_id, v_viewers);
end
$$;

create function automatch.unhide_profile(p_other_profile_id uuid, p_since timestamptz, p_viewers uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.refresh_feeds(automatch.uid(), p_other_profile_id, p_viewers);
    perform automatch.tell_of_reader(p_other_profile_id, automatch.uid(), p_since);
    -- Undone at once, as the page offers it, and nothing was searched for meanwhile: there is nothing to find. The other's
    -- jobs are not asked: whether this searches would tell of them.
    if p_since > automatch.now() - interval '20 seconds' and not exists (
        select from public.match_jobs as j
        where j.user_id = automatch.uid() and (j.completed_at is null or j.completed_at > p_since)
    ) then
        return;
    end if;
    -- Only the caller's photos: jobs of the other person would tell them that something happened. A match is
    -- one row for both, so the other's photos would find nothing else.
    perform automatch.enqueue_profile_searches(automatch.uid());
end
$$;
comment on function automatch.unhide_profile(uuid, timestamptz, uuid[]) is
    'Bring back the matches with a person whom the caller has hidden until now, and search again. p_viewers: those of the '
    'two who saw the other while it was hidden.';

create function public.unblock_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since timestamptz;
    v_viewers uuid[];
begin
    -- For enqueue_searches(); after the feeds it would be out of order.
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    delete from public.profile_blocks
    where profile_id = automatch.uid() and blocked_profile_id = p_profile_id
    returning created_at into v_since;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.unhide_profile(p_profile_id, v_since, v_viewers);
end
$$;
comment on function public.unblock_profile(uuid) is
    'Undo block_profile(). The two see each other again unless the other has blocked or dismissed too.';

create function public.undo_dismissal(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since timestamptz;
    v_viewers uuid[];
begin
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    delete from public.match_dismissals
    where profile_id = automatch.uid() and other_profile_id = p_profile_id
    returning created_at into v_since;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.unhide_profile(p_profile_id, v_since, v_viewers);
end
$$;
comment on function public.undo_dismissal(uuid) is 'Undo dismiss_match(), for all matches with a person.';

create function public.list_hidden_profiles()
returns table (profile_id uuid, name text, is_blocked boolean, is_dismissed boolean, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        h.profile_id,
        -- Only while the feed would show it: hiding somebody must not be a way to follow them.
        case when p.school = me.school and p.gender <> me.gender and p.profile_type = 'user'
                  and p.discoverable and p.admitted and me.admitted and automatch.has_consent(p.id)
             then p.name end,
        bool_or(h.is_block), bool_or(not h.is_block), max(h.created_at)
    from (
        select b.blocked_profile_id as profile_id, true as is_block, b.created_at
        from public.profile_blocks as b where b.profile_id = (select automatch.uid())
        union all
        select d.other_profile_id, false, d.created_at
        from public.match_dismissals as d where d.profile_id = (select automatch.uid())
    ) as h
    join public.profiles as p on p.id = h.profile_id
    join public.profiles as me on me.id = (select automatch.uid())
    group by h.profile_id, p.id, me.id
    order by max(h.created_at) desc, h.profile_id
    limit 100
$$;
comment on function public.list_hidden_profiles() is
    'Whom the caller blocked or dismissed, newest first. Not who blocked or dismissed the caller.';

create function public.last_match_number()
returns bigint language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_match from automatch.feed_counters as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.last_match_number() is 'The highest number of a match of the caller.';

create function public.matches_after(p_number bigint, p_limit integer default 100)
returns table (number bigint, match_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select n.number, n.id
    from automatch.feed_counters as h
    cross join lateral (
        select m.number, m.id
        from public.faces as f
        join public.matches as m on m.face_a_id = f.id
        where f.profile_id = h.profile_id and m.number > p_number
        union all
        select m.number, m.id
        from public.faces as f
        join public.matches as m on m.face_b_id = f.id
        where f.profile_id = h.profile_id and m.number > p_number
    ) as n
    where h.profile_id = (select automatch.uid()) and h.last_match > p_number
    order by n.number
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.matches_after(bigint, integer) is
    'The ids of the caller''s matches with higher numbers, in order. Row level security decides which of them '
    'the caller may read.';
