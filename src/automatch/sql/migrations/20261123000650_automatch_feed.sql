-- Who may see whom, and what a person reads and does in their feed.

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
