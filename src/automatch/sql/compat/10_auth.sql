-- The schema `auth` of a Supabase project, for plain Postgres, as far as supabase clients and the guide's
-- SQL use it. Idempotent.

create schema if not exists auth;
comment on schema auth is 'Accounts and sessions of Auto-Match, in place of Supabase Auth.';
grant usage on schema auth to anon, authenticated, service_role, automatch_api;

create table if not exists auth.users (
    id uuid primary key default gen_random_uuid(),
    aud text not null default 'authenticated',
    role text not null default 'authenticated',
    email text not null,
    encrypted_password text not null,
    email_confirmed_at timestamptz,
    confirm_by timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb not null default '{"provider": "email", "providers": ["email"]}',
    raw_user_meta_data jsonb not null default '{}',
    is_anonymous boolean not null default false,
    created_at timestamptz not null default automatch.now(),
    updated_at timestamptz not null default automatch.now()
);
comment on column auth.users.confirm_by is
    'Of somebody who has to confirm the address first: until then the password lets nobody in, and after that the '
    'account is deleted.';
create index if not exists users_confirm_idx on auth.users (confirm_by) where confirm_by is not null;
create unique index if not exists users_email_key on auth.users (lower(email));
-- Out of the samples of the planner, as columns with personal values are in public.
alter table auth.users
    alter column email set statistics 0, alter column encrypted_password set statistics 0,
    alter column raw_user_meta_data set statistics 0;
alter index auth.users_email_key alter column 1 set statistics 0;

create table if not exists auth.sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    refreshed_at timestamptz not null default automatch.now(),
    password_entered_at timestamptz,
    by_operator boolean not null default false
);
comment on column auth.sessions.password_entered_at is 'When an operator last entered the password again.';
comment on column auth.sessions.by_operator is 'An operator signed in as this person.';
create index if not exists sessions_user_idx on auth.sessions (user_id);
create index if not exists sessions_refreshed_idx on auth.sessions (refreshed_at);

create table if not exists auth.refresh_tokens (
    token_sha256 bytea primary key,
    session_id uuid not null references auth.sessions (id) on delete cascade,
    parent_sha256 bytea,
    created_at timestamptz not null default automatch.now(),
    used_at timestamptz
);
comment on table auth.refresh_tokens is
    'Hashes of tokens. A token is used once; used again later, it ends its session. Parallel uses give several '
    'tokens of one parent, and the first of them that is used uses up the others.';
create index if not exists refresh_tokens_session_idx on auth.refresh_tokens (session_id);
create index if not exists refresh_tokens_used_idx on auth.refresh_tokens (used_at);

do $$
declare
    v_table text;
begin
    foreach v_table in array array['auth.users', 'auth.sessions', 'auth.refresh_tokens'] loop
        execute 'alter table ' || v_table || ' enable row level security';
        execute 'alter table ' || v_table || ' force row level security';
        execute 'drop policy if exists owner on ' || v_table;
        execute 'create policy owner on ' || v_table || ' to current_user using (true) with check (true)';
    end loop;
end
$$;

create or replace function auth.uid()
returns uuid
language sql
stable
set search_path = pg_catalog, pg_temp
as $$ select automatch.uid() $$;

create or replace function auth.jwt()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$ select automatch.claims() $$;

create or replace function auth.role()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$ select automatch.claims() ->> 'role' $$;

create or replace function auth.create_user(p_email text, p_encrypted_password text, p_data jsonb)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into auth.users (email, encrypted_password, raw_user_meta_data)
    values (lower(p_email), p_encrypted_password, p_data)
    on conflict (lower(email)) do nothing
    returning id into v_id;
    return v_id;
end
$$;
comment on function auth.create_user(text, text, jsonb) is 'The new id; null when the address is taken.';

create or replace function auth.find_credentials(p_email text)
returns table (id uuid, encrypted_password text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        u.id,
        -- No password has the hash '!'.
        case when u.confirm_by is null then u.encrypted_password else '!' end
    from auth.users as u
    where lower(u.email) = lower(p_email)
$$;

create or replace function auth.start_session(p_user_id uuid, p_token_sha256 bytea)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_session_id uuid;
begin
    update auth.users set last_sign_in_at = automatch.now() where id = p_user_id;
    insert into auth.sessions (user_id) values (p_user_id) returning id into v_session_id;
    insert into auth.refresh_tokens (token_sha256, session_id) values (p_token_sha256, v_session_id);
    return v_session_id;
end
$$;

create or replace function auth.rotate_refresh_token(
    p_token_sha256 bytea, p_new_token_sha256 bytea, p_reuse interval, p_unused interval
)
returns table (session_id uuid, user_id uuid)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_token auth.refresh_tokens;
    v_session auth.sessions;
begin
    -- The session first, as in end_sessions(), which deletes it before its tokens.
    select s.* into v_session
    from auth.sessions as s
    join auth.refresh_tokens as t on t.session_id = s.id
    where t.token_sha256 = p_token_sha256
    for update of s;
    select t.* into v_token from auth.refresh_tokens as t where t.token_sha256 = p_token_sha256;
    if not found then
        return;
    end if;
    if v_token.used_at < automatch.now() - p_reuse or v_session.refreshed_at < automatch.now() - p_unused then
        -- Two clients have the token, so it was stolen; or it has expired.
        delete from auth.sessions where id = v_session.id;
        return;
    end if;
    update auth.refresh_tokens as t set used_at = automatch.now()
    where t.session_id = v_session.id
      and t.used_at is null
      and (t.token_sha256 = p_token_sha256 or v_token.used_at is null and t.parent_sha256 = v_token.parent_sha256);
    insert into auth.refresh_tokens (token_sha256, session_id, parent_sha256)
    values (p_new_token_sha256, v_session.id, p_token_sha256);
    -- Used tokens are kept for a while, to detect theft.
    delete from auth.refresh_tokens where session_id = v_session.id and used_at < automatch.now() - interval '7 days';
    update auth.sessions set refreshed_at = automatch.now() where id = v_session.id;
    return query select v_session.id, v_session.user_id;
end
$$;

create or replace function auth.session_user_of(p_session_id uuid)
returns table (
    id uuid, email text, email_confirmed_at timestamptz, app_metadata jsonb, user_metadata jsonb,
    created_at timestamptz, last_sign_in_at timestamptz, signed_in_at timestamptz
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        u.id, u.email, u.email_confirmed_at, u.raw_app_meta_data, u.raw_user_meta_data, u.created_at,
        u.last_sign_in_at,
        -- An operator has not shown to be this person: a new password or address needs the current one.
        case when s.by_operator then 'epoch' else s.created_at end
    from auth.sessions as s
    join auth.users as u on u.id = s.user_id
    where s.id = p_session_id
$$;
comment on function auth.session_user_of(uuid) is 'The user of a session; no row once it has ended.';

do $$
declare
    v_function regprocedure;
begin
    for v_function in select p.oid from pg_catalog.pg_proc as p where p.pronamespace = 'auth'::regnamespace loop
        execute 'revoke execute on function ' || v_function || ' from public';
        -- Signing in happens before there is a user to act as.
        execute 'grant execute on function ' || v_function || ' to automatch_api';
    end loop;
end
$$;
grant execute on function auth.uid(), auth.jwt(), auth.role() to anon, authenticated, service_role;

select automatch.link_auth_users();
