-- Who is told of new look-alikes while no page is open: devices by web push, people by a mail now and then.
--
-- Nothing is written while matches are made. What is new is what lies above the last position that was told, has not
-- been seen on any page, and is old enough that an open page would have shown it.

create table automatch.push_subscriptions (
    id uuid primary key default gen_random_uuid(),
    profile_id uuid not null references public.profiles (id) on delete cascade,
    -- No foreign key: another server may keep the sessions. Null where none here knows when it ends.
    session_id uuid,
    endpoint text not null,
    p256dh text not null,
    auth text not null,
    language text not null,
    renewed_at timestamptz not null default automatch.now(),
    told_at timestamptz not null default automatch.now(),
    told_position bigint not null default 0,
    run_at timestamptz not null default automatch.now(),
    attempts smallint not null default 0,
    lease_token integer not null default 0,
    constraint endpoint_is_single unique (endpoint),
    constraint endpoint_is_https check (endpoint ~ '^https://' and length(endpoint) <= 1000),
    constraint keys_are_short check (length(p256dh) between 80 and 100 and length(auth) between 20 and 40)
);
comment on table automatch.push_subscriptions is
    'Devices that a person asked to be told on. One belongs to the session in which it was asked, and ends with it; or 30 '
    'days after it was renewed, where nobody here knows when the session ends.';
comment on column automatch.push_subscriptions.told_at is 'Likes of both up to then are told; told_position is that of the feed.';
comment on column automatch.push_subscriptions.lease_token is 'Grows with each taking: a server whose lease has ended settles nothing.';
comment on column automatch.push_subscriptions.endpoint is 'Whoever has it and the two keys may send to the device.';
create index push_subscriptions_profile_idx on automatch.push_subscriptions (profile_id);
create index push_subscriptions_run_idx on automatch.push_subscriptions (run_at);

create table automatch.digests (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    every interval not null,
    due_at timestamptz not null,
    told_position bigint not null default 0,
    token uuid not null default gen_random_uuid(),
    constraint digest_is_daily_or_weekly check (every in ('1 day', '7 days'))
);
comment on table automatch.digests is 'People who want a mail about what is new and unseen. Its token ends that without a sign-in.';
create index digests_due_idx on automatch.digests (due_at);
create unique index digests_token_idx on automatch.digests (token);

create function automatch.count_news(p_profile_id uuid, p_after bigint, p_until bigint default null)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*)::integer from (
        select from automatch.feed_entries as e
        where e.profile_id = p_profile_id and e.position > p_after and (p_until is null or e.position <= p_until)
          and e.seen_at is null and e.match_id is not null
          and automatch.may_see(e.profile_id, e.other_profile_id)
        limit 100
    ) as found
$$;
comment on function automatch.count_news(uuid, bigint, bigint) is
    'How many matches above a position, and up to another, a person has not seen; at most 100.';

