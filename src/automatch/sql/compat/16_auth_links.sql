-- Mailed links: to sign in without a password, and to choose a new one. Idempotent.

create table if not exists auth.one_time_tokens (
    token_sha256 bytea primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    purpose text not null,
    expires_at timestamptz not null,
    constraint purpose_is_known check (purpose in ('recovery', 'sign_in'))
);
comment on table auth.one_time_tokens is 'Hashes of tokens in mailed links. The first use ends all of its purpose.';
create index if not exists one_time_tokens_user_idx on auth.one_time_tokens (user_id, purpose, expires_at);
alter table auth.one_time_tokens enable row level security;
alter table auth.one_time_tokens force row level security;
drop policy if exists owner on auth.one_time_tokens;
create policy owner on auth.one_time_tokens to current_user using (true) with check (true);

create or replace function auth.create_one_time_token(
    p_email text, p_purpose text, p_token_sha256 bytea, p_life interval
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
begin
    select u.id into v_user_id from auth.users as u where lower(u.email) = lower(p_email) for share;
    if v_user_id is null then
        return null;
    end if;
    -- A link that was mailed before goes on working, or anybody could end it by asking for another.
    delete from auth.one_time_tokens as t
    where t.user_id = v_user_id and (
        t.expires_at <= automatch.now() or t.token_sha256 in (
            select old.token_sha256 from auth.one_time_tokens as old
            where old.user_id = v_user_id and old.purpose = p_purpose
            order by old.expires_at desc offset 9
        )
    );
    insert into auth.one_time_tokens (token_sha256, user_id, purpose, expires_at)
    values (p_token_sha256, v_user_id, p_purpose, automatch.now() + p_life);
    return v_user_id;
end
$$;
comment on function auth.create_one_time_token(text, text, bytea, interval) is
    'Keep a token for the person with an address; null when there is none. At most ten of a purpose are kept.';

create or replace function auth.find_one_time_token(p_token_sha256 bytea, p_purpose text)
returns table (user_id uuid, email text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.id, u.email
    from auth.one_time_tokens as t
    join auth.users as u on u.id = t.user_id
    where t.token_sha256 = p_token_sha256 and t.purpose = p_purpose and t.expires_at > automatch.now()
$$;

create or replace function auth.use_one_time_token(
    p_token_sha256 bytea, p_purpose text, p_encrypted_password text default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
begin
    -- Deleting it is what makes one of several uses at once the first.
    delete from auth.one_time_tokens as t
    where t.token_sha256 = p_token_sha256 and t.purpose = p_purpose and t.expires_at > automatch.now()
    returning t.user_id into v_user_id;
    if v_user_id is null then
        return null;
    end if;
    delete from auth.one_time_tokens as t where t.user_id = v_user_id and t.purpose = p_purpose;
    if p_encrypted_password is not null then
        update auth.users as u
        set encrypted_password = p_encrypted_password, updated_at = automatch.now()
        where u.id = v_user_id;
        -- Whoever knew the old password is signed out.
        delete from auth.sessions as s where s.user_id = v_user_id;
    end if;
    return v_user_id;
end
$$;
comment on function auth.use_one_time_token(bytea, text, text) is
    'Use a token up, with all others of its purpose; whose it is, or null. With a password that is theirs from now on.';

revoke execute on function
    auth.create_one_time_token(text, text, bytea, interval), auth.find_one_time_token(bytea, text),
    auth.use_one_time_token(bytea, text, text)
from public;
grant execute on function
    auth.create_one_time_token(text, text, bytea, interval), auth.find_one_time_token(bytea, text),
    auth.use_one_time_token(bytea, text, text)
to automatch_api;
