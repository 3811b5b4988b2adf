-- What people tell whoever they like and who likes them too: a sentence, and where else to find them.

create table automatch.shares (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    sentence text,
    handle text,
    updated_at timestamptz not null default automatch.now(),
    constraint share_says_something check (sentence is not null or handle is not null),
    constraint sentence_is_short check (sentence = btrim(sentence) and length(sentence) between 1 and 200),
    constraint handle_is_short check (handle = btrim(handle) and length(handle) between 1 and 60)
);
comment on table automatch.shares is 'Plain text that people see of each other once both have liked, and as long as both do.';

-- Whoever hides reads nothing either: the other does not see them.
create view automatch.shown_likes with (security_invoker = true) as
select
    l.profile_id, l.other_profile_id,
    l.mutual and me.discoverable as mutual,
    l.told_at is not null and not l.mutual and me.discoverable as was_mutual,
    s.sentence, s.handle
from automatch.likes as l
join public.profiles as me on me.id = l.profile_id
left join automatch.shares as s on s.profile_id = l.other_profile_id and l.mutual and me.discoverable;
comment on view automatch.shown_likes is
    'What a like of profile_id says on their card of the other, which they have to see: whether both do, whether both '
    'did and the other took it back, and what the other shares while both do.';

create function public.get_share()
returns table (sentence text, handle text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.sentence, s.handle from automatch.shares as s where s.profile_id = (select automatch.uid())
$$;
comment on function public.get_share() is 'What the caller shares, or no row.';

create function public.save_share(p_sentence text default null, p_handle text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_sentence constant text := nullif(btrim(p_sentence), '');
    v_handle constant text := nullif(btrim(p_handle), '');
    v_others uuid[];
begin
    if length(v_sentence) > 200 or length(v_handle) > 60 then
        perform automatch.raise_error('input_invalid', 'Write at most 200 characters, and 60 for where to find you.');
    end if;
    if v_sentence || '' ~ '[[:cntrl:]]' or v_handle || '' ~ '[[:cntrl:]]' then
        perform automatch.raise_error('input_invalid', 'Write it in one line.');
    end if;
    perform from public.profiles as p where p.id = v_me for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    if exists (
        select from (values (v_me)) as me (id) left join automatch.shares as s on s.profile_id = me.id
        where (s.sentence, s.handle) is not distinct from (v_sentence, v_handle)
    ) then
        return;
    end if;
    v_others := array(select l.other_profile_id from automatch.likes as l where l.profile_id = v_me and l.mutual);
    perform automatch.lock_feeds(v_others);
    perform automatch.charge_act('shares', 100, 'You''ve changed this very often today. Try again tomorrow.');
    delete from automatch.shares as s where s.profile_id = v_me;
    if v_sentence is not null or v_handle is not null then
        insert into automatch.shares (profile_id, sentence, handle) values (v_me, v_sentence, v_handle);
    end if;
    perform automatch.resend_feed_entries(o.id, array[v_me], false) from unnest(v_others) as o (id);
end
$$;
comment on function public.save_share(text, text) is
    'Set what the caller shares with people when both like; null or empty takes it back. Open pages of those show it at once.';

create function automatch.tell_of_reader(p_profile_id uuid, p_reader_id uuid, p_since timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if automatch.may_see(p_profile_id, p_reader_id) and automatch.may_see(p_reader_id, p_profile_id) then
        update automatch.likes as l set told_at = automatch.now()
        from automatch.shares as s
        where l.profile_id = p_profile_id and l.other_profile_id = p_reader_id and l.mutual
          and s.profile_id = p_profile_id and s.updated_at > p_since;
        if found then
            perform automatch.resend_feed_entries(p_profile_id, array[p_reader_id], true);
        end if;
    end if;
end
$$;
comment on function automatch.tell_of_reader(uuid, uuid, timestamptz) is
    'Tell a person, whose feed is locked, again that both like each other, if they have changed what they share since a '
    'time: or who hides, comes back, reads and hides could go on reading without the other knowing.';
