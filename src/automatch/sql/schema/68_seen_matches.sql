-- What of a feed is new, its other orders and filters, and one match of it.
--
-- Each entry says when its person was shown it, because cards are seen out of order. What is published stays as
-- cheap as it was: there is no index of new entries. They lie above feed_counters.seen_position, which follows.

create function public.mark_matches_seen(p_match_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_seen integer;
begin
    -- Whatever is published meanwhile comes after the position that is read here.
    perform automatch.lock_feeds(array[automatch.uid()]);
    update automatch.feed_entries as e
    set seen_at = automatch.now()
    from public.matches as m
    where m.id = any (p_match_ids)
      and e.profile_id = automatch.uid()
      and e.other_profile_id in (m.profile_a_id, m.profile_b_id)
      and e.match_id = m.id
      and e.seen_at is null;
    get diagnostics v_seen = row_count;
    if v_seen > 0 then
        update automatch.feed_counters as h
        set seen_count = h.seen_count + v_seen,
            seen_position = coalesce(
                (
                    select min(e.position) - 1 from automatch.feed_entries as e
                    where e.profile_id = h.profile_id and e.position > h.seen_position
                      and e.seen_at is null and e.match_id is not null
                ),
                h.last_position
            )
        where h.profile_id = automatch.uid();
        perform automatch.notify_feeds(array[automatch.uid()]);
    end if;
end
$$;
comment on function public.mark_matches_seen(uuid[]) is
    'Note that the caller was shown these matches: they are no longer new, on any device.';

create function public.list_new_matches()
returns setof uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.match_id
    from automatch.feed_counters as h
    join automatch.feed_entries as e on e.profile_id = h.profile_id and e.position > h.seen_position
    where h.profile_id = (select automatch.uid())
      and e.seen_at is null and e.match_id is not null
      and automatch.may_see(e.profile_id, e.other_profile_id)
    limit 100
$$;
comment on function public.list_new_matches() is 'The caller''s matches that they have not seen yet; at most 100.';

create function public.read_unseen_matches(p_claims jsonb[])
returns table (reader integer, match_id uuid)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, n.id from public.list_new_matches() as n (id);
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_unseen_matches(jsonb[]) is
    'list_new_matches() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.list_matches(
    p_show text default 'all', p_sort text default 'newest', p_similarity double precision default null,
    p_place bigint default null, p_back boolean default false, p_since timestamptz default null,
    p_limit integer default 20
)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- Planned for one order and one filter: then the newest are read from the index, and only as many as are shown.
set plan_cache_mode = force_custom_plan
as $$
    select v.*
    from (
        select
            e.position as news, m.id, e.other_profile_id as other_id, p.name, p.school,
            case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end as face_id,
            case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end as own_face_id,
            automatch.shown_similarity(m.similarity) as shown,
            p.simulated, e.created_at, m.id as last_match_id, e.place, l.profile_id is not null as liked,
            coalesce(l.mutual, false) as mutual, coalesce(l.was_mutual and e.seen_at is null, false) as was_mutual,
            l.sentence, l.handle, e.seen_at is null as is_new
        from automatch.feed_entries as e
        join public.matches as m on m.id = e.match_id
        join public.profiles as p on p.id = e.other_profile_id
        left join automatch.shown_likes as l
            on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
        where e.profile_id = (select automatch.uid())
          and (p_show <> 'liked' or l.profile_id is not null)
          and (
              p_show <> 'new'
              or (
                  e.position > (
                      select h.seen_position from automatch.feed_counters as h
                      where h.profile_id = (select automatch.uid())
                  )
                  and e.seen_at is null
              )
              or e.seen_at >= p_since
          )
          and (
              p_place is null
              or case
                  -- As shown: an order by the exact similarity would tell more than the shown one.
                  when p_sort = 'best' and p_back
                      then (automatch.shown_similarity(m.similarity), e.place) > (p_similarity, p_place)
                  when p_sort = 'best'
                      then (automatch.shown_similarity(m.similarity), e.place) < (p_similarity, p_place)
                  when p_back then e.place > p_place
                  else e.place < p_place
              end
          )
        order by
            case when p_sort = 'best' and not p_back then automatch.shown_similarity(m.similarity) end desc,
            case when p_sort = 'best' and p_back then automatch.shown_similarity(m.similarity) end,
            case when not p_back then e.place end desc,
            case when p_back then e.place end
        -- Ordered first, so that may_see() is asked about those only that are shown.
        offset 0
    ) as v
    where automatch.may_see((select automatch.uid()), v.other_id)
    limit least(greatest(p_limit, 1), 100)
$$;
comment on function public.list_matches(text, text, double precision, bigint, boolean, timestamptz, integer) is
    'The caller''s matches: all, those that are liked, or those that are new or were seen since p_since; the newest or '
    'the best first. They go on after a similarity, which only the best first need, and a place; with p_back before '
    'these, the nearest first.';

create function public.show_match(p_match_id uuid)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean, eyes jsonb, own_eyes jsonb, threshold double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        e.position, m.id, e.other_profile_id, p.name, p.school, side.face_id, side.own_face_id,
        automatch.shown_similarity(m.similarity), p.simulated, e.created_at, m.id, e.place, l.profile_id is not null,
        coalesce(l.mutual, false), coalesce(l.was_mutual and e.seen_at is null, false), l.sentence, l.handle,
        e.seen_at is null,
        (select t.quality -> 'eyes' from public.face_embeddings as t
         where t.model = k.model and t.face_id = side.face_id),
        (select t.quality -> 'eyes' from public.face_embeddings as t
         where t.model = k.model and t.face_id = side.own_face_id),
        (select o.threshold from public.match_settings as o)
    from public.matches as asked
    -- The card shows the best pair of photos, which may be another one by now.
    join automatch.feed_entries as e
        on e.profile_id = (select automatch.uid()) and e.other_profile_id in (asked.profile_a_id, asked.profile_b_id)
    join public.matches as m on m.id = e.match_id
    join public.profiles as p on p.id = e.other_profile_id
    left join automatch.shown_likes as l on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
    cross join lateral (
        select
            case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end as face_id,
            case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end as own_face_id
    ) as side
    cross join (select public.active_embedding_model() as model) as k
    where asked.id = p_match_id
      and (select automatch.uid()) in (asked.profile_a_id, asked.profile_b_id)
      and automatch.may_see(e.profile_id, e.other_profile_id)
$$;
comment on function public.show_match(uuid) is
    'A match of the caller as its card shows it, with the places of both eyes in both photos; nothing when it is gone.';
