-- People who run the installation: moderators, operators, owners.

create table automatch.operators (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    role text not null,
    since timestamptz not null default automatch.now(),
    constraint role_is_known check (role in ('viewer', 'moderator', 'operator', 'owner'))
);
comment on table automatch.operators is
    'What a person may do as an operator. Never in the metadata of an account, which its person can change.';

create function automatch.keep_an_owner()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') then
        -- One at a time: two owners who remove each other would leave none.
        perform pg_advisory_xact_lock(automatch.lock_key('owners'));
        if not exists (select from automatch.operators where role = 'owner' and profile_id <> old.profile_id) then
            perform automatch.raise_error('last_owner', 'This is the only owner. Make somebody else an owner first.');
        end if;
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;

create trigger operators_keep_an_owner before update or delete on automatch.operators
for each row execute function automatch.keep_an_owner();

create function public.list_operators()
returns table (id uuid, email text, name text, role text, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.id, p.email, p.name, o.role, o.since
    from automatch.operators as o
    join public.profiles as p on p.id = o.profile_id
    order by array_position(array['owner', 'operator', 'moderator', 'viewer'], o.role), p.email
$$;
comment on function public.list_operators() is 'The operators, owners first.';

create function public.find_operator_role(p_profile_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select o.role from automatch.operators as o where o.profile_id = p_profile_id $$;
comment on function public.find_operator_role(uuid) is 'The role of a person as an operator; null of anybody else.';

create function public.find_operator(p_claims jsonb)
returns table (id uuid, role text, password_entered_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := (p_claims ->> 'sub')::uuid;
begin
    if not public.is_session_live(p_claims) then
        return;
    end if;
    return query
    select o.profile_id, o.role, (select s.password_entered_at from automatch.session_state(p_claims) as s)
    from automatch.operators as o
    where o.profile_id = v_id
      -- Whoever signed in as somebody else has not become an operator by it.
      and not exists (select from automatch.session_state(p_claims) as s where s.by_operator);
end
$$;
comment on function public.find_operator(jsonb) is
    'The operator of verified claims, and when they last entered their password in this session.';

create function automatch.session_state(p_claims jsonb)
returns table (by_operator boolean, password_entered_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Sessions of another issuer say neither.
    if to_regprocedure('auth.start_session(uuid, bytea)') is not null then
        return query
        select s.by_operator, s.password_entered_at from auth.sessions as s
        where s.id = (p_claims ->> 'session_id')::uuid;
    end if;
end
$$;

create function public.list_impersonations(p_profile_id uuid)
returns table (at timestamptz, reason text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.recorded_at, a.reason from automatch.audit_log as a
    where a.object_id = p_profile_id and a.action = 'impersonate'
    order by a.id desc
    limit 100
$$;
comment on function public.list_impersonations(uuid) is
    'When an operator signed in as a person, and why; newest first. For that person.';

create function public.set_operator_role(p_profile_id uuid, p_role text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_role is null then
        delete from automatch.operators as o where o.profile_id = p_profile_id;
        if not found then
            perform automatch.raise_error('not_found', 'This person is no operator.');
        end if;
    else
        insert into automatch.operators as o (profile_id, role) values (p_profile_id, p_role)
        on conflict (profile_id) do update set role = excluded.role, since = automatch.now()
        where o.role <> excluded.role;
    end if;
end
$$;
comment on function public.set_operator_role(uuid, text) is
    'Make a person an operator, or change the role; null takes it away.';
