-- A person's own switch: whether searches of others may find them. What follows is in the triggers of
-- profiles: the search copy, both feeds, and another search when they come back.

create function public.set_discoverable(p_discoverable boolean)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_discoverable is null then
        perform automatch.refuse('input_invalid', 'Say true or false: whether others may find you.');
    end if;
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    if not found then
        perform automatch.refuse('profile_not_found', 'This profile does not exist any more.');
    end if;
    update public.profiles as p set discoverable = p_discoverable
    where p.id = automatch.uid() and p.discoverable <> p_discoverable;
end
$$;
comment on function public.set_discoverable(boolean) is
    'Whether searches of others may find the caller. Off, they leave the feeds of others at once and keep '
    'their photos and their own feed; on, they come back and are searched for again.';

revoke execute on function public.set_discoverable(boolean) from public, anon, authenticated;
grant execute on function public.set_discoverable(boolean) to authenticated;
