-- What signed-in users do with their accounts. Idempotent.

create or replace function auth.end_sessions(p_session_id uuid, p_scope text)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from auth.sessions as s
    using auth.sessions as mine
    where mine.id = p_session_id
      and s.user_id = mine.user_id
      and case p_scope when 'global' then true when 'others' then s.id <> mine.id when 'local' then s.id = mine.id end
$$;
comment on function auth.end_sessions(uuid, text) is
    'End sessions of the person of a live one: all (global), this one (local), or all but this one (others).';

create or replace function auth.update_user(p_session_id uuid, p_encrypted_password text, p_data jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update auth.users as u
    set encrypted_password = coalesce(p_encrypted_password, u.encrypted_password),
        raw_user_meta_data = coalesce(p_data, u.raw_user_meta_data),
        updated_at = automatch.now()
    from auth.sessions as s
    where s.id = p_session_id and u.id = s.user_id;
    if p_encrypted_password is not null then
        -- A new password ends all other sessions.
        perform auth.end_sessions(p_session_id, 'others');
    end if;
end
$$;
comment on function auth.update_user(uuid, text, jsonb) is
    'Change the password or the metadata of the person of a live session; null leaves a value as it is.';

create or replace function auth.list_sessions(p_session_id uuid)
returns table (created_at timestamptz, refreshed_at timestamptz, is_this boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.created_at, s.refreshed_at, s.id = p_session_id
    from auth.sessions as mine
    join auth.sessions as s on s.user_id = mine.user_id
    -- Those of operators are told with their reasons, and only ever last a moment.
    where mine.id = p_session_id and not s.by_operator
    order by s.id = p_session_id desc, s.refreshed_at desc
    limit 100
$$;
comment on function auth.list_sessions(uuid) is
    'At most 100 sessions of the person of a live one, that one first, then the latest used.';

create or replace function auth.start_operator_session(p_user_id uuid)
returns uuid
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    -- Without a refresh token: it ends with its access token.
    insert into auth.sessions (user_id, by_operator)
    select u.id, true from auth.users as u where u.id = p_user_id
    returning id
$$;
comment on function auth.start_operator_session(uuid) is 'A session in which an operator acts as a person; null without an account.';

create or replace function auth.list_sessions_of(p_user_id uuid)
returns table (id uuid, created_at timestamptz, refreshed_at timestamptz, by_operator boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.created_at, s.refreshed_at, s.by_operator
    from auth.sessions as s
    where s.user_id = p_user_id
    order by s.refreshed_at desc, s.id
    limit 100
$$;
comment on function auth.list_sessions_of(uuid) is 'At most 100 sessions of a person, the latest used first; for operators.';

create or replace function auth.end_sessions_of(p_user_id uuid)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    delete from auth.sessions as s where s.user_id = p_user_id;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function auth.end_sessions_of(uuid) is 'End all sessions of a person; how many there were.';

create or replace function auth.end_password(p_user_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- No password has the hash '!', and an account that only a mailbox opens is not deleted for want of a confirmation.
    update auth.users as u set encrypted_password = '!', confirm_by = null, updated_at = automatch.now()
    where u.id = p_user_id;
    perform auth.end_sessions_of(p_user_id);
    perform auth.end_links(p_user_id);
end
$$;
comment on function auth.end_password(uuid) is
    'End the password, the sessions and the links of a person, who chooses a new password by a mailed link.';

create or replace function auth.enter_password(p_session_id uuid)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$ update auth.sessions as s set password_entered_at = automatch.now() where s.id = p_session_id $$;
comment on function auth.enter_password(uuid) is 'Note that the person of a session has just entered their password.';

create or replace function auth.notify_sessions_ended()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from ended_sessions) then
        return null;
    end if;
    -- A notification carries at most 8,000 bytes; an empty one may be about anybody.
    perform pg_notify('automatch_sessions', case
        when (select count(*) from ended_sessions) <= 200
        then (select string_agg(s.id::text, ',') from ended_sessions as s)
        else ''
    end);
    return null;
end
$$;
create or replace trigger sessions_ended
after delete on auth.sessions
referencing old table as ended_sessions
for each statement execute function auth.notify_sessions_ended();

revoke execute on function auth.notify_sessions_ended() from public;
revoke execute on function
    auth.end_sessions(uuid, text), auth.list_sessions(uuid), auth.update_user(uuid, text, jsonb),
    auth.list_sessions_of(uuid), auth.end_sessions_of(uuid), auth.end_password(uuid), auth.enter_password(uuid),
    auth.start_operator_session(uuid)
from public;
grant execute on function
    auth.end_sessions(uuid, text), auth.list_sessions(uuid), auth.update_user(uuid, text, jsonb),
    auth.list_sessions_of(uuid), auth.end_sessions_of(uuid), auth.end_password(uuid), auth.enter_password(uuid),
    auth.start_operator_session(uuid)
to automatch_api;
