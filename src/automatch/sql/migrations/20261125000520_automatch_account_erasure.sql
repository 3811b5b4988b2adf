-- Erasing an account, whoever signs people in: Supabase Auth or the stand-in for it.

create function public.erase_account()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := automatch.uid();
begin
    if pg_catalog.to_regclass('auth.sessions') is not null and not exists (
        select from auth.sessions as s
        where s.id = (automatch.claims() ->> 'session_id')::uuid and s.user_id = v_id
    ) then
        perform automatch.refuse('token_invalid', 'The access token is not valid; sign in again.');
    end if;
    if pg_catalog.to_regclass('auth.users') is not null then
        delete from auth.users where id = v_id;
    end if;
    -- Gone by the trigger on auth.users, where there is that table.
    delete from public.profiles where id = v_id;
end
$$;
comment on function public.erase_account() is
    'Erase the caller, while their session lives: the account, and all that is theirs.';

revoke execute on function public.erase_account() from public, anon, authenticated;
grant execute on function public.erase_account() to authenticated;
