-- Mailed links: to confirm the address, to sign in without a password, to choose a new one, and to change the
-- address. Idempotent.

create table if not exists auth.one_time_tokens (
    token_sha256 bytea primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    purpose text not null,
    expires_at timestamptz not null,
    constraint purpose_is_known check (
        purpose in ('recovery', 'sign_in', 'email_old', 'email_new', 'sign_up', 'invite')
    )
);
comment on table auth.one_time_tokens is 'Hashes of tokens in mailed links. The first use ends all of its purpose.';
create index if not exists one_time_tokens_user_idx on auth.one_time_tokens (user_id, purpose, expires_at);
alter table auth.one_time_tokens enable row level security;
alter table auth.one_time_tokens force row level security;
drop policy if exists owner on auth.one_time_tokens;
create policy owner on auth.one_time_tokens to current_user using (true) with check (true);

create table if not exists auth.email_changes (
    user_id uuid primary key references auth.users (id) on delete cascade,
    new_email text not null,
    confirmed_by text[] not null default '{}',
    expires_at timestamptz not null
);
comment on table auth.email_changes is 'Changes of address that wait until both addresses have confirmed them.';
create index if not exists email_changes_email_idx on auth.email_changes (new_email);
create index if not exists email_changes_expires_idx on auth.email_changes (expires_at);
alter table auth.email_changes alter column new_email set statistics 0;
alter table auth.email_changes enable row level security;
alter table auth.email_changes force row level security;
drop policy if exists owner on auth.email_changes;
create policy owner on auth.email_changes to current_user using (true) with check (true);

create or replace function auth.find_link_user(p_email text, p_purpose text, p_user_id uuid)
returns uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.id from auth.users as u
    where p_purpose <> 'email_new' and lower(u.email) = lower(p_email)
      and (p_purpose not in ('sign_up', 'invite') or u.email_confirmed_at is null)
      and (p_purpose <> 'email_old' or u.email_confirmed_at is not null)
    union all
    select c.user_id from auth.email_changes as c
    where p_purpose = 'email_new' and c.user_id = p_user_id and c.new_email = lower(p_email)
      and c.expires_at > automatch.now()
      -- Nobody is told that somebody else has the address: no mail comes.
      and not exists (select from auth.users as u where lower(u.email) = lower(p_email))
$$;
comment on function auth.find_link_user(text, text, uuid) is 'Whose account a link to an address is for, or null.';

