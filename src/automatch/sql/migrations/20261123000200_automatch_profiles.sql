-- People, and their consent to having their face compared.

create table public.profiles (
    id uuid primary key default gen_random_uuid(),
    email text,
    name text,
    school text,
    gender text,
    profile_type text not null default 'user',
    birth_date date,
    discoverable boolean not null default true,
    simulated boolean not null default false,
    created_at timestamptz not null default automatch.now(),
    updated_at timestamptz not null default automatch.now(),
    constraint gender_is_male_or_female check (gender in ('male', 'female')),
    constraint profile_type_is_known check (profile_type in ('user', 'celebrity')),
    constraint school_is_trimmed check (school = btrim(school) and school <> '' and length(school) <= 120),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 80),
    -- What the search copy of a face refers to, so that it can never be stale.
    constraint profiles_search_key unique (id, school, gender)
);
comment on table public.profiles is 'One row a person; id is the id of auth.users where the person signs in.';
comment on column public.profiles.discoverable is 'Whether searches of others may find this person.';
comment on column public.profiles.simulated is 'Made by `automatch demo`; `automatch demo --remove` deletes it.';

-- The guide's count of potential matches, and every list of a school's people.
create index idx_profiles_school_gender on public.profiles (school, gender) where profile_type = 'user';
-- Finds the spelling of a school that is there already.
create index profiles_school_spelling_idx on public.profiles (lower(school));

create function automatch.check_profile()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.birth_date > (automatch.now() - interval '18 years')::date then
        perform automatch.refuse('age_not_allowed', 'Auto-Match is for people of 18 years and older.');
    end if;
    if new.birth_date < date '1900-01-01' then
        perform automatch.refuse('input_invalid', 'birth_date is not the birth date of a living person.');
    end if;
    new.updated_at := automatch.now();
    return new;
end
$$;

create trigger profiles_check
before insert or update on public.profiles
for each row execute function automatch.check_profile();

-- convert_to() is not marked immutable because an encoding can be redefined; UTF8 is not.
create function automatch.text_sha256(p_text text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select encode(sha256(convert_to(p_text, 'UTF8')), 'hex') $$;

create table public.consent_texts (
    version text primary key,
    body text not null,
    sha256 text not null generated always as (automatch.text_sha256(body)) stored,
    published_at timestamptz not null default automatch.now()
);
comment on table public.consent_texts is
    'Every version of what people agreed to; the newest is the current one. Add rows, never edit.';

insert into public.consent_texts (version, body) values (
    '2026-11',
    'I am 18 or older, the photos that I upload show me, and I agree that Auto-Match computes a face '
    'template (biometric data) from them and compares it with the templates of people of my school and '
    'the opposite gender who agreed to the same. People I look alike see my name, school and photo, and '
    'I see theirs. Nothing is used for anything else or given to anyone else. I can withdraw this at any '
    'time in my profile; my photos, templates and matches are then deleted.'
);

create table public.biometric_consents (
    id bigint generated always as identity primary key,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    action text not null,
    text_version text not null references public.consent_texts (version),
    text_sha256 text not null,
    recorded_at timestamptz not null default automatch.now(),
    constraint action_is_granted_or_withdrawn check (action in ('granted', 'withdrawn'))
);
comment on table public.biometric_consents is 'Insert-only ledger; the newest row of a person holds.';

create index biometric_consents_profile_idx on public.biometric_consents (profile_id, id desc);

create function automatch.keep_consent_ledger()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Erasing a person takes their consents along: by then the profile is gone.
    if tg_op = 'DELETE' and not exists (select from public.profiles where id = old.profile_id) then
        return old;
    end if;
    raise exception using
        errcode = 'integrity_constraint_violation',
        message = 'biometric_consents is insert-only: record a withdrawal instead';
end
$$;

create trigger biometric_consents_keep
before update or delete on public.biometric_consents
for each row execute function automatch.keep_consent_ledger();

create trigger biometric_consents_keep_all
before truncate on public.biometric_consents
for each statement execute function automatch.keep_consent_ledger();

create function automatch.lock_consent()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Against an upload that has just found the consent it needs: see require_consent().
    perform from public.profiles where id = new.profile_id for update;
    -- The newest row holds: of two that come at once, the one that was let in last.
    new.id := nextval('public.biometric_consents_id_seq');
    return new;
end
$$;

create trigger biometric_consents_lock
before insert on public.biometric_consents
for each row execute function automatch.lock_consent();

create function automatch.has_consent(p_profile_id uuid)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select c.action = 'granted'
        from public.biometric_consents as c
        where c.profile_id = p_profile_id
        order by c.id desc
        limit 1
    ), false)
$$;

