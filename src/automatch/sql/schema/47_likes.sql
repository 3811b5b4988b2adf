-- Who likes whom. One side alone is nobody's to know but theirs: it changes no row, position, count or number that the
-- other could read. Only when both do, both are told.

create table automatch.likes (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    other_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    mutual boolean not null default false,
    told_at timestamptz,
    primary key (profile_id, other_profile_id),
    constraint like_is_of_two_people check (profile_id <> other_profile_id),
    constraint mutual_was_told check (told_at is not null or not mutual)
);
comment on table automatch.likes is
    'profile_id likes other_profile_id. Kept while a block, a dismissal or a pause hides one of the two, and shown to nobody then.';
comment on column automatch.likes.mutual is 'Whether the other likes them too; the same in both rows.';
comment on column automatch.likes.told_at is
    'When this person was last told that both do: what a notification is about. The other cannot untell it by unliking.';
create index likes_other_idx on automatch.likes (other_profile_id);
create index likes_told_idx on automatch.likes (told_at);

create function public.like_profile(p_profile_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    if not automatch.may_see(v_me, p_profile_id) or not exists (
        select from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id and e.match_id is not null
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    -- Or people who hide could find out who likes them, who would not be told.
    if not exists (select from public.profiles as p where p.id = v_me and p.discoverable and p.profile_type = 'user') then
        perform automatch.raise_error('forbidden', 'You''re hidden. Let others find you again, then you can like them.');
    end if;
    perform automatch.lock_both_profiles(v_me, p_profile_id);
    perform automatch.lock_feeds(array[v_me, p_profile_id]);
    insert into automatch.likes (profile_id, other_profile_id) values (v_me, p_profile_id) on conflict do nothing;
    if not found then
        return (select l.mutual from automatch.likes as l where l.profile_id = v_me and l.other_profile_id = p_profile_id);
    end if;
    perform automatch.charge_act('likes', 100, 'You''ve liked very many people today. Try again tomorrow.');
    if not exists (
        select from automatch.likes as l where l.profile_id = p_profile_id and l.other_profile_id = v_me
    ) then
        return false;
    end if;
    update automatch.likes as l set mutual = true, told_at = automatch.now()
    where (l.profile_id, l.other_profile_id) in ((v_me, p_profile_id), (p_profile_id, v_me));
    -- News each time: or who likes, reads and unlikes could go on reading without the other knowing.
    perform automatch.resend_feed_entries(v_me, array[p_profile_id], true);
    perform automatch.resend_feed_entries(p_profile_id, array[v_me], true);
    -- Whoever likes second is answered that both do.
    perform public.mark_matches_seen(array(
        select e.match_id from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id
    ));
    return true;
end
$$;
comment on function public.like_profile(uuid) is
    'Like a person of the caller''s feed. Whether both do: then both are told.';

create function public.unlike_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    perform automatch.lock_both_profiles(v_me, p_profile_id);
    perform automatch.lock_feeds(array[v_me, p_profile_id]);
    delete from automatch.likes as l where l.profile_id = v_me and l.other_profile_id = p_profile_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    update automatch.likes as l set mutual = false
    where l.profile_id = p_profile_id and l.other_profile_id = v_me and l.mutual;
    if found then
        perform automatch.resend_feed_entries(v_me, array[p_profile_id], false);
        perform automatch.resend_feed_entries(p_profile_id, array[v_me], false);
    end if;
end
$$;
comment on function public.unlike_profile(uuid) is
    'Take back a like, seen or not. What either shared with the other disappears again; that both did stays told.';
