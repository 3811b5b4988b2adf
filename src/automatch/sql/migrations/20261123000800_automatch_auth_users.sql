-- Who can sign in has a profile; who is deleted there is erased here.

create function automatch.user_created()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.profiles (id, email) values (new.id, new.email) on conflict (id) do nothing;
    return null;
end
$$;

create function automatch.user_deleted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from public.profiles where id = old.id;
    return null;
end
$$;

create function automatch.follow_auth_users()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
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
comment on function automatch.follow_auth_users() is
    'Tie profiles to auth.users, where that table exists (Supabase, or our own stand-in for it).';

revoke execute on all functions in schema automatch from public;
select automatch.follow_auth_users();