create function public.save_push_subscription(p_endpoint text, p_p256dh text, p_auth text, p_language text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    perform from public.profiles as p where p.id = v_me for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    insert into automatch.push_subscriptions as s (profile_id, session_id, endpoint, p256dh, auth, language, told_position)
    values (
        v_me,
        case
            when (automatch.claims() ->> 'external')::boolean and not public.is_session_live(automatch.claims() - 'external') then null
            else (automatch.claims() ->> 'session_id')::uuid
        end,
        p_endpoint, p_p256dh, p_auth, p_language,
        coalesce((select h.last_position from automatch.feed_counters as h where h.profile_id = v_me), 0)
    )
    -- The device may have been somebody else's, who is told on it no more. Its browser knows the keys.
    on conflict on constraint endpoint_is_single do update
        set profile_id = excluded.profile_id, session_id = excluded.session_id, p256dh = excluded.p256dh,
            auth = excluded.auth, language = excluded.language, told_position = excluded.told_position, told_at = automatch.now(),
            run_at = automatch.now(), attempts = 0, renewed_at = automatch.now(), lease_token = s.lease_token + 1
        where s.profile_id = excluded.profile_id or (s.p256dh, s.auth) = (excluded.p256dh, excluded.auth);
    if not found then
        perform automatch.raise_error('forbidden', 'This device is somebody else''s.');
    end if;
    -- Browsers give a new endpoint now and then.
    delete from automatch.push_subscriptions as s
    where s.profile_id = v_me and s.id not in (
        select n.id from automatch.push_subscriptions as n
        where n.profile_id = v_me order by n.renewed_at desc, n.id limit 10
    );
end
$$;
comment on function public.save_push_subscription(text, text, text, text) is
    'Have the caller told on a device, until their session ends; on the ten newest at most.';

create function public.forget_push_subscription(p_endpoint text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    delete from automatch.push_subscriptions as s
    where s.endpoint = p_endpoint and s.profile_id = (select automatch.uid())
$$;
comment on function public.forget_push_subscription(text) is 'Tell the caller on a device no more.';

create function public.set_digest(p_every text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_every constant interval := case p_every when 'daily' then interval '1 day' when 'weekly' then interval '7 days' end;
begin
    perform from public.profiles as p where p.id = v_me for no key update;
    if v_every is null then
        delete from automatch.digests as d where d.profile_id = v_me;
        return;
    end if;
    insert into automatch.digests (profile_id, every, due_at, told_position)
    values (
        v_me, v_every, automatch.now() + v_every,
        coalesce((select h.last_position from automatch.feed_counters as h where h.profile_id = v_me), 0)
    )
    on conflict (profile_id) do update set every = excluded.every, due_at = excluded.due_at;
end
$$;
comment on function public.set_digest(text) is 'How often the caller gets a mail about what is new: daily, weekly, or never for anything else.';

create function public.get_digest()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select case d.every when interval '1 day' then 'daily' else 'weekly' end
            from automatch.digests as d where d.profile_id = (select automatch.uid())
        ),
        'off'
    )
$$;
comment on function public.get_digest() is 'How often the caller gets a mail about what is new.';

create function public.end_digest(p_token uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ delete from automatch.digests as d where d.token = p_token $$;
comment on function public.end_digest(uuid) is 'End the mails of whoever has got one with this token; without a word if there are none.';

create function automatch.read_settled_news(
    p_profile_id uuid, p_position bigint, p_age interval, out last_position bigint, out liked_at timestamptz,
    out next_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        -- Younger ones would be skipped with what is told now.
        coalesce(young.first_position - 1, h.last_position), liked.told_at, young.first_at + p_age
    from automatch.feed_counters as h
    cross join lateral (
        select min(e.position) as first_position, min(greatest(e.created_at, l.told_at)) as first_at
        from automatch.feed_entries as e
        left join automatch.likes as l on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
        where e.profile_id = h.profile_id and e.position > p_position
          and greatest(e.created_at, l.told_at) > automatch.now() - p_age
    ) as young
    cross join lateral (
        select max(l.told_at) as told_at from automatch.likes as l
        where l.profile_id = h.profile_id and l.told_at <= automatch.now() - p_age
    ) as liked
    where h.profile_id = p_profile_id
$$;
comment on function automatch.read_settled_news(uuid, bigint, interval) is
    'Up to which position of a feed, and which time of likes, everything is of an age at which an open page has shown '
    'it; and when the next will be.';

create function public.take_pushes(p_limit integer, p_lease interval, p_age interval default '20 seconds')
returns table (
    id uuid, endpoint text, p256dh text, auth text, language text, news integer, is_mutual boolean,
    "position" bigint, liked_at timestamptz, attempts smallint, lease_token integer
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with due as materialized (
        select s.id as due_id, s.profile_id, s.session_id, s.told_position, s.told_at
        from automatch.push_subscriptions as s
        join automatch.feed_counters as h on h.profile_id = s.profile_id
        where s.run_at <= automatch.now()
          and (
              h.last_position > s.told_position
              or exists (select from automatch.likes as l where l.profile_id = s.profile_id and l.told_at > s.told_at)
          )
        order by s.run_at
        limit p_limit
        for update of s skip locked
    ),
    ended as (
        delete from automatch.push_subscriptions as s using due as d
        where s.id = d.due_id
          and not public.is_session_live(jsonb_build_object('sub', d.profile_id, 'session_id', d.session_id))
        returning s.id as ended_id
    ),
    found as materialized (
        select d.*, n.*, automatch.count_news(d.profile_id, d.told_position, n.last_position) as news,
            exists (
                select from automatch.likes as l
                join automatch.feed_entries as e
                    on e.profile_id = l.profile_id and e.other_profile_id = l.other_profile_id
                -- One that was taken back since is told, too: the other has read what this person shares.
                where l.profile_id = d.profile_id and l.told_at > d.told_at and l.told_at <= n.liked_at
                  and e.seen_at is null and automatch.may_see(l.profile_id, l.other_profile_id)
            ) as is_mutual
        from due as d
        cross join lateral automatch.read_settled_news(d.profile_id, d.told_position, p_age) as n
        where d.due_id not in (select x.ended_id from ended as x)
    ),
    taken as (
        update automatch.push_subscriptions as s
        set run_at = case when f.is_news then automatch.now() + p_lease else coalesce(f.next_at, automatch.now()) end,
            attempts = case when f.is_news then least(s.attempts + 1, 100) else 0 end,
            lease_token = s.lease_token + 1,
            told_position = case when f.is_news then s.told_position else greatest(s.told_position, f.last_position) end,
            told_at = case when f.is_news then s.told_at else greatest(s.told_at, f.liked_at) end
        from (select n.*, n.news > 0 or n.is_mutual as is_news from found as n) as f
        where s.id = f.due_id
        returning s.id as taken_id, s.endpoint, s.p256dh, s.auth, s.language, s.attempts, s.lease_token
    )
    select t.taken_id, t.endpoint, t.p256dh, t.auth, t.language, f.news, f.is_mutual, f.last_position, f.liked_at,
        t.attempts, t.lease_token
    from taken as t
    join found as f on f.due_id = t.taken_id
    where f.news > 0 or f.is_mutual;
end
$$;
comment on function public.take_pushes(integer, interval, interval) is
    'Devices of people who have news of an age that they have not seen and were not told of. Unless finished within the '
    'lease, one is due again; those of ended sessions are forgotten.';

create function public.finish_push(
    p_id uuid, p_lease_token integer, p_position bigint, p_liked_at timestamptz, p_quiet interval
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.push_subscriptions as s
    set told_position = greatest(s.told_position, p_position), told_at = greatest(s.told_at, p_liked_at),
        run_at = automatch.now() + p_quiet, attempts = 0
    where s.id = p_id and s.lease_token = p_lease_token
$$;
comment on function public.finish_push(uuid, integer, bigint, timestamptz, interval) is
    'Note that a device was told; nothing more comes to it before the quiet time is over. Nothing if it was taken again.';

create function public.postpone_push(p_id uuid, p_lease_token integer, p_delay interval)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_delay is null then
        delete from automatch.push_subscriptions as s where s.id = p_id and s.lease_token = p_lease_token;
    else
        update automatch.push_subscriptions as s set run_at = automatch.now() + p_delay
        where s.id = p_id and s.lease_token = p_lease_token;
    end if;
end
$$;
comment on function public.postpone_push(uuid, integer, interval) is
    'Try a device again after a delay; without one it is gone. Nothing if it was taken again.';

create function public.enqueue_digests(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_digest record;
    v_count integer := 0;
begin
    for v_digest in
        select d.profile_id, d.every, d.told_position, p.email, h.last_position
        from automatch.digests as d
        join public.profiles as p on p.id = d.profile_id
        join automatch.feed_counters as h on h.profile_id = d.profile_id
        where d.due_at <= automatch.now()
        order by d.due_at
        limit p_limit
        for update of d skip locked
    loop
        v_count := v_count + 1;
        update automatch.digests as d
        set due_at = automatch.now() + v_digest.every, told_position = v_digest.last_position
        where d.profile_id = v_digest.profile_id;
        if v_digest.email is not null
            and automatch.count_news(v_digest.profile_id, v_digest.told_position) > 0
        then
            perform public.enqueue_mail('digest', v_digest.email, v_digest.profile_id);
        end if;
    end loop;
    return v_count;
end
$$;
comment on function public.enqueue_digests(integer) is
    'Have mails sent to people who want them and have something new. How many were looked at; call again until it is 0.';

create function public.read_digest(p_profile_id uuid)
returns table (news integer, token uuid) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.count_news(d.profile_id, 0), d.token
    from automatch.digests as d where d.profile_id = p_profile_id
$$;
comment on function public.read_digest(uuid) is 'What a mail says that waits to be sent: how many are still new. No row for whoever wants none any more.';
