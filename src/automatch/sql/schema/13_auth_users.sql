-- Every account of auth.users has a profile, and is erased with it.

create function automatch.user_created()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.profiles (id, email) values (new.id, new.email) on conflict (id) do nothing;
    return null;
end
$$;

create function automatch.user_deleted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from public.profiles where id = old.id;
    return null;
end
$$;

create function automatch.link_auth_users()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_catalog.to_regclass('auth.users') is null then
        return;
    end if;
    create or replace trigger automatch_user_created
    after insert on auth.users
    for each row execute function automatch.user_created();
    create or replace trigger automatch_user_deleted
    after delete on auth.users
    for each row execute function automatch.user_deleted();
    insert into public.profiles (id, email)
    select u.id, u.email from auth.users as u
    on conflict (id) do nothing;
end
$$;
comment on function automatch.link_auth_users() is
    'Create the triggers on auth.users, where that table exists: on Supabase, or in sql/compat.';

select automatch.link_auth_users();

create function public.erase_account()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := automatch.uid();
begin
    if pg_catalog.to_regclass('auth.sessions') is not null and not exists (
        select from auth.sessions as s
        where s.id = (automatch.claims() ->> 'session_id')::uuid and s.user_id = v_id
    ) then
        perform automatch.raise_error('token_invalid', 'The access token is not valid; sign in again.');
    end if;
    if pg_catalog.to_regclass('auth.users') is not null then
        delete from auth.users where id = v_id;
    end if;
    -- The trigger on auth.users has done this where that table exists.
    delete from public.profiles where id = v_id;
end
$$;
comment on function public.erase_account() is
    'Erase the caller''s account with everything that belongs to it, if their session is still valid.';
