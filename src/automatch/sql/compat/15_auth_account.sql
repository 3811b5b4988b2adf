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
        perform auth.end_links((select s.user_id from auth.sessions as s where s.id = p_session_id));
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
    where mine.id = p_session_id
    order by s.id = p_session_id desc, s.refreshed_at desc
    limit 100
$$;
comment on function auth.list_sessions(uuid) is
    'At most 100 sessions of the person of a live one, that one first, then the latest used.';

create or replace function auth.notify_sessions_ended()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('automatch_sessions', '');
    return null;
end
$$;
create or replace trigger sessions_ended
after delete on auth.sessions
for each statement execute function auth.notify_sessions_ended();

revoke execute on function auth.notify_sessions_ended() from public;
revoke execute on function
    auth.end_sessions(uuid, text), auth.list_sessions(uuid), auth.update_user(uuid, text, jsonb)
from public;
grant execute on function
    auth.end_sessions(uuid, text), auth.list_sessions(uuid), auth.update_user(uuid, text, jsonb)
to automatch_api;
