-- What happened to a person's matches, in order: whoever subscribes to the table, as a supabase client
-- does, gets every new row once. A feed has one entry for each other person and shows the best pair of
-- photos; the table has a row for every pair.

create sequence automatch.match_numbers;
revoke all on sequence automatch.match_numbers from public, anon, authenticated;
grant usage on sequence automatch.match_numbers to service_role;

alter table public.matches
    add column number bigint not null default nextval('automatch.match_numbers');
comment on column public.matches.number is
    'Grows in the order in which the matches of one person were committed: it is drawn while the feeds of both '
    'are locked.';

alter table automatch.feed_heads add column last_match bigint not null default 0;
comment on column automatch.feed_heads.last_match is 'The highest number of a match of this person.';
-- What is there already is news to nobody.
update automatch.feed_heads set last_match = coalesce((select max(m.number) from public.matches as m), 0);

create or replace function automatch.put_in_feeds(p_match_ids uuid[])
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now timestamptz;
begin
    perform automatch.lock_feeds(array(
        select unnest(array[m.profile_a_id, m.profile_b_id])
        from public.matches as m where m.id = any (p_match_ids)
    ));
    v_now := automatch.now();
    -- Who completes jobs inserts under the lock. Where somebody did not, another's number may have been
    -- told meanwhile that is higher: whoever reads after that one would never see this one.
    update public.matches as m
    set number = nextval('automatch.match_numbers')
    where m.id = any (p_match_ids)
      and exists (
          select from automatch.feed_heads as h
          where h.profile_id in (m.profile_a_id, m.profile_b_id) and h.last_match >= m.number
      );

    with sides as materialized (
        select m.id, m.similarity, m.number, m.profile_a_id as profile_id, m.profile_b_id as other_profile_id
        from public.matches as m where m.id = any (p_match_ids)
        union all
        select m.id, m.similarity, m.number, m.profile_b_id, m.profile_a_id
        from public.matches as m where m.id = any (p_match_ids)
    ),
    -- Of two people the best pair of photos is shown; a worse one changes nothing.
    news as (
        select distinct on (s.profile_id, s.other_profile_id) s.*
        from sides as s
        -- One by one, which "limit" makes sure of: planned while feeds were few, a join would read all
        -- of them for every batch from then on.
        left join lateral (
            select m.similarity
            from automatch.feed_entries as e
            join public.matches as m on m.id = e.match_id
            where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id
            limit 1
        ) as shown on true
        where shown.similarity is null or shown.similarity < s.similarity
        order by s.profile_id, s.other_profile_id, s.similarity desc, s.id
    ),
    -- The best match gets the highest position: a feed shows the newest first.
    placed as materialized (
        select n.*, row_number() over (
            partition by n.profile_id order by n.similarity, n.other_profile_id
        ) as step
        from news as n
    ),
    -- In one write for each head: one written twice has its foreign key checked again, which would lock
    -- the profile behind the feeds.
    grown as materialized (
        select c.profile_id, max(c.number) as last_match, sum(c.entries) as entries
        from (
            select s.profile_id, s.number, 0 as entries from sides as s
            union all
            select p.profile_id, p.number, 1 from placed as p
        ) as c
        group by c.profile_id
    ),
    heads as (
        update automatch.feed_heads as h
        set last_pos = h.last_pos + g.entries, last_match = greatest(h.last_match, g.last_match)
        from grown as g
        where h.profile_id = g.profile_id
        returning h.profile_id, h.last_pos - g.entries as before
    )
    insert into automatch.feed_entries (profile_id, other_profile_id, pos, match_id, created_at)
    select p.profile_id, p.other_profile_id, h.before + p.step, p.id, v_now
    from placed as p
    join heads as h on h.profile_id = p.profile_id
    on conflict (profile_id, other_profile_id)
        do update set pos = excluded.pos, match_id = excluded.match_id, created_at = excluded.created_at;

    perform pg_catalog.pg_notify('automatch_feed', '');
end
$$;

create or replace function public.feed_marks(p_profile_ids uuid[])
returns table (profile_id uuid, last_pos bigint, jobs_mark bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    -- The number of the last match too: one that a feed does not show is news to a subscriber.
    select h.profile_id, h.last_pos, coalesce(jobs.mark, 0) + h.last_match
    from automatch.feed_heads as h
    cross join lateral (
        -- The token changes with every claim: a job may fail, be tried anew and fail alike between two looks.
        select sum(
            pg_catalog.hashtextextended(j.id::text || j.status || j.attempts::text || j.lease_token::text, 0) >> 8
        )::bigint as mark
        from (
            select m.id, m.status, m.attempts, m.lease_token from public.match_jobs as m
            where m.user_id = h.profile_id
            order by m.created_at desc
            limit 20
        ) as j
    ) as jobs
    where h.profile_id = any (p_profile_ids)
$$;

create function public.last_match_number()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_match from automatch.feed_heads as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.last_match_number() is 'The highest number of a match of the caller.';

create function public.matches_after(p_number bigint, p_limit integer default 100)
returns table (number bigint, match_id uuid)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
-- By the indexes on faces, from the caller's own: never by a look at the whole table.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select n.number, n.id
    from automatch.feed_heads as h
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
    'The caller''s matches with higher numbers, in their order. What of each the caller may read, and whether '
    'at all, is for row level security to say.';

revoke execute on function public.last_match_number(), public.matches_after(bigint, integer)
    from public, anon, authenticated;
grant execute on function public.last_match_number(), public.matches_after(bigint, integer) to authenticated;