create function automatch.require_consent()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- faces and match_jobs name the person differently; the guide's names stay.
    v_profile_id uuid := coalesce(to_jsonb(new) ->> 'profile_id', to_jsonb(new) ->> 'user_id')::uuid;
begin
    -- A withdrawal waits here until this upload is committed, and then deletes it;
    -- without the lock, neither would see the other.
    -- `share` waits for changes of discoverable too, which the search copy depends on.
    perform from public.profiles where id = v_profile_id for share;
    if not automatch.has_consent(v_profile_id) then
        perform automatch.refuse(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    return new;
end
$$;
comment on function automatch.require_consent() is 'No live consent, no face and no job, whoever asks.';

create function public.record_consent(p_granted boolean, p_version text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_current public.consent_texts;
begin
    -- One consent at a time a person, so that the last one asked for is the last one kept.
    perform from public.profiles where id = automatch.uid() for update;
    if not found then
        perform automatch.refuse('profile_not_found', 'This profile does not exist any more.');
    end if;
    select t.* into v_current from public.consent_texts as t order by t.published_at desc, t.version desc limit 1;
    if p_granted and p_version is distinct from v_current.version then
        perform automatch.refuse(
            'consent_outdated',
            'The consent text has changed; read the current version and consent to that one.'
        );
    end if;
    if p_granted = automatch.has_consent(automatch.uid()) then
        return;
    end if;
    insert into public.biometric_consents (profile_id, action, text_version, text_sha256)
    values (
        automatch.uid(),
        case when p_granted then 'granted' else 'withdrawn' end,
        v_current.version,
        v_current.sha256
    );
end
$$;
comment on function public.record_consent(boolean, text) is
    'Record that the caller gives (with the version read) or withdraws consent.';

create function public.save_profile(p_name text, p_school text, p_gender text, p_birth_date date)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Some keyboards send a letter and its accent as two characters, others as one.
    v_school text := pg_catalog.btrim(pg_catalog.regexp_replace(normalize(p_school, nfc), '\s+', ' ', 'g'));
begin
    -- "uit" and "UIT" are one school: the spelling that most people use holds. One
    -- at a time, or the first two people of a school could split it for good.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(pg_catalog.lower(v_school), 0));
    select coalesce((
        select p.school
        from public.profiles as p
        where pg_catalog.lower(p.school) = pg_catalog.lower(v_school)
        group by p.school
        order by pg_catalog.count(*) desc, p.school
        limit 1
    ), v_school) into v_school;
    update public.profiles
    set name = pg_catalog.btrim(p_name), school = v_school, gender = p_gender, birth_date = p_birth_date
    where id = automatch.uid();
    if not found then
        perform automatch.refuse('profile_not_found', 'This profile does not exist any more.');
    end if;
end
$$;
comment on function public.save_profile(text, text, text, date) is 'Save the caller''s own profile.';

create function public.list_schools()
returns table (school text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.school
    from public.profiles as p
    where p.school is not null and p.profile_type = 'user'
    group by p.school
    order by count(*) desc, p.school
    limit 100
$$;
comment on function public.list_schools() is 'The schools that most people name, to choose a spelling from.';

alter table public.profiles enable row level security;
alter table public.profiles force row level security;
create policy service on public.profiles to service_role, current_user using (true) with check (true);
create policy own_profile on public.profiles for select to authenticated
    using (id = (select automatch.uid()));
revoke all on public.profiles from anon, authenticated, service_role;
grant select on public.profiles to authenticated;
grant select, insert, update, delete on public.profiles to service_role;

alter table public.consent_texts enable row level security;
alter table public.consent_texts force row level security;
create policy service on public.consent_texts to service_role, current_user using (true) with check (true);
create policy anyone_reads on public.consent_texts for select to anon, authenticated using (true);
revoke all on public.consent_texts from anon, authenticated, service_role;
grant select on public.consent_texts to anon, authenticated, service_role;

alter table public.biometric_consents enable row level security;
alter table public.biometric_consents force row level security;
create policy service on public.biometric_consents to service_role, current_user
    using (true) with check (true);
create policy own_consents on public.biometric_consents for select to authenticated
    using (profile_id = (select automatch.uid()));
revoke all on public.biometric_consents from anon, authenticated, service_role;
grant select on public.biometric_consents to authenticated;
grant select, insert on public.biometric_consents to service_role;

revoke execute on all functions in schema automatch from public;
grant execute on function automatch.has_consent(uuid) to service_role;
revoke execute on function public.record_consent(boolean, text) from public, anon;
grant execute on function public.record_consent(boolean, text) to authenticated;
revoke execute on function public.save_profile(text, text, text, date) from public, anon;
grant execute on function public.save_profile(text, text, text, date) to authenticated;
revoke execute on function public.list_schools() from public, anon;
grant execute on function public.list_schools() to authenticated;