create or replace function auth.find_email_change(p_token_sha256 bytea)
returns table (user_id uuid, old_email text, new_email text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.id, u.email, c.new_email
    from auth.one_time_tokens as t
    join auth.users as u on u.id = t.user_id
    join auth.email_changes as c on c.user_id = t.user_id and c.expires_at > automatch.now()
    where t.token_sha256 = p_token_sha256 and t.purpose in ('email_old', 'email_new')
      and t.expires_at > automatch.now()
$$;
comment on function auth.find_email_change(bytea) is 'The change that a link confirms, or no row.';

create or replace function auth.end_links(p_user_id uuid)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from auth.one_time_tokens as t where t.user_id = p_user_id;
    delete from auth.email_changes as c where c.user_id = p_user_id;
$$;
comment on function auth.end_links(uuid) is 'End all links of a person.';

create or replace function auth.user_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A link is for the address and the password that it was mailed with, whoever changes them.
    perform auth.end_links(old.id);
    if lower(new.email) <> lower(old.email) then
        new.email_confirmed_at := null;
    end if;
    return new;
end
$$;
create or replace trigger user_changed
before update of email, encrypted_password on auth.users
for each row
when ((old.email, old.encrypted_password) is distinct from (new.email, new.encrypted_password))
execute function auth.user_changed();

create or replace function auth.sign_up(p_email text, p_encrypted_password text, p_data jsonb)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_taken boolean := exists (select from auth.users as u where lower(u.email) = lower(p_email));
    v_id uuid;
begin
    perform public.enqueue_mail('sign_up', p_email);
    begin
        -- As much work for a taken address, so that the time does not tell; nothing of it stays.
        v_id := auth.create_user(
            case when v_is_taken then gen_random_uuid() || '@invalid' else p_email end, p_encrypted_password, p_data
        );
        update auth.users set confirm_by = automatch.now() + interval '7 days' where id = v_id;
        if v_is_taken then
            raise exception using errcode = 'triggered_action_exception';
        end if;
    exception when triggered_action_exception then
        v_id := null;
    end;
    return v_id;
end
$$;
comment on function auth.sign_up(text, text, jsonb) is
    'Make an account that nobody can use before its address is confirmed by mail; null when the address is taken.';

create or replace function auth.request_email_change(p_session_id uuid, p_new_email text, p_life interval)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user auth.users;
begin
    select u.* into v_user
    from auth.sessions as s join auth.users as u on u.id = s.user_id
    where s.id = p_session_id;
    if not found then
        return false;
    end if;
    insert into auth.email_changes as c (user_id, new_email, expires_at, confirmed_by)
    values (
        v_user.id, lower(p_new_email), automatch.now() + p_life,
        -- One that was mistyped could never agree to be corrected.
        case when v_user.email_confirmed_at is null then '{email_old}' else '{}' end::text[]
    )
    on conflict (user_id) do update
    set new_email = excluded.new_email, expires_at = excluded.expires_at, confirmed_by = excluded.confirmed_by;
    -- Links that were mailed before were for another change.
    delete from auth.one_time_tokens as t
    where t.user_id = v_user.id and t.purpose in ('email_old', 'email_new');
    if v_user.email_confirmed_at is not null then
        perform public.enqueue_mail('email_old', v_user.email, v_user.id);
    end if;
    perform public.enqueue_mail('email_new', p_new_email, v_user.id);
    return true;
end
$$;
comment on function auth.request_email_change(uuid, text, interval) is
    'Ask the old address, if it was ever confirmed, and the new one whether the person of a live session may change '
    'it; false once the session has ended.';

create or replace function auth.resend_email_change(p_email text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_change auth.email_changes;
begin
    select c.* into v_change
    from auth.email_changes as c join auth.users as u on u.id = c.user_id
    where lower(u.email) = lower(p_email) and c.expires_at > automatch.now();
    -- The same work without a change: these mails are for nobody.
    perform public.enqueue_mail('email_old', p_email, v_change.user_id);
    perform public.enqueue_mail('email_new', coalesce(v_change.new_email, p_email), v_change.user_id);
end
$$;
comment on function auth.resend_email_change(text) is
    'Mail the links of the change that waits for the account with an address, if there is one, again.';

create or replace function auth.confirm_email_change(p_token_sha256 bytea)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token auth.one_time_tokens;
    v_change auth.email_changes;
begin
    select t.* into v_token from auth.one_time_tokens as t
    where t.token_sha256 = p_token_sha256 and t.purpose in ('email_old', 'email_new');
    if not found or auth.use_one_time_token(p_token_sha256, v_token.purpose) is null then
        return null;
    end if;
    update auth.email_changes as c
    set confirmed_by = array_append(array_remove(c.confirmed_by, v_token.purpose), v_token.purpose)
    where c.user_id = v_token.user_id and c.expires_at > automatch.now()
    returning * into v_change;
    if not found then
        return null;
    end if;
    if not v_change.confirmed_by @> '{email_old,email_new}' then
        return 'waiting';
    end if;
    begin
        update auth.users set email = v_change.new_email, updated_at = automatch.now() where id = v_change.user_id;
        -- The link to it was used.
        update auth.users set email_confirmed_at = automatch.now() where id = v_change.user_id;
    exception when unique_violation then
        -- Somebody made an account with it meanwhile.
        return null;
    end;
    update public.profiles set email = v_change.new_email where id = v_change.user_id;
    return 'changed';
end
$$;
comment on function auth.confirm_email_change(bytea) is
    'Use the link of one address: `waiting` for the other one, `changed` when it was the second, or null.';

create or replace function auth.find_invitable(p_user_id uuid)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.email from auth.users as u
    where u.id = p_user_id and u.email_confirmed_at is null and u.encrypted_password = '!'
$$;
comment on function auth.find_invitable(uuid) is 'The address of an account that nobody has used yet, or null.';

create or replace function auth.invite_imported(p_import_id uuid, p_pause interval)
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    with people as (
        select distinct f.profile_id as id
        from automatch.imported_photos as i join public.faces as f on f.id = i.face_id
        where i.import_id = p_import_id
    ), invited as (
        insert into automatch.mails (kind, recipient, run_at)
        select 'invite', lower(u.email), automatch.now() + p_pause * (row_number() over (order by u.id) - 1)
        from people as p join auth.users as u on u.id = p.id
        where auth.find_invitable(u.id) is not null
          -- An invitation of before goes on working.
          and not exists (
              select from auth.one_time_tokens as t
              where t.user_id = u.id and t.purpose = 'invite' and t.expires_at > automatch.now()
          )
        on conflict on constraint mails_are_single do nothing
        returning 1
    )
    select count(*)::integer from invited
$$;
comment on function auth.invite_imported(uuid, interval) is
    'Have the people of an import invited who never used their account, with a pause after each mail; how many.';

create or replace function auth.count_invitations()
returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select count(*)::integer from automatch.mails as m where m.kind = 'invite' and not m.failed $$;
comment on function auth.count_invitations() is 'How many invitations wait to be mailed.';

create or replace function auth.create_one_time_token(
    p_email text, p_purpose text, p_token_sha256 bytea, p_life interval, p_user_id uuid default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
begin
    select u.id into v_user_id from auth.users as u
    where u.id = auth.find_link_user(p_email, p_purpose, p_user_id)
    for share;
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
comment on function auth.create_one_time_token(text, text, bytea, interval, uuid) is
    'Keep a token for the person with an address; null when there is none. At most ten of a purpose are kept.';

create or replace function auth.find_one_time_token(p_token_sha256 bytea, p_purpose text)
returns table (user_id uuid, email text, is_confirmed boolean, has_password boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        u.id, u.email, u.email_confirmed_at is not null,
        (select f.encrypted_password <> '!' from auth.find_credentials(u.email) as f)
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
    v_encrypted_password text := p_encrypted_password;
begin
    -- Deleting it is what makes one of several uses at once the first.
    delete from auth.one_time_tokens as t
    where t.token_sha256 = p_token_sha256 and t.purpose = p_purpose and t.expires_at > automatch.now()
    returning t.user_id into v_user_id;
    if v_user_id is null then
        return null;
    end if;
    delete from auth.one_time_tokens as t where t.user_id = v_user_id and t.purpose = p_purpose;
    if p_purpose in ('email_old', 'email_new') then
        return v_user_id;
    end if;
    if v_encrypted_password is null and p_purpose <> 'sign_up' then
        -- Whoever made the account had not shown that the address is theirs: their password is none.
        select '!' into v_encrypted_password
        from auth.users as u where u.id = v_user_id and u.email_confirmed_at is null;
    end if;
    update auth.users as u
    set encrypted_password = coalesce(v_encrypted_password, u.encrypted_password),
        -- Only who reads mail to the address comes by a link.
        email_confirmed_at = coalesce(u.email_confirmed_at, automatch.now()),
        confirm_by = null,
        updated_at = automatch.now()
    where u.id = v_user_id;
    if v_encrypted_password is not null then
        -- Whoever knew the old password is signed out.
        delete from auth.sessions as s where s.user_id = v_user_id;
    end if;
    return v_user_id;
end
$$;
comment on function auth.use_one_time_token(bytea, text, text) is
    'Use a token up, with all others of its purpose, and confirm the address; whose it is, or null. With a password '
    'that is theirs from now on.';

revoke execute on function auth.find_link_user(text, text, uuid), auth.end_links(uuid), auth.user_changed() from public;
revoke execute on function
    auth.find_email_change(bytea), auth.confirm_email_change(bytea), auth.request_email_change(uuid, text, interval),
    auth.create_one_time_token(text, text, bytea, interval, uuid), auth.find_one_time_token(bytea, text),
    auth.use_one_time_token(bytea, text, text), auth.sign_up(text, text, jsonb), auth.resend_email_change(text),
    auth.find_invitable(uuid), auth.invite_imported(uuid, interval), auth.count_invitations()
from public;
grant execute on function
    auth.find_email_change(bytea), auth.confirm_email_change(bytea), auth.request_email_change(uuid, text, interval),
    auth.create_one_time_token(text, text, bytea, interval, uuid), auth.find_one_time_token(bytea, text),
    auth.use_one_time_token(bytea, text, text), auth.sign_up(text, text, jsonb), auth.resend_email_change(text),
    auth.find_invitable(uuid), auth.invite_imported(uuid, interval), auth.count_invitations()
to automatch_api;
