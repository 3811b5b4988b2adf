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
    delete from automatch.mails where recipient = lower(old.email);
    return null;
end
$$;

create function automatch.user_address_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.refresh_email_proofs(array[new.id]);
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
    create or replace trigger automatch_user_address_changed
    after update of email, email_confirmed_at on auth.users
    for each row execute function automatch.user_address_changed();
    insert into public.profiles (id, email)
    select u.id, u.email from auth.users as u
    on conflict (id) do nothing;
end
$$;
comment on function automatch.link_auth_users() is
    'Create the triggers on auth.users, where that table exists: on Supabase, or in sql/compat.';

select automatch.link_auth_users();

create function public.is_session_live(p_claims jsonb)
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session_id uuid := (p_claims ->> 'session_id')::uuid;
    v_user_id uuid := (p_claims ->> 'sub')::uuid;
begin
    if v_session_id is null or to_regclass('auth.sessions') is null then
        return true;
    end if;
    -- Where we keep the sessions, those of another issuer are not among them.
    if (p_claims ->> 'external')::boolean and to_regprocedure('auth.start_session(uuid, bytea)') is not null then
        return true;
    end if;
    return exists (select from auth.sessions as s where s.id = v_session_id and s.user_id = v_user_id)
        -- The people of a smoke test have no account; their session is its run.
        or exists (select from automatch.smoke_test_runs as t where t.id = v_session_id and v_user_id = any (t.people));
end
$$;
create function public.list_ended_sessions(p_session_ids uuid[], p_user_ids uuid[], p_external boolean[])
returns setof integer language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.sessions') is null then
        return;
    end if;
    return query
        select c.number::integer
        from unnest(p_session_ids, p_user_ids, p_external) with ordinality as c (session_id, user_id, external, number)
        where c.session_id is not null
          and not (c.external and to_regprocedure('auth.start_session(uuid, bytea)') is not null)
          and not exists (select from auth.sessions as s where s.id = c.session_id and s.user_id = c.user_id)
          and not exists (
              select from automatch.smoke_test_runs as t where t.id = c.session_id and c.user_id = any (t.people)
          );
end
$$;
comment on function public.list_ended_sessions(uuid[], uuid[], boolean[]) is
    'Which of many sessions, by their numbers, is_session_live() says have ended.';
comment on function public.is_session_live(jsonb) is
    'Whether the session of verified claims goes on; true of claims without one, and where nobody here knows.';
