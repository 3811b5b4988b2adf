-- Generated from sql/schema/ by `make baseline`. Edit the files there.

-- 00_roles.sql

-- The roles that everything is granted to. A restore runs this file alone, before the dump.

-- Bodies name objects of later files; a test checks every body once all of them are there.
set check_function_bodies = off;
-- `vector` may have been installed in either.
set search_path = public, extensions;

-- A Supabase project has the first three roles. Servers and workers connect with the three logins alone:
-- they own nothing and inherit nothing from the roles that they may become.
-- Every function pins its search_path with pg_temp last. Left out, pg_temp comes first, and a login's
-- temporary type `uuid` would run code of its own with the owner's rights.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute pg_catalog.format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
    foreach v_role in array array['automatch_api', 'automatch_worker', 'automatch_schedule'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            -- Not to be used before `automatch migrate` has given it a password; by that it also knows whether
            -- another installation has.
            execute pg_catalog.format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
end
$$;

grant anon, authenticated to automatch_api;
grant service_role to automatch_worker;

-- A query that runs longer blocks others and has no reader any more.
alter role automatch_api set statement_timeout = '15s';
alter role automatch_api set lock_timeout = '5s';
alter role automatch_api set idle_in_transaction_session_timeout = '15s';
alter role automatch_worker set statement_timeout = '30s';
alter role automatch_worker set lock_timeout = '5s';
alter role automatch_worker set idle_in_transaction_session_timeout = '15s';
-- Before PostgreSQL 18, a plan with a step that is switched off looks so costly that it is compiled: a claim
-- took 0.7 s.
alter role automatch_api set jit = off;
alter role automatch_worker set jit = off;
alter role automatch_schedule set jit = off;

alter role automatch_api set search_path = public, extensions;
alter role automatch_worker set search_path = public, extensions;
alter role automatch_schedule set search_path = public, extensions;

-- 00_schemas.sql

-- The two schemas, and pgvector.

create schema if not exists extensions;
create extension if not exists vector with schema extensions;

create schema automatch;
comment on schema automatch is 'Internals of Auto-Match. What apps and operators may use is in public.';

-- 01_errors_claims_clock.sql

-- The clock, the caller's identity, and how a function reports an error.

create function automatch.now()
returns timestamptz language sql set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;
comment on function automatch.now() is 'The clock for leases, retries and ages. Tests replace it.';

create function automatch.lock_key(p_purpose text)
returns bigint language sql immutable set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('automatch ' || p_purpose, 0) $$;
comment on function automatch.lock_key(text) is
    'The key of an advisory lock: worker, idle_worker, virtual_time, cleanup, owners, pauses, schedule, cron, backup, model, '
    'model_change, history, reports, uploads of a person, first photos of a school.';

create function automatch.claims()
returns jsonb language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- After a commit the setting is '' and not null.
    select coalesce(nullif(pg_catalog.current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create function automatch.uid()
returns uuid language sql stable set search_path = pg_catalog, pg_temp
as $$ select nullif(automatch.claims() ->> 'sub', '')::uuid $$;
comment on function automatch.uid() is 'The caller''s id, from the verified token; null without one.';

create function automatch.raise_error(p_code text, p_message text)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- The hint of SQLSTATE AM001 is an error code of docs/errors.md.
    raise exception using errcode = 'AM001', message = p_message, hint = p_code;
end
$$;

-- 02_schema_version.sql

-- Which versions of the program work on this schema: docs/upgrading.md.

create function public.schema_version()
returns table (version integer, oldest_program integer)
language sql immutable set search_path = pg_catalog, pg_temp
as $$ select 1, 1 $$;
comment on function public.schema_version() is
    'The number of this schema, and the number of the oldest schema whose programs still work on it.';

-- 09_schools.sql

-- Schools: the operator's list, and the spellings and mail domains that stand for each.

create function automatch.fold_school(p_name text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- NFKC makes one of widths, and NFD parts a tone from its vowel, so that it can move to the end of its syllable:
    -- "Hoà" and "Hòa" are one word. Ð (Icelandic) and Ɖ (African) look like Đ, and are typed for it.
    select btrim(regexp_replace(
        regexp_replace(
            normalize(
                translate(
                    lower(normalize(p_name, nfkc)),
                    U&'\00F0\0256\2018\2019\2010\2013\2014\00AD\200B\200C\200D\2060\FEFF',
                    U&'\0111\0111''''---'
                ),
                nfd
            ),
            '([\u0300\u0301\u0303\u0309\u0323])([^\u0300\u0301\u0303\u0309\u0323\s-]+)', '\2\1', 'g'
        ),
        '\s+', ' ', 'g'
    ))
$$;
comment on function automatch.fold_school(text) is
    'A key that is the same for all spellings of a name: of letters, case, width, spaces and the places of tones.';

create table automatch.schools (
    id uuid primary key default gen_random_uuid(),
    name text not null unique,
    is_open boolean not null default false,
    created_at timestamptz not null default automatch.now(),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 120)
);
comment on table automatch.schools is 'The schools that people can choose; profiles.school holds the name.';
comment on column automatch.schools.is_open is 'Whether everybody who says so belongs to it, without a proof.';

create table automatch.school_spellings (
    folded text primary key generated always as (automatch.fold_school(spelling)) stored,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    spelling text not null,
    constraint spelling_says_something check (folded <> '' and length(spelling) <= 120)
);
comment on table automatch.school_spellings is
    'What a school is called: its name, its former names and its aliases. Each belongs to one school.';
create index school_spellings_school_idx on automatch.school_spellings (school_id);

create table automatch.school_domains (
    domain text not null,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    primary key (domain, school_id),
    constraint domain_is_written_small check (domain = lower(btrim(domain)) and domain ~ '^[^\s@.]+(\.[^\s@.]+)+$')
);
comment on table automatch.school_domains is
    'A confirmed e-mail address at exactly this domain, and not below it, proves that a person belongs to the school.';
create index school_domains_school_idx on automatch.school_domains (school_id);

create function automatch.add_spelling(p_school_id uuid, p_spelling text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner automatch.schools;
begin
    insert into automatch.school_spellings (school_id, spelling) values (p_school_id, p_spelling)
    on conflict (folded) do nothing;
    select s.* into v_owner
    from automatch.school_spellings as p join automatch.schools as s on s.id = p.school_id
    where p.folded = automatch.fold_school(p_spelling);
    if v_owner.id <> p_school_id then
        perform automatch.raise_error('school_exists', p_spelling || ' is a spelling of ' || v_owner.name || '.');
    end if;
end
$$;

create function automatch.school_named()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.add_spelling(new.id, new.name);
    return null;
end
$$;

-- A former name goes on standing for the school.
create trigger schools_named after insert or update of name on automatch.schools
for each row execute function automatch.school_named();

create function automatch.find_school(p_school text)
returns automatch.schools language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.*
    from automatch.school_spellings as p join automatch.schools as s on s.id = p.school_id
    where p.folded = automatch.fold_school(p_school)
$$;
comment on function automatch.find_school(text) is 'The school that has this spelling, or null.';

create function automatch.require_school(p_school text)
returns automatch.schools language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.find_school(p_school);
begin
    if v_school.id is null then
        perform automatch.raise_error('school_unknown', 'There is no such school; choose one from the list.');
    end if;
    return v_school;
end
$$;
comment on function automatch.require_school(text) is 'The school that has this spelling; an error if there is none.';

create function automatch.lock_school(p_school text)
returns automatch.schools language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    -- Its name may have changed while this waited.
    select s.* into v_school from automatch.schools as s where s.id = v_school.id for share;
    return automatch.require_school(v_school.name);
end
$$;
comment on function automatch.lock_school(text) is
    'require_school(); whoever renames, opens, closes or removes it waits, and has been waited for. Before profiles.';

create function automatch.lock_schools_of(p_profile_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select from automatch.schools as s
    where s.name in (select p.school from public.profiles as p where p.id = any (p_profile_ids))
    order by s.id
    for share
$$;
comment on function automatch.lock_schools_of(uuid[]) is
    'Lock the schools of these people, as lock_school() does, before what is written about them refers to the school.';

create function public.list_schools()
returns table (school text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.name from automatch.schools as s
    where not exists (select from automatch.smoke_test_runs as t where t.school = s.name)
    order by lower(s.name), s.name
$$;
comment on function public.list_schools() is 'The names of the schools, to choose from, without those of smoke tests.';

-- Whether profiles change their school's name and nothing else: see rename_school().
create function automatch.is_renaming()
returns boolean language sql stable set search_path = pg_catalog, pg_temp
as $$ select coalesce(current_setting('automatch.renaming', true), '') = 'on' $$;

insert into automatch.schools (name, is_open) values ('UIT', true);

-- 10_profiles.sql

-- Profiles: one row a person.

create table public.profiles (
    id uuid primary key default gen_random_uuid(),
    email text,
    name text,
    school text,
    gender text,
    profile_type text not null default 'user',
    birth_date date,
    discoverable boolean not null default true,
    admitted boolean not null default false,
    simulated boolean not null default false,
    language text,
    created_at timestamptz not null default automatch.now(),
    updated_at timestamptz not null default automatch.now(),
    constraint gender_is_male_or_female check (gender in ('male', 'female')),
    constraint profile_type_is_known check (profile_type in ('user', 'celebrity')),
    constraint school_is_trimmed check (school = btrim(school) and school <> '' and length(school) <= 120),
    constraint language_is_a_tag check (language ~ '^[a-z]{2,3}$'),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 80)
);
comment on table public.profiles is 'One row a person; id is the id of auth.users where the person signs in.';
comment on column public.profiles.discoverable is 'Whether searches of others may find this person.';
comment on column public.profiles.admitted is
    'Whether this person takes part, by automatch.is_admitted(); a trigger keeps it.';
comment on column public.profiles.simulated is 'Made by `automatch demo`; `automatch demo --remove` deletes it.';
comment on column public.profiles.language is
    'Of pages and mails, as the person chose it; null is what their browser asks for.';
-- For the guide's count of potential matches, and for lists of a school's people.
create index idx_profiles_school_gender on public.profiles (school, gender) where profile_type = 'user';
-- New photos are compared with theirs too.
create index profiles_paused_idx on public.profiles (school) where not discoverable;

create function automatch.check_profile()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.birth_date > (automatch.now() - interval '18 years')::date then
        perform automatch.raise_error('age_not_allowed', 'Auto-Match is for people of 18 years and older.');
    end if;
    if new.birth_date < date '1900-01-01' then
        perform automatch.raise_error('input_invalid', 'birth_date is not the birth date of a living person.');
    end if;
    -- Whoever has photos had to give it.
    if tg_op = 'UPDATE' and new.birth_date is null and old.birth_date is not null then
        perform automatch.raise_error('input_invalid', 'A birth date can be corrected, not removed.');
    end if;
    new.updated_at := automatch.now();
    return new;
end
$$;

create trigger profiles_check before insert or update on public.profiles
for each row execute function automatch.check_profile();

create function public.save_profile(p_name text, p_school text, p_gender text, p_birth_date date)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id constant uuid := automatch.uid();
    v_school automatch.schools := automatch.lock_school(p_school);
begin
    perform from public.profiles as p where p.id = v_id for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    perform automatch.count_choice(v_id, v_school, p_gender);
    perform automatch.leave_other_schools(v_id, v_school.id);
    update public.profiles as p
    set name = btrim(p_name), school = v_school.name, gender = p_gender, birth_date = p_birth_date
    where p.id = v_id;
    perform automatch.refresh_email_proofs(array[v_id]);
end
$$;
comment on function public.save_profile(text, text, text, date) is
    'Save the caller''s own profile; p_school is any spelling of a school of the list.';

create function public.set_language(p_language text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update public.profiles as p set language = p_language where p.id = automatch.uid();
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    -- Null is what each browser asks for, which each device has told already.
    update automatch.push_subscriptions as s set language = p_language
    where s.profile_id = automatch.uid() and p_language is not null;
end
$$;
comment on function public.set_language(text) is
    'Set the language of the caller''s pages, mails and notifications; null is what their browser asks for.';

create function public.get_language(p_profile_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select p.language from public.profiles as p where p.id = p_profile_id $$;
comment on function public.get_language(uuid) is 'The language that a person chose, or null.';

-- The triggers of profiles update face_index and both feeds, and search again when somebody comes back.
create function public.set_discoverable(p_discoverable boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_discoverable is null then
        perform automatch.raise_error('input_invalid', 'Say true or false: whether others may find you.');
    end if;
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    update public.profiles as p set discoverable = p_discoverable
    where p.id = automatch.uid() and p.discoverable <> p_discoverable;
end
$$;
comment on function public.set_discoverable(boolean) is
    'Set whether searches of others may find the caller. If not, they leave the feeds of others at once and '
    'keep their photos and their own feed.';

-- 11_consents.sql

-- Consent to face matching: the texts, and who agreed to which.

-- convert_to() is not marked immutable because an encoding can be redefined; UTF8 is not.
create function automatch.text_sha256(p_text text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$ select encode(sha256(convert_to(p_text, 'UTF8')), 'hex') $$;

create table public.consent_texts (
    version text primary key,
    body text not null,
    sha256 text not null generated always as (automatch.text_sha256(body)) stored,
    published_at timestamptz not null default automatch.now(),
    language text not null default 'en',
    by_operator boolean not null default true,
    asks_again boolean not null default false,
    constraint language_is_a_tag check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    constraint body_is_text check (body = btrim(body, E' \n') and length(body) between 1 and 50000)
);
comment on table public.consent_texts is
    'Every version of what people agreed to, in all languages; public.current_notices() has those to agree to now.';
comment on column public.consent_texts.by_operator is 'Whether the operator wrote it; one that came with the product gives way.';
comment on column public.consent_texts.asks_again is 'Whether people who agreed to an earlier text are asked to agree again.';
insert into public.consent_texts (by_operator, version, body) values (
    false, '2026-11',
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
    source text not null default 'person',
    given_at timestamptz,
    evidence text,
    constraint action_is_granted_or_withdrawn check (action in ('granted', 'withdrawn')),
    constraint source_is_known check (source in ('person', 'import')),
    constraint imported_consent_has_evidence check (
        source = 'person' or (given_at is not null and evidence is not null and btrim(evidence) <> '')
    )
);
comment on table public.biometric_consents is 'Insert-only; the newest row of a person holds.';
comment on column public.biometric_consents.source is
    'person: given here; import: given elsewhere, see given_at and evidence.';
comment on column public.biometric_consents.given_at is 'When it was given elsewhere.';
comment on column public.biometric_consents.evidence is 'Where the operator keeps the proof.';
create index biometric_consents_profile_idx on public.biometric_consents (profile_id, id desc);
create index biometric_consents_text_idx on public.biometric_consents (text_version);

create function automatch.forbid_consent_changes()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- When a person is erased, the profile is deleted first.
    if tg_op = 'DELETE' and not exists (select from public.profiles where id = old.profile_id) then
        return old;
    end if;
    raise exception using
        errcode = 'integrity_constraint_violation',
        message = 'biometric_consents is insert-only: record a withdrawal instead';
end
$$;

create trigger biometric_consents_insert_only before update or delete on public.biometric_consents
for each row execute function automatch.forbid_consent_changes();

create trigger biometric_consents_no_truncate before truncate on public.biometric_consents
for each statement execute function automatch.forbid_consent_changes();

create function automatch.complete_consent()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Waits for uploads that have just checked the consent: see require_consent().
    perform from public.profiles where id = new.profile_id for update;
    -- Drawn behind the lock, so that ids grow in the order of the commits.
    new.id := nextval('public.biometric_consents_id_seq');
    -- Facts, whatever the insert says.
    new.recorded_at := automatch.now();
    new.text_sha256 := (select t.sha256 from public.consent_texts as t where t.version = new.text_version);
    return new;
end
$$;

create trigger biometric_consents_complete before insert on public.biometric_consents
for each row execute function automatch.complete_consent();

-- Not "order by id desc limit 1": that would be asked person by person where a query joins this for all.
create view automatch.consenting_profiles with (security_invoker = true) as
select c.profile_id
from public.biometric_consents as c
where c.action = 'granted' and not exists (
    select from public.biometric_consents as later
    where later.profile_id = c.profile_id and later.id > c.id
);
comment on view automatch.consenting_profiles is 'The rule of whose consent holds: the newest row of a person grants it.';

create function automatch.has_consent(p_profile_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from automatch.consenting_profiles as c where c.profile_id = p_profile_id) $$;

create function automatch.require_consent()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- faces has profile_id, match_jobs has user_id: both names are the guide's.
    v_profile_id uuid := coalesce(to_jsonb(new) ->> 'profile_id', to_jsonb(new) ->> 'user_id')::uuid;
    v_birth_date date;
begin
    -- A withdrawal waits for this lock until the upload is committed, and then deletes it. `share` also
    -- waits for changes of discoverable, on which face_index depends.
    select p.birth_date into v_birth_date from public.profiles as p where p.id = v_profile_id for share;
    if not automatch.has_consent(v_profile_id) then
        perform automatch.raise_error(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    if v_birth_date is null then
        perform automatch.raise_error('profile_incomplete', 'Fill in your birth date before uploading a photo.');
    end if;
    return new;
end
$$;
comment on function automatch.require_consent() is
    'Nobody gets a face or a job without consent and a birth date, whoever inserts it.';

-- With the caller's rights, so that nobody learns about others.
create function automatch.must_consent_again(p_profile_id uuid)
returns boolean language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select c.action = 'granted' and exists (
            select from public.consent_texts as later where later.asks_again and later.published_at > t.published_at
        )
        from public.biometric_consents as c
        join public.consent_texts as t on t.version = c.text_version
        where c.profile_id = p_profile_id
        order by c.id desc
        limit 1
    ), false)
$$;
comment on function automatch.must_consent_again(uuid) is
    'Whether a person agreed to a text that was replaced by one that everybody is asked to agree to.';

create function public.record_consent(p_granted boolean, p_version text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version text := p_version;
begin
    -- One at a time for each person, so that the last request is the last row.
    perform from public.profiles where id = automatch.uid() for update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    if p_granted and not exists (
        select from public.current_notices('consent') as n where n.version = p_version
    ) then
        perform automatch.raise_error(
            'consent_outdated',
            'The consent text has changed; read the current version and consent to that one.'
        );
    end if;
    if p_granted = automatch.has_consent(automatch.uid())
        and not (p_granted and automatch.must_consent_again(automatch.uid()))
    then
        return;
    end if;
    if not p_granted then
        select c.text_version into v_version from public.biometric_consents as c
        where c.profile_id = automatch.uid() order by c.id desc limit 1;
    end if;
    insert into public.biometric_consents (profile_id, action, text_version)
    values (automatch.uid(), case when p_granted then 'granted' else 'withdrawn' end, v_version);
end
$$;
comment on function public.record_consent(boolean, text) is
    'Record that the caller gives (with the version read) or withdraws consent.';

-- 12_audit_log.sql

-- The log of what operators did and looked at.

create function automatch.people_of(p_details jsonb)
returns text[] language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select array(select jsonb_array_elements_text(p_details -> 'people') where jsonb_typeof(p_details -> 'people') = 'array')
        || array_remove(array[p_details ->> 'person'], null)
$$;
comment on function automatch.people_of(jsonb) is
    'Ids of people whom an act concerns besides its object: details name one as person, several as people.';

create table automatch.audit_log (
    id bigint generated always as identity primary key,
    recorded_at timestamptz not null default automatch.now(),
    actor text not null,
    action text not null,
    -- Of the person, photo or case that was looked at or changed. No foreign key: the row outlives it.
    object_id uuid,
    reason text,
    details jsonb not null default '{}'
);
comment on table automatch.audit_log is
    'Insert-only. actor is `operator:` with the id of a profile, or the name that whoever has the machine or a key gave.';
create index audit_log_recorded_idx on automatch.audit_log (recorded_at desc, id desc);
create index audit_log_object_idx on automatch.audit_log (object_id, id desc);
create index audit_log_people_idx on automatch.audit_log using gin (automatch.people_of(details));

create function automatch.audit(
    p_actor text, p_action text, p_details jsonb, p_object_id uuid default null, p_reason text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.audit_log (actor, action, details, object_id, reason)
    values (
        -- session_user is the login; current_user is the owner of this function.
        left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200), p_action, jsonb_strip_nulls(p_details),
        p_object_id, left(p_reason, 200)
    )
$$;

create function automatch.is_audit_over(p_object_id uuid, p_until timestamptz)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (select from public.profiles as p where p.id = p_object_id)
        and not exists (
            select from automatch.audit_log as a where a.object_id = p_object_id and a.recorded_at >= p_until
        )
$$;
comment on function automatch.is_audit_over(uuid, timestamptz) is
    'Whether old rows may go: what they are about is gone, and so is the last row about it.';

create function automatch.audit_erasure()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from automatch.audit_log as a where a.object_id = old.id) then
        perform automatch.audit('database', 'person_erased', '{}', old.id);
    end if;
    return null;
end
$$;
comment on function automatch.audit_erasure() is
    'From this row on, those about the person are kept as long as any other, whoever erased them.';

create trigger profiles_audit_erasure after delete on public.profiles
for each row execute function automatch.audit_erasure();

create function public.record_act(
    p_actor text, p_action text, p_object_id uuid default null, p_reason text default null, p_details jsonb default '{}'
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ select automatch.audit(p_actor, p_action, p_details, p_object_id, p_reason) $$;
comment on function public.record_act(text, text, uuid, text, jsonb) is
    'Record an act or a look of an operator, in the transaction of the act.';

create function public.list_audit_log(
    p_limit integer default 50, p_person_id uuid default null, p_action text default null,
    p_actor text default null, p_before bigint default null
)
returns table (
    id bigint, recorded_at timestamptz, actor text, action text, object_id uuid, reason text, details jsonb
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.id, a.recorded_at, a.actor, a.action, a.object_id, a.reason, a.details
    from automatch.audit_log as a
    where (
            p_person_id is null or a.object_id = p_person_id
            or automatch.people_of(a.details) @> array[p_person_id::text]
        )
        and (p_action is null or a.action = p_action)
        and (p_actor is null or a.actor = p_actor)
        and (p_before is null or a.id < p_before)
    order by a.id desc
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_audit_log(integer, uuid, text, text, bigint) is
    'What operators did and looked at, newest first; about one person, of one action or actor, before one entry.';

-- 13_auth_users.sql

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

-- 14_rate_limits.sql

-- How often one person, account or network address may do something, counted for all servers together.
--
-- A limit of n in s seconds is a bucket of n charges that fills again steadily within s seconds. A row keeps when its
-- bucket will be full, which is all there is to know (the generic cell rate algorithm); a full bucket needs no row.

-- Unlogged: a crash fills all buckets, and a charge writes nothing to the log.
create unlogged table automatch.rate_limits (
    key bytea primary key,
    full_at timestamptz not null
) with (fillfactor = 50);
comment on table automatch.rate_limits is
    'Buckets that are not full, by a keyed hash of the limit and of whom it is for; the address itself is not kept.';

create function public.get_rate_limit_wait(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns double precision language sql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
    select coalesce(greatest(max(
        extract(epoch from l.full_at - automatch.now())::float8 - c.seconds * (c.count - 1) / c.count
    ), 0), 0)
    from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
    join automatch.rate_limits as l on l.key = c.key
$$;
comment on function public.get_rate_limit_wait(bytea[], integer[], double precision[]) is
    'Seconds until all buckets have a charge left; 0 if they have one now.';

create function public.refund_rate_limits(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    -- In the order in which they are charged, so that nobody waits in a circle.
    perform from automatch.rate_limits as l where l.key = any (p_keys) order by l.key for update;
    update automatch.rate_limits as l
    set full_at = l.full_at - make_interval(secs => c.seconds / c.count)
    from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
    where l.key = c.key;
end
$$;
comment on function public.refund_rate_limits(bytea[], integer[], double precision[]) is 'Undo a charge.';

create function public.charge_rate_limits(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns double precision language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now constant timestamptz := automatch.now();
    -- Most of a flood is refused here, without a write.
    v_wait double precision := public.get_rate_limit_wait(p_keys, p_counts, p_seconds);
begin
    if v_wait > 0 then
        return v_wait;
    end if;
    with charged as (
        insert into automatch.rate_limits as l (key, full_at)
        select c.key, v_now + make_interval(secs => c.seconds / c.count)
        from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
        order by c.key
        on conflict (key) do update set full_at = greatest(l.full_at, v_now) + (excluded.full_at - v_now)
        returning l.key, l.full_at
    )
    select coalesce(max(extract(epoch from l.full_at - v_now)::float8 - c.seconds), 0) into v_wait
    from charged as l
    join unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds) on c.key = l.key;
    -- More than rounding: somebody took the last charge at the same time.
    if v_wait > 0.001 then
        perform public.refund_rate_limits(p_keys, p_counts, p_seconds);
        return v_wait;
    end if;
    return 0;
end
$$;
comment on function public.charge_rate_limits(bytea[], integer[], double precision[]) is
    'Take one charge from each bucket and return 0; where one is empty, take none and return the seconds to wait.';

create function automatch.charge_act(p_act text, p_count integer, p_message text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if public.charge_rate_limits(
        array[sha256(convert_to(p_act || ' ' || automatch.uid(), 'UTF8'))], array[p_count], array[86400::float8]
    ) > 0 then
        perform automatch.raise_error('rate_limited', p_message);
    end if;
end
$$;
comment on function automatch.charge_act(text, integer, text) is
    'Count an act of the caller, which people reach without a server too; an error when there were too many in a day. '
    'After all other locks.';

create function public.clean_up_rate_limits()
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with deleted as (
        delete from automatch.rate_limits as l
        where l.key = any (array(
            select old.key from automatch.rate_limits as old
            where old.full_at < automatch.now()
            limit 5000
            for update skip locked
        ))
        returning l.key
    )
    select count(*)::integer from deleted
$$;
comment on function public.clean_up_rate_limits() is
    'Delete buckets that are full, at most 5,000; call again while it returns that many.';

-- 15_mails.sql

-- Mails that are to be sent. A row says what is asked for and by which address; what the mail says, its link above all,
-- is made when it is sent, so that nobody who reads the database or a backup can use it.

create table automatch.mails (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    recipient text not null,
    profile_id uuid references public.profiles (id) on delete cascade,
    requested_at timestamptz not null default automatch.now(),
    run_at timestamptz not null default automatch.now(),
    attempts smallint not null default 0,
    failed boolean not null default false,
    error text,
    -- No foreign key: the mail of a deleted case is dropped when it is written.
    case_id uuid,
    receipt text,
    language text default nullif(current_setting('automatch.language', true), ''),
    constraint kind_is_known check (kind in (
        'recovery', 'sign_in', 'email_old', 'email_new', 'sign_up', 'invite', 'membership', 'impersonation',
        'take_down', 'case_news', 'inactive', 'erased', 'digest'
    )),
    -- Whoever asks again while a mail waits gets one.
    constraint mails_are_single unique nulls not distinct (profile_id, case_id, kind, recipient)
);
comment on table automatch.mails is
    'Mails that wait, or were given up; a row ends when its mail is sent. The address may be one that nobody has an '
    'account with: what is written for it is the same, so that no answer and no time tells.';
comment on column automatch.mails.profile_id is
    'Whose account it is about, where several people may ask for a mail to one address.';
comment on column automatch.mails.case_id is 'Of somebody who asked for something without an account.';
comment on column automatch.mails.receipt is
    'Of an erasure: the account is gone, and with the mail goes the address.';
comment on column automatch.mails.language is
    'Of whoever asked for it, where that was the person themselves; what the profile says counts more.';
create index mails_run_idx on automatch.mails (run_at) where not failed;
create index mails_requested_idx on automatch.mails (requested_at);

create function public.enqueue_mail(
    p_kind text, p_recipient text, p_profile_id uuid default null, p_case_id uuid default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.mails (kind, recipient, profile_id, case_id)
    values (p_kind, lower(p_recipient), p_profile_id, p_case_id)
    on conflict on constraint mails_are_single
    do update set requested_at = automatch.now(), run_at = automatch.now(), attempts = 0, failed = false, error = null,
        language = excluded.language
$$;
comment on function public.enqueue_mail(text, text, uuid, uuid) is 'Have a mail sent, whether somebody has this address or not.';

create function public.enqueue_receipt(p_recipient text, p_receipt text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.mails (kind, recipient, receipt) values ('erased', lower(p_recipient), p_receipt)
    on conflict on constraint mails_are_single     do update set receipt = excluded.receipt, requested_at = automatch.now(), run_at = automatch.now(), attempts = 0,
        failed = false, error = null
$$;
comment on function public.enqueue_receipt(text, text) is 'Have a receipt mailed to the address of who was erased.';

create function automatch.mail_waits()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('automatch_mails', '');
    return null;
end
$$;

create trigger mails_wait after insert or update of failed on automatch.mails
for each statement execute function automatch.mail_waits();

create function automatch.mail_language(p_mail automatch.mails)
returns text language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select p.language from public.profiles as p
            where p.id = p_mail.profile_id or (p_mail.profile_id is null and p.email = p_mail.recipient)
            limit 1
        ),
        p_mail.language
    )
$$;
comment on function automatch.mail_language(automatch.mails) is 'In which language its reader gets a mail, if that is known.';

create function public.take_mail(p_lease interval)
returns table (
    id uuid, kind text, recipient text, profile_id uuid, case_id uuid, attempts smallint, receipt text, language text
)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.mails as m
    set attempts = m.attempts + 1, run_at = automatch.now() + p_lease
    where m.id = (
        select w.id from automatch.mails as w
        where not w.failed and w.run_at <= automatch.now()
        order by w.run_at
        limit 1
        for update skip locked
    )
    returning m.id, m.kind, m.recipient, m.profile_id, m.case_id, m.attempts, m.receipt, automatch.mail_language(m)
$$;
comment on function public.take_mail(interval) is
    'The mail that is due first, or no row. Unless it is finished within the lease, it is due again.';

create function public.finish_mail(p_id uuid, p_attempts smallint)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_mail automatch.mails;
begin
    -- Unless it was asked for again meanwhile.
    delete from automatch.mails as m where m.id = p_id and m.attempts = p_attempts returning * into v_mail;
    if v_mail.kind = 'inactive' then
        update automatch.inactivity_warnings as w set mailed_at = automatch.now()
        where w.profile_id = v_mail.profile_id;
    elsif v_mail.kind = 'erased' then
        -- The address leaves the files of the database too.
        insert into automatch.erasures default values on conflict do nothing;
    end if;
end
$$;
comment on function public.finish_mail(uuid, smallint) is 'Forget a mail that was sent, or that is for nobody.';

create function public.postpone_mail(p_id uuid, p_attempts smallint, p_error text, p_delay interval)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.mails as m
    set error = p_error, failed = p_delay is null, run_at = automatch.now() + coalesce(p_delay, interval '0')
    where m.id = p_id and m.attempts = p_attempts
$$;
comment on function public.postpone_mail(uuid, smallint, text, interval) is
    'Try a mail again after a delay; without one it has failed for good.';

create function public.list_mails(p_limit integer default 50, p_operator_id uuid default null)
returns table (
    id uuid, kind text, recipient text, requested_at timestamptz, attempts smallint, failed boolean, error text,
    profile_id uuid
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.email_changes') is null then
        return;
    end if;
    return query
    select m.id, m.kind, m.recipient, m.requested_at, m.attempts, m.failed, m.error,
        coalesce(m.profile_id, public.find_person_by_email(m.recipient))
    from automatch.mails as m
    -- Others are asked for by strangers who try addresses.
    where (
            m.case_id is not null
            or exists (select from auth.users as u where lower(u.email) = m.recipient)
            or exists (select from auth.email_changes as c where c.new_email = m.recipient)
        )
        and not exists (
            select from automatch.find_mail_people(m) as s where s.profile_id = p_operator_id and not s.is_subject
        )
    order by m.requested_at desc, m.id
    limit least(greatest(p_limit, 1), 1000);
end
$$;
comment on function public.list_mails(integer, uuid) is
    'Mails to people who have an account or asked for a take-down, newest request first; without those of cases in which '
    'the operator is a side.';

create function public.resend_mail(p_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.mails as m set run_at = automatch.now(), attempts = 0, failed = false, error = null
    where m.id = p_id and m.id in (select l.id from public.list_mails(1000) as l);
    if not found then
        perform automatch.raise_error('not_found', 'No such mail waits.');
    end if;
end
$$;
comment on function public.resend_mail(uuid) is 'Try a mail that failed or waits again, at once.';

create function public.read_mail(p_id uuid, p_actor text)
returns table (kind text, recipient text, profile_id uuid, case_id uuid, language text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_mail record;
begin
    select l.* into v_mail from public.list_mails(1000) as l where l.id = p_id;
    if not found then
        perform automatch.raise_error('not_found', 'No such mail waits.');
    end if;
    -- Its link lets whoever has it into the account.
    perform automatch.audit(
        p_actor, 'read_mail', jsonb_build_object('kind', v_mail.kind),
        coalesce(
            (select m.profile_id from automatch.mails as m where m.id = p_id),
            (select p.id from public.profiles as p where lower(p.email) = v_mail.recipient)
        )
    );
    return query select m.kind, m.recipient, m.profile_id, m.case_id, automatch.mail_language(m) from automatch.mails as m where m.id = p_id;
end
$$;
comment on function public.read_mail(uuid, text) is
    'A waiting mail that an operator hands over; who did is recorded in the audit log.';

-- 17_memberships.sql

-- Who takes part: members of their school who are not frozen.

create table automatch.memberships (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    proof text not null,
    proven_at timestamptz not null default automatch.now(),
    primary key (profile_id, school_id),
    constraint proof_is_known check (proof in ('email', 'invitation', 'import', 'approval'))
);
comment on table automatch.memberships is 'Who has shown, and by what, to belong to a school.';
create index memberships_school_idx on automatch.memberships (school_id);

create table automatch.frozen_profiles (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    reason text not null,
    frozen_at timestamptz not null default automatch.now()
);
comment on table automatch.frozen_profiles is
    'People who neither find anybody nor are found until an operator has decided; nothing of theirs is erased.';

create table automatch.settling_profiles (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    settles_at timestamptz not null
);
comment on table automatch.settling_profiles is
    'People who changed their school or gender, and neither find anybody nor are found until then.';
create index settling_profiles_settles_idx on automatch.settling_profiles (settles_at);

create function automatch.is_admitted(p_profile_id uuid, p_school text)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from automatch.schools as s
        where s.name = p_school
          and (s.is_open or exists (
              select from automatch.memberships as m where m.profile_id = p_profile_id and m.school_id = s.id
          ))
    ) and not exists (select from automatch.frozen_profiles as f where f.profile_id = p_profile_id)
      and not exists (select from automatch.settling_profiles as c where c.profile_id = p_profile_id)
$$;
comment on function automatch.is_admitted(uuid, text) is
    'Whether a person takes part: the school is open or the person a member of it, and the person neither frozen nor '
    'waiting for a change to settle.';

create function automatch.set_admitted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    new.admitted := automatch.is_admitted(new.id, new.school);
    return new;
end
$$;

-- Before profiles_lock_feeds, by the order of their names: that compares what this sets.
create trigger profiles_admit before insert or update on public.profiles
for each row execute function automatch.set_admitted();

create function automatch.refresh_admissions(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for no key update;
    -- Of all at once: the trigger would lock them person by person, and a batch that ends wants them in their order.
    perform automatch.lock_related_feeds(p_profile_ids);
    update public.profiles as p set admitted = not p.admitted
    where p.id = any (p_profile_ids) and p.admitted <> automatch.is_admitted(p.id, p.school);
end
$$;
comment on function automatch.refresh_admissions(uuid[]) is
    'Let in or out whose membership, school or freezing changed: the search copy, feeds and searches follow.';

create function automatch.admission_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.refresh_admissions(array(select distinct c.profile_id from changed as c));
    return null;
end
$$;

create trigger memberships_added after insert on automatch.memberships
referencing new table as changed for each statement execute function automatch.admission_changed();
create trigger memberships_removed after delete on automatch.memberships
referencing old table as changed for each statement execute function automatch.admission_changed();
create trigger frozen_profiles_added after insert on automatch.frozen_profiles
referencing new table as changed for each statement execute function automatch.admission_changed();
create trigger frozen_profiles_removed after delete on automatch.frozen_profiles
referencing old table as changed for each statement execute function automatch.admission_changed();

create trigger settling_profiles_added after insert on automatch.settling_profiles
referencing new table as changed for each statement execute function automatch.admission_changed();
create trigger settling_profiles_removed after delete on automatch.settling_profiles
referencing old table as changed for each statement execute function automatch.admission_changed();

create function automatch.schools_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Unless set_school_open() has it done in steps.
    if coalesce(current_setting('automatch.in_steps', true), '') <> 'on' then
        perform automatch.refresh_admissions(array(
            select p.id from public.profiles as p where p.school in (select c.name from changed as c)
        ));
    end if;
    return null;
end
$$;

create trigger schools_added after insert on automatch.schools
referencing new table as changed for each statement execute function automatch.schools_changed();
create trigger schools_updated after update on automatch.schools
referencing new table as changed for each statement execute function automatch.schools_changed();
create trigger schools_removed after delete on automatch.schools
referencing old table as changed for each statement execute function automatch.schools_changed();

-- 18_membership_proofs.sql

-- How people prove that they belong to a school: by their e-mail address, a code, or an operator who knows them.

create function automatch.leave_other_schools(p_profile_id uuid, p_school_id uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    delete from automatch.memberships as m
    where m.profile_id = p_profile_id and m.school_id is distinct from p_school_id;
    delete from automatch.membership_requests as r
    where r.profile_id = p_profile_id and r.school_id is distinct from p_school_id;
$$;
comment on function automatch.leave_other_schools(uuid, uuid) is
    'End what a person has proven and asked of any other school than this one.';

create function automatch.refresh_email_proofs(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_proven uuid[];
begin
    if to_regclass('auth.users') is null then
        return;
    end if;
    perform automatch.lock_schools_of(p_profile_ids);
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for no key update;
    -- Before the first of them is let out or in.
    perform automatch.lock_related_feeds(p_profile_ids);
    v_proven := array(
        select p.id
        from auth.users as u
        join public.profiles as p on p.id = u.id
        join automatch.schools as s on s.name = p.school
        join automatch.school_domains as d
            on d.school_id = s.id and d.domain = substring(lower(u.email) from '@([^@]+)$')
        where u.id = any (p_profile_ids) and u.email_confirmed_at is not null
        order by p.id
    );
    delete from automatch.memberships as m
    where m.profile_id = any (p_profile_ids) and m.proof = 'email' and m.profile_id <> all (v_proven);
    insert into automatch.memberships (profile_id, school_id, proof)
    select p.id, s.id, 'email'
    from public.profiles as p join automatch.schools as s on s.name = p.school
    where p.id = any (v_proven)
    on conflict do nothing;
end
$$;
comment on function automatch.refresh_email_proofs(uuid[]) is
    'Make members of their school whose confirmed address is at a domain of it, and end what another address proved.';

create function public.refresh_school_proofs(p_school text, p_after uuid default null, p_limit integer default 200)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
    v_ids uuid[] := array(
        select p.id from public.profiles as p
        where p.school = v_school.name and (p_after is null or p.id > p_after)
        order by p.id
        limit p_limit
    );
begin
    perform automatch.refresh_email_proofs(v_ids);
    perform automatch.refresh_admissions(v_ids);
    return v_ids[cardinality(v_ids)];
end
$$;
comment on function public.refresh_school_proofs(text, uuid, integer) is
    'After a school was opened or closed, or its domains changed: let some of its people in or out, in the order of '
    'their ids. The last of them, to go on after; null at the end.';

create table automatch.school_invitations (
    id uuid primary key default gen_random_uuid(),
    school_id uuid not null references automatch.schools (id) on delete cascade,
    code_sha256 bytea not null unique,
    max_uses integer,
    uses integer not null default 0,
    expires_at timestamptz not null,
    created_at timestamptz not null default automatch.now(),
    created_by text not null,
    constraint uses_are_bounded check (max_uses > 0 and uses between 0 and max_uses or max_uses is null)
);
comment on table automatch.school_invitations is 'Codes that prove membership, as hashes: a code is shown once.';
create index school_invitations_school_idx on automatch.school_invitations (school_id);

create function automatch.hash_code(p_code text)
returns bytea language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- As people type them: small, with or without dashes, O for 0 and I or L for 1.
    select sha256(convert_to(
        translate(upper(regexp_replace(p_code, '[^0-9A-Za-z]', '', 'g')), 'OIL', '011'), 'UTF8'
    ))
$$;

create function public.invite_to_school(
    p_school text, p_code text, p_max_uses integer, p_life interval, p_actor text default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.lock_school(p_school);
    v_id uuid;
begin
    if p_max_uses < 1 or p_life <= interval '0' then
        perform automatch.raise_error('input_invalid', 'An invitation is for one person or more, and for some time.');
    end if;
    insert into automatch.school_invitations (school_id, code_sha256, max_uses, expires_at, created_by)
    values (
        v_school.id, automatch.hash_code(p_code), p_max_uses, automatch.now() + p_life,
        left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200)
    )
    returning id into v_id;
    perform automatch.audit(p_actor, 'invite_to_school', jsonb_build_object(
        'school', v_school.name, 'invitation', v_id, 'uses', p_max_uses, 'days', extract(epoch from p_life) / 86400
    ));
    return v_id;
end
$$;
comment on function public.invite_to_school(text, text, integer, interval, text) is
    'Let whoever has this code become a member; p_max_uses null: any number of people.';

create function public.list_invitations(p_school text default null)
returns table (
    id uuid, school text, uses integer, max_uses integer, expires_at timestamptz, created_at timestamptz,
    created_by text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select i.id, s.name, i.uses, i.max_uses, i.expires_at, i.created_at, i.created_by
    from automatch.school_invitations as i join automatch.schools as s on s.id = i.school_id
    where i.expires_at > automatch.now() and (i.uses < i.max_uses or i.max_uses is null)
      and (p_school is null or s.id = (automatch.require_school(p_school)).id)
    order by i.expires_at, i.id
$$;
comment on function public.list_invitations(text) is 'The codes that work, without the codes themselves.';

create function public.end_invitation(p_id uuid, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.school_invitations as i where i.id = p_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such invitation (any more).');
    end if;
    perform automatch.audit(p_actor, 'end_invitation', jsonb_build_object('invitation', p_id));
end
$$;
comment on function public.end_invitation(uuid, text) is 'End a code; whoever became a member by it stays one.';

create function public.find_invitation(p_code text)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.name
    from automatch.school_invitations as i join automatch.schools as s on s.id = i.school_id
    where i.code_sha256 = automatch.hash_code(p_code) and i.expires_at > automatch.now()
      and (i.uses < i.max_uses or i.max_uses is null)
$$;
comment on function public.find_invitation(text) is 'The school that a code is for; null where it does not work.';

create function public.join_school(p_code text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id constant uuid := automatch.uid();
    v_school automatch.schools;
    v_invitation automatch.school_invitations;
begin
    perform automatch.lock_schools_of(array[v_id]);
    select s.* into v_school
    from public.profiles as p join automatch.schools as s on s.name = p.school
    where p.id = v_id
    for no key update of p;
    select i.* into v_invitation from automatch.school_invitations as i
    where i.code_sha256 = automatch.hash_code(p_code) and i.expires_at > automatch.now()
    for update;
    if v_invitation.id is null or v_invitation.school_id is distinct from v_school.id then
        perform automatch.raise_error(
            'code_invalid', 'This code does not work for your school. It may be mistyped, used up or out of date.'
        );
    end if;
    if exists (
        select from automatch.memberships as m where m.profile_id = v_id and m.school_id = v_school.id
    ) then
        return;
    end if;
    if v_invitation.uses >= v_invitation.max_uses then
        perform automatch.raise_error(
            'code_invalid', 'This code does not work for your school. It may be mistyped, used up or out of date.'
        );
    end if;
    update automatch.school_invitations as i set uses = i.uses + 1 where i.id = v_invitation.id;
    insert into automatch.memberships (profile_id, school_id, proof) values (v_id, v_school.id, 'invitation');
    delete from automatch.membership_requests as r where r.profile_id = v_id;
end
$$;
comment on function public.join_school(text) is
    'Become a member of the school of one''s profile by a code for it. A member uses none up.';

create table automatch.membership_requests (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    message text not null,
    requested_at timestamptz not null default automatch.now(),
    refused_at timestamptz,
    reason text,
    constraint message_says_something check (message = btrim(message) and message <> '' and length(message) <= 500),
    constraint refused_with_a_reason check ((refused_at is null) = (reason is null))
);
comment on table automatch.membership_requests is
    'People who asked an operator to make them members; what is approved becomes a membership.';
create index membership_requests_school_idx on automatch.membership_requests (school_id);
create index membership_requests_open_idx on automatch.membership_requests (requested_at) where refused_at is null;

create function public.request_membership(p_message text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles;
begin
    perform automatch.lock_schools_of(array[automatch.uid()]);
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for no key update;
    if v_profile.school is null then
        perform automatch.raise_error('profile_incomplete', 'Choose your school first.');
    end if;
    if coalesce(btrim(p_message), '') = '' or length(btrim(p_message)) > 500 then
        perform automatch.raise_error('input_invalid', 'Say in a sentence how the school knows you (at most 500 characters).');
    end if;
    insert into automatch.membership_requests (profile_id, school_id, message)
    values (v_profile.id, (automatch.require_school(v_profile.school)).id, btrim(p_message))
    on conflict (profile_id) do update
    set school_id = excluded.school_id, message = excluded.message, requested_at = excluded.requested_at,
        refused_at = null, reason = null;
end
$$;
comment on function public.request_membership(text) is
    'Ask an operator to make the caller a member of their school, with a sentence that says who they are.';

create function public.list_membership_requests(p_school text default null, p_limit integer default 50)
returns table (profile_id uuid, email text, name text, school text, message text, requested_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.id, p.email, p.name, s.name, r.message, r.requested_at
    from automatch.membership_requests as r
    join public.profiles as p on p.id = r.profile_id
    join automatch.schools as s on s.id = r.school_id
    where r.refused_at is null and (p_school is null or s.id = (automatch.require_school(p_school)).id)
    order by r.requested_at, p.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_membership_requests(text, integer) is 'Who waits for an operator''s approval, longest first.';

create function public.decide_membership(p_profile_id uuid, p_reason text default null, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_request automatch.membership_requests;
    v_email text;
begin
    perform automatch.lock_schools_of(array[p_profile_id]);
    select p.email into v_email from public.profiles as p where p.id = p_profile_id for no key update;
    select r.* into v_request from automatch.membership_requests as r
    where r.profile_id = p_profile_id and r.refused_at is null;
    if not found then
        perform automatch.raise_error('not_found', 'This person does not ask for a membership, or was answered already.');
    end if;
    if p_reason is null then
        insert into automatch.memberships (profile_id, school_id, proof)
        values (p_profile_id, v_request.school_id, 'approval')
        on conflict do nothing;
        delete from automatch.membership_requests as r where r.profile_id = p_profile_id;
    elsif btrim(p_reason) = '' or length(p_reason) > 500 then
        perform automatch.raise_error('input_invalid', 'Give a reason, which the person will read (at most 500 characters).');
    else
        update automatch.membership_requests as r
        set refused_at = automatch.now(), reason = btrim(p_reason)
        where r.profile_id = p_profile_id;
    end if;
    if v_email is not null then
        perform public.enqueue_mail('membership', v_email, p_profile_id);
    end if;
    perform automatch.audit(
        p_actor, case when p_reason is null then 'approve_member' else 'refuse_member' end,
        jsonb_build_object('person', p_profile_id, 'school', v_request.school_id)
    );
end
$$;
comment on function public.decide_membership(uuid, text, text) is
    'Make a person who asked for it a member of their school, or with a reason refuse. They are told by mail.';

create function public.get_membership()
returns table (
    school text, is_open boolean, admitted boolean, proof text, domains text[], settles_at timestamptz,
    requested_at timestamptz, message text, refused_at timestamptz, reason text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.name, s.is_open, p.admitted, m.proof,
        array(select d.domain from automatch.school_domains as d where d.school_id = s.id order by d.domain),
        c.settles_at, r.requested_at, r.message, r.refused_at, r.reason
    from public.profiles as p
    join automatch.schools as s on s.name = p.school
    left join automatch.memberships as m on m.profile_id = p.id and m.school_id = s.id
    left join automatch.settling_profiles as c on c.profile_id = p.id
    left join automatch.membership_requests as r on r.profile_id = p.id and r.school_id = s.id
    where p.id = (select automatch.uid())
$$;
comment on function public.get_membership() is
    'What the caller''s school asks for, and how far they are with it; nothing before they have chosen one.';

create function public.read_memberships(p_claims jsonb[])
returns table (
    reader integer, school text, is_open boolean, admitted boolean, proof text, domains text[], settles_at timestamptz,
    requested_at timestamptz, message text, refused_at timestamptz, reason text
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, m.* from public.get_membership() as m;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_memberships(jsonb[]) is
    'get_membership() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.leave_school()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    perform automatch.leave_other_schools(automatch.uid(), null);
    update public.profiles as p set school = null where p.id = automatch.uid() and p.school is not null;
end
$$;
comment on function public.leave_school() is
    'End the caller''s membership, and take them out of their school. Photos stay; nobody finds them.';

-- 19_profile_choices.sql

-- How often people change their school and gender: each change would let them search among other people.

create table automatch.profile_choices (
    id bigint generated always as identity primary key,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    school_id uuid references automatch.schools (id) on delete set null,
    gender text not null,
    chosen_at timestamptz not null default automatch.now(),
    counted boolean not null default false
);
comment on table automatch.profile_choices is
    'The school and gender with which a person was first searched for, and every change since. Leaving a school, '
    'deleting photos or withdrawing consent takes nothing away.';
create index profile_choices_profile_idx on automatch.profile_choices (profile_id, id desc);
create index profile_choices_school_idx on automatch.profile_choices (school_id);

create function automatch.first_photo_added()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from automatch.profile_choices as c where c.profile_id = new.profile_id) then
        insert into automatch.profile_choices (profile_id, school_id, gender)
        select p.id, s.id, p.gender
        from public.profiles as p join automatch.schools as s on s.name = p.school
        where p.id = new.profile_id and p.gender is not null;
    end if;
    return null;
end
$$;

create function automatch.count_choice(p_profile_id uuid, p_school automatch.schools, p_gender text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- The server sets what its settings say.
    v_most constant integer := coalesce(nullif(current_setting('automatch.changes_a_year', true), '')::integer, 2);
    v_settling constant interval := make_interval(
        hours => coalesce(nullif(current_setting('automatch.settling_hours', true), '')::integer, 24)
    );
    v_last automatch.profile_choices;
    v_count integer;
    v_first timestamptz;
begin
    select c.* into v_last from automatch.profile_choices as c where c.profile_id = p_profile_id order by c.id desc limit 1;
    -- Before the first photo nothing was compared, so nothing is a change. Of a school that was removed nobody is left.
    if not found or (coalesce(v_last.school_id, p_school.id) = p_school.id and v_last.gender = p_gender) then
        return;
    end if;
    select count(*), min(c.chosen_at) into v_count, v_first
    from automatch.profile_choices as c
    where c.profile_id = p_profile_id and c.counted and c.chosen_at > automatch.now() - interval '1 year';
    if v_count >= v_most then
        perform automatch.raise_error(
            'changes_used',
            'You have changed your school or gender as often as you can within a year. '
            || coalesce(
                'The next time is after ' || to_char(v_first + interval '1 year', 'FMDD FMMonth YYYY') || '.',
                'Ask the operator to change it.'
            )
        );
    end if;
    insert into automatch.profile_choices (profile_id, school_id, gender, counted)
    values (p_profile_id, p_school.id, p_gender, true);
    -- A closed school asks for a proof, which settles a change of school.
    if (v_last.gender <> p_gender or p_school.is_open) and v_settling > interval '0' then
        insert into automatch.settling_profiles (profile_id, settles_at)
        values (p_profile_id, automatch.now() + v_settling)
        on conflict (profile_id) do update set settles_at = excluded.settles_at;
    end if;
end
$$;
comment on function automatch.count_choice(uuid, automatch.schools, text) is
    'Count a change of school or gender by the person: too many within a year are an error, and one that needs no '
    'proof has to settle before anything is searched for.';

create function public.settle_changes(p_limit integer default 100)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select c.profile_id from automatch.settling_profiles as c
        where c.settles_at <= automatch.now()
        order by c.settles_at
        limit p_limit
    );
    v_count integer;
begin
    perform from public.profiles as p where p.id = any (v_ids) order by p.id for no key update;
    delete from automatch.settling_profiles as c where c.profile_id = any (v_ids) and c.settles_at <= automatch.now();
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.settle_changes(integer) is
    'Let in again whose change has settled, and search for their photos. The number of people; call again until it is 0.';

create function public.change_person(
    p_profile_id uuid, p_school text default null, p_gender text default null, p_actor text default null
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools;
    v_profile public.profiles;
begin
    if p_school is not null then
        v_school := automatch.lock_school(p_school);
    end if;
    select p.* into v_profile from public.profiles as p where p.id = p_profile_id for no key update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
    if p_school is null then
        v_school := automatch.find_school(v_profile.school);
    else
        perform automatch.leave_other_schools(p_profile_id, v_school.id);
    end if;
    -- The operator knows better than any waiting time.
    delete from automatch.settling_profiles as c where c.profile_id = p_profile_id;
    update public.profiles as p
    set school = coalesce(v_school.name, p.school), gender = coalesce(p_gender, p.gender)
    where p.id = p_profile_id;
    if p_school is not null then
        insert into automatch.memberships (profile_id, school_id, proof) values (p_profile_id, v_school.id, 'approval')
        on conflict do nothing;
    end if;
    if exists (select from automatch.profile_choices as c where c.profile_id = p_profile_id) then
        insert into automatch.profile_choices (profile_id, school_id, gender)
        select p_profile_id, v_school.id, p.gender from public.profiles as p where p.id = p_profile_id and p.gender is not null;
    end if;
    perform automatch.audit(p_actor, 'change_person', jsonb_build_object(
        'person', p_profile_id, 'school', case when p_school is not null then v_school.name end, 'gender', p_gender
    ));
end
$$;
comment on function public.change_person(uuid, text, text, text) is
    'Change the school, of which they become a member, or the gender of a person who cannot do it themselves; null '
    'leaves it. It counts for nothing and is searched for at once.';

-- 20_embedding_models.sql

-- The models that embed faces, and how each turns a distance into a similarity.
create table public.embedding_models (
    -- Part of the names of its partitions.
    id text primary key check (octet_length(id) between 1 and 40),
    dimensions integer not null check (dimensions > 0),
    midpoint double precision not null,
    width double precision not null check (width > 0),
    same_person_u double precision not null,
    active boolean not null default false,
    scale_version integer not null,
    same_person_same_gender_u double precision,
    constraint own_gender_bound_is_no_wider check (same_person_same_gender_u <= same_person_u)
);
comment on table public.embedding_models is
    'Similarity scale per model: u = sqrt(2 - 2 cos), similarity = 1 / (1 + exp((u - midpoint) / width)).';
comment on column public.embedding_models.scale_version is
    'The scale in use. Writing it takes midpoint and width from there; writing those makes a new version.';
comment on column public.embedding_models.same_person_u is
    'Two faces with a u at or below this are taken for one person.';
comment on column public.embedding_models.same_person_same_gender_u is
    'The same for two people of one gender, who look more alike; null: the same bound.';
create unique index embedding_models_one_is_active on public.embedding_models (active) where active;

create table automatch.similarity_scales (
    version integer generated always as identity primary key,
    -- Deferred, because a model and its first scale are inserted by one statement.
    model text not null references public.embedding_models (id) on delete cascade deferrable initially deferred,
    midpoint double precision not null,
    width double precision not null check (width > 0),
    fit jsonb,
    actor text,
    created_at timestamptz not null default automatch.now()
);
create index similarity_scales_model_idx on automatch.similarity_scales (model);
comment on table automatch.similarity_scales is
    'Every scale that a model has had. embedding_models holds a copy of the one in use: what a search reads.';
comment on column automatch.similarity_scales.fit is
    'How it was calibrated: people, pairs, rates. Null: it came with the model, or was set by hand.';

create function automatch.similarity(p_cosine double precision, p_midpoint double precision, p_width double precision)
-- benchmarks/queue: twice as quick as in SQL, and called for each face found.
returns double precision language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    -- Rounding can take a cosine of one's own face above 1.
    return 1 / (1 + exp((sqrt(greatest(2 - 2 * p_cosine, 0)) - p_midpoint) / p_width));
end
$$;

create function automatch.cosine_bound(p_similarity double precision, p_midpoint double precision, p_width double precision)
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- The inverse of automatch.similarity(); 2 lets nothing through, -1 everything.
    select case
        when p_similarity <= 0 then -1
        when p_similarity >= 1 then 2
        when p_midpoint + p_width * ln((1 - p_similarity) / p_similarity) < 0 then 2
        else 1 - power(p_midpoint + p_width * ln((1 - p_similarity) / p_similarity), 2) / 2
    end
$$;

create function automatch.shown_similarity(p_similarity double precision)
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$ select least(round(p_similarity::numeric * 20), 19)::double precision / 20 $$;
comment on function automatch.shown_similarity(double precision) is
    'What a person sees of a similarity: in steps of 0.05, and 0.95 for that or more. From enough exact values a '
    'template could be computed, and the top would tell who is whom.';

-- Whoever writes an embedding or a match reads which model is in use, and its scale, and holds lock_key('model') shared
-- until it is committed; a change of either waits for it. So nothing of the old model or scale appears after the
-- change, where nobody would look for it any more. In memory, unlike a lock on the row: matches are many.
create function automatch.model_scaled()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    if tg_op = 'UPDATE' and new.scale_version is distinct from old.scale_version then
        select s.midpoint, s.width into new.midpoint, new.width
        from automatch.similarity_scales as s
        where s.version = new.scale_version and s.model = new.id;
        if not found then
            perform automatch.raise_error('not_found', 'This model has no such version of its scale.');
        end if;
    else
        insert into automatch.similarity_scales (model, midpoint, width)
        values (new.id, new.midpoint, new.width)
        returning version into new.scale_version;
    end if;
    return new;
end
$$;

create trigger embedding_models_scaled before insert on public.embedding_models
for each row execute function automatch.model_scaled();

create trigger embedding_models_rescaled
before update on public.embedding_models
for each row
when (
    old.midpoint <> new.midpoint or old.width <> new.width
    or old.scale_version is distinct from new.scale_version
)
execute function automatch.model_scaled();

-- Fitted on 42,120 pairs of strangers of opposite gender (454 official portraits): 0.5 means closer
-- than 99 of 100 of them. None of 9,240 such pairs of 221 portraits is as close as 0.385, but 40 of
-- 15,070 pairs of one gender are (2.5 in 1000 of men, 3.9 of women): each of 2,000 men would be suspected
-- of five others. None of those is as close as 0.32; photos of one person are 0.16 to 0.31 apart.
insert into public.embedding_models
    (id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u, active)
values ('dlib', 128, 0.482, 0.030, 0.385, 0.32, true);
-- An unchecked constraint would keep the table from being altered again in this transaction.
set constraints all immediate;

create function public.add_similarity_scale(
    p_model text, p_midpoint double precision, p_width double precision, p_fit jsonb, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
begin
    -- The same order as whoever writes midpoint and width by hand: the model, then the scale's lock.
    perform from public.embedding_models as m where m.id = p_model for no key update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such model.');
    end if;
    if not (p_width > 0 and p_width < 2 and p_midpoint > 0 and p_midpoint < 2) then
        perform automatch.raise_error('input_invalid', 'Midpoint and width are distances of unit vectors, between 0 and 2.');
    end if;
    insert into automatch.similarity_scales (model, midpoint, width, fit, actor)
    values (p_model, p_midpoint, p_width, p_fit, p_actor)
    returning version into v_version;
    update public.embedding_models as m set scale_version = v_version where m.id = p_model;
    perform automatch.audit(p_actor, 'calibrate', jsonb_build_object(
        'model', p_model, 'version', v_version, 'midpoint', p_midpoint, 'width', p_width, 'fit', p_fit
    ));
    return v_version;
end
$$;
comment on function public.add_similarity_scale(text, double precision, double precision, jsonb, text) is
    'Put a new scale in use for a model; the older ones stay. Its version. rescore_matches() follows.';

create function public.use_similarity_scale(p_version integer, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before integer;
    v_model text;
begin
    select m.id, m.scale_version into v_model, v_before
    from public.embedding_models as m
    join automatch.similarity_scales as s on s.model = m.id
    where s.version = p_version
    for no key update of m;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such version of a scale.');
    end if;
    update public.embedding_models as m set scale_version = p_version where m.id = v_model;
    perform automatch.audit(p_actor, 'use_scale', jsonb_build_object(
        'model', v_model, 'version', p_version, 'before', v_before
    ));
end
$$;
comment on function public.use_similarity_scale(integer, text) is
    'Go back to an earlier scale, or forward again. rescore_matches() follows.';

create function public.list_similarity_scales()
returns table (
    version integer, model text, midpoint double precision, width double precision, fit jsonb, actor text,
    created_at timestamptz, is_in_use boolean, matches bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.version, s.model, s.midpoint, s.width, s.fit, s.actor, s.created_at, m.scale_version = s.version,
        (select count(*) from public.matches as x where x.scale_version = s.version)
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model
    order by s.version desc
$$;
comment on function public.list_similarity_scales() is
    'All scales, newest first, each with the number of matches that are scored with it.';

create function public.active_embedding_model()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select m.id from public.embedding_models as m where m.active $$;
comment on function public.active_embedding_model() is 'The model in use: the one active row.';

-- 21_faces.sql

-- Photos of people, and the face in each.

create function automatch.is_face_box(p_box jsonb)
returns boolean language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- One after the other: what is no number cannot be compared with one.
    select case
        when p_box is null or jsonb_typeof(p_box) <> 'object' then false
        when exists (
            select from unnest('{left,top,width,height}'::text[]) as side (name)
            where coalesce(jsonb_typeof(p_box -> side.name), '') <> 'number'
        ) then false
        else (p_box ->> 'left')::float8 >= 0 and (p_box ->> 'width')::float8 > 0
             and (p_box ->> 'left')::float8 + (p_box ->> 'width')::float8 <= 1.0001
             and (p_box ->> 'top')::float8 >= 0 and (p_box ->> 'height')::float8 > 0
             and (p_box ->> 'top')::float8 + (p_box ->> 'height')::float8 <= 1.0001
    end
$$;
comment on function automatch.is_face_box(jsonb) is
    'Whether it has left, top, width and height in shares of an upright photo''s sides, inside the photo.';

create function automatch.are_face_boxes(p_boxes jsonb)
returns boolean language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select case
        when p_boxes is null or jsonb_typeof(p_boxes) <> 'array' then false
        else jsonb_array_length(p_boxes) between 2 and 64
             and not exists (
                 select from jsonb_array_elements(p_boxes) as box (value)
                 where not automatch.is_face_box(box.value)
             )
    end
$$;
comment on function automatch.are_face_boxes(jsonb) is 'Whether it is a list of 2 to 64 boxes of faces.';

create table public.faces (
    id uuid primary key default gen_random_uuid(),
    profile_id uuid not null references public.profiles (id) on delete cascade,
    image_path text not null,
    image_sha256 text not null,
    created_at timestamptz not null default automatch.now(),
    chosen_box jsonb,
    needs_challenge boolean not null default false,
    constraint one_face_per_photo unique (profile_id, image_sha256),
    constraint image_sha256_is_hex check (image_sha256 ~ '^[0-9a-f]{64}$'),
    constraint chosen_box_is_in_the_photo check (
        chosen_box is null
        or (automatch.is_face_box(chosen_box) and jsonb_typeof(chosen_box -> 'index') = 'number')
    )
);
comment on column public.faces.image_path is 'The path of the photo in the photo store; never a URL.';
comment on column public.faces.image_sha256 is 'Of the uploaded bytes: the same photo again is the same face.';
comment on column public.faces.chosen_box is
    'The face that the person chose of several, as in match_jobs.face_boxes, with its index there. Null for a '
    'photo with one face.';
comment on column public.faces.needs_challenge is
    'Whether, as a first photo, it waits until its person has turned their head before the camera as asked.';
create trigger faces_require_consent before insert on public.faces
for each row execute function automatch.require_consent();

create trigger faces_first_added after insert on public.faces
for each row execute function automatch.first_photo_added();

create table automatch.held_faces (
    face_id uuid primary key references public.faces (id) on delete cascade,
    reason text not null,
    held_at timestamptz not null default automatch.now(),
    lost_pair boolean not null default false,
    constraint reason_is_known check (
        reason in ('another_person', 'another_account', 'challenge', 'refused', 'reported', 'hidden')
    )
);
comment on table automatch.held_faces is
    'Photos that are neither found nor searched for, until somebody decides about them.';
comment on column automatch.held_faces.lost_pair is
    'Whether a pair that was not dismissed has gone, with an account or its last photo: dismissing others is not enough.';

-- A transaction cannot delete files: it records their paths, and they are deleted after the commit.
create table automatch.photo_erasures (
    image_path text primary key,
    queued_at timestamptz not null default automatch.now(),
    next_try_at timestamptz not null default automatch.now(),
    error text
);
comment on table automatch.photo_erasures is 'Photos of deleted faces whose files are still to be deleted.';
create index photo_erasures_next_try_idx on automatch.photo_erasures (next_try_at);

-- Nor can it remove the bytes of deleted rows from the files of the database.
create table automatch.erasures (
    xid xid8 primary key default pg_current_xact_id(),
    erased_at timestamptz not null default automatch.now()
);
comment on table automatch.erasures is
    'Transactions that erased a photo or a person whose bytes may still be in the files of the database.';

create function automatch.face_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.photo_erasures (image_path) values (old.image_path) on conflict do nothing;
    insert into automatch.erasures default values on conflict do nothing;
    return null;
end
$$;

create trigger faces_erased after delete on public.faces
for each row execute function automatch.face_erased();

create function public.record_upload(
    p_face_id uuid, p_image_path text, p_image_sha256 text, p_costly boolean default false
)
returns table (
    face_id uuid, job_id uuid, job_status text, is_new boolean, error_code text, error_message text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_face_id uuid;
    v_job public.match_jobs;
    -- The first photos of others are not to wait for one that takes seconds to decode.
    v_priority constant smallint := case when p_costly then 2 end;
begin
    -- The first photo is counted as a choice of its school.
    perform automatch.lock_schools_of(array[automatch.uid()])
    where not exists (select from automatch.profile_choices as c where c.profile_id = automatch.uid());
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.raise_error(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    elsif automatch.must_consent_again(v_profile.id) then
        perform automatch.raise_error(
            'consent_outdated', 'The consent text has changed; read it in your profile and consent to it first.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null or v_profile.birth_date is null then
        perform automatch.raise_error(
            'profile_incomplete',
            'Fill in your school, gender and birth date before uploading a photo.'
        );
    end if;
    -- Any other path could be somebody else's photo, which would be shown and erased as one's own.
    if p_image_path is distinct from left(p_face_id::text, 2) || '/' || p_face_id then
        perform automatch.raise_error('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (p_face_id, v_profile.id, p_image_path, p_image_sha256)
    on conflict do nothing
    returning id into v_face_id;
    if v_face_id is not null then
        return query
            select v_face_id, automatch.enqueue_upload(v_face_id, v_priority), 'pending', true, null::text, null::text;
        return;
    end if;
    select f.id into v_face_id from public.faces as f
    where f.profile_id = v_profile.id and f.image_sha256 = p_image_sha256;
    if not found then
        -- The id is taken. Postgres would say so, and that there is such a photo of somebody.
        perform automatch.raise_error('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    select j.* into v_job from public.match_jobs as j
    where j.face_id = v_face_id
    order by j.created_at desc
    limit 1;
    -- Under the face's own id the caller has stored the file again; the template of an old photo, whose job has
    -- been cleaned up, needs none.
    if (v_face_id = p_face_id and (v_job.id is null or v_job.status = 'failed' and v_job.face_boxes is null)
            and not exists (select from automatch.held_faces as h where h.face_id = v_face_id))
        or (v_job.id is null and exists (select from public.face_embeddings as e where e.face_id = v_face_id))
    then
        return query
            select v_face_id, automatch.enqueue_upload(v_face_id, v_priority), 'pending', false, null::text, null::text;
        return;
    end if;
    return query
        select v_face_id, v_job.id, v_job.status, false,
            case v_job.status when 'failed' then v_job.error_code end,
            case v_job.status when 'failed' then v_job.error_message end;
end
$$;
comment on function public.record_upload(uuid, text, text, boolean) is
    'Store the caller''s photo as a face with its job; the same photo again returns the same ids and why it failed. '
    'Without a job, or after a failure that was not the photo''s fault: store the file at the face''s path and call '
    'this again with the face''s id, for a new job. p_costly: it takes long to decode and waits like a second photo.';

create function public.check_upload_limits(p_max_photos integer, p_max_waiting integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id constant uuid := automatch.uid();
begin
    -- One upload of a person after the other, so that each counts those before it.
    perform pg_advisory_xact_lock(automatch.lock_key('uploads of ' || v_id));
    if p_max_photos < (
        select count(*) from public.faces as f
        where f.profile_id = v_id
          -- A photo that was refused takes no place.
          and (
              exists (select from public.face_embeddings as e where e.face_id = f.id)
              or not exists (
                  select from public.match_jobs as j
                  where j.face_id = f.id and j.status = 'failed' and j.face_boxes is null
              )
              or exists (
                  select from public.match_jobs as j where j.face_id = f.id and j.completed_at is null
              )
          )
    ) then
        perform automatch.raise_error(
            'photos_full',
            'You can keep ' || p_max_photos || case p_max_photos when 1 then ' photo' else ' photos' end
            || '. Delete one first.'
        );
    end if;
    if p_max_waiting < (
        select count(*) from public.match_jobs as j where j.user_id = v_id and j.completed_at is null and j.status = 'pending'
    ) then
        perform automatch.raise_error(
            'photos_waiting', 'Your other photos are still waiting for their turn. Try again when one is done.'
        );
    end if;
end
$$;
comment on function public.check_upload_limits(integer, integer) is
    'Refuse when the caller, with a photo that was just recorded, has more photos or more that wait than allowed.';

create function public.get_chosen_face(p_face_id uuid)
returns jsonb language sql security definer set search_path = pg_catalog, pg_temp
as $$ select f.chosen_box from public.faces as f where f.id = p_face_id $$;
comment on function public.get_chosen_face(uuid) is
    'The face that the person chose on a photo; null if there was no choice.';

create function automatch.lock_first_photos(p_school text)
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock(automatch.lock_key('first photos of ' || p_school)) $$;
comment on function automatch.lock_first_photos(text) is
    'Have the photos of a school''s accounts compared with each other in turn, until the transaction ends.';

create function public.delete_face(p_face_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
begin
    select p.school into v_school
    from public.profiles as p
    where p.id = automatch.uid() and exists (
        select from automatch.held_faces as h join public.faces as f on f.id = h.face_id
        where f.profile_id = p.id and h.reason = 'another_person'
    )
    for no key update;
    if found and v_school is not null then
        -- Before the person is locked for good: whoever compares with their photos holds this and waits for them.
        perform automatch.lock_first_photos(v_school);
    end if;
    perform automatch.lock_for_erasing(automatch.uid());
    delete from public.faces where id = p_face_id and profile_id = automatch.uid();
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.look_at_held_again(automatch.uid());
end
$$;
comment on function public.delete_face(uuid) is
    'Erase one of the caller''s photos with its template, jobs and matches, and decide again about those that were '
    'held because they show somebody else.';

create function public.viewable_photo(p_face_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select f.image_path
    from public.faces as f
    where f.id = p_face_id
      and (
          f.profile_id = (select automatch.uid())
          or exists (
              select
              from automatch.feed_entries as e
              join public.matches as m on m.id = e.match_id
              where e.profile_id = (select automatch.uid())
                and e.other_profile_id = f.profile_id
                and f.id in (m.face_a_id, m.face_b_id)
                and automatch.may_see(e.profile_id, e.other_profile_id)
          )
      )
$$;
comment on function public.viewable_photo(uuid) is
    'Path of a photo that the caller may see: an own one, or that of a match in the feed.';

-- 22_face_embeddings.sql

-- The embeddings of faces, with a partition for each model.
create table public.face_embeddings (
    face_id uuid not null references public.faces (id) on delete cascade,
    model text not null,
    embedding vector not null,
    quality jsonb,
    detector text,
    created_at timestamptz not null default automatch.now(),
    primary key (model, face_id),
    constraint embedding_is_a_unit_vector check (abs(vector_norm(embedding) - 1) < 0.001)
) partition by list (model);
-- In the row whatever its length: a search reads some 20 of them, and a vector(512) that is stored out of
-- line takes 25 microseconds to fetch (in the row 3). PostgreSQL 15 cannot say so when the table is made.
alter table public.face_embeddings alter column embedding set storage main;
comment on table public.face_embeddings is
    'Embeddings of faces by model. Those of a model that is not in use are kept while a change of the model is open.';
comment on column public.face_embeddings.embedding is
    'float32, unit length, as many numbers as the model has dimensions; null in a cluster, see sharded_embeddings.';
comment on column public.face_embeddings.quality is
    'What was measured of the face, and under "eyes" where they are in the copies of the photo.';
comment on column public.face_embeddings.detector is 'What found the face; null where the AI service does not tell.';
-- For the cascade from faces.
create index face_embeddings_face_idx on public.face_embeddings (face_id);

create function automatch.add_model_partitions(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_dimensions integer;
    v_embeddings text := format('public.%I', 'face_embeddings_' || p_model);
begin
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if not found then
        perform automatch.raise_error('input_invalid', 'embedding_models has no such model: add its row first.');
    end if;
    if to_regclass(v_embeddings) is not null then
        return;
    end if;
    -- Attached when they are complete: a table that is created as a partition waits for every reader of the parent.
    execute format(
        'create table %s (like public.face_embeddings including defaults including constraints including storage)',
        v_embeddings
    );
    execute format(
        'alter table %s add constraint embedding_has_the_dimensions check (vector_dims(embedding) = %s)',
        v_embeddings, v_dimensions
    );
    -- A partition does not take this from its parent.
    execute format('alter table %s alter column embedding set statistics 0', v_embeddings);
    execute format('alter table public.face_embeddings attach partition %s for values in (%L)', v_embeddings, p_model);
    perform automatch.apply_table_rules(v_embeddings::regclass);
    perform automatch.add_index_partition('face_index', p_model, not automatch.is_distributed());
    perform automatch.add_sharded_partition(p_model, v_dimensions);
end
$$;
comment on function automatch.add_model_partitions(text) is
    'Make the partitions of a model, if it has none. Waits for nobody but writers of faces.';

create function automatch.drop_model_partitions(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.group_indexes as g where g.model = p_model;
    execute format('drop table if exists public.%I', 'face_index_' || p_model);
    execute format('drop table if exists public.%I', 'face_embeddings_' || p_model);
    execute format('drop table if exists automatch.%I', 'sharded_embeddings_' || p_model);
end
$$;
comment on function automatch.drop_model_partitions(text) is
    'Delete everything that a model made of faces. Waits for readers of both tables.';

create function automatch.lock_owners(p_face_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- In the order of locks that lock_feeds() names; withdrawing consent takes the same.
    select from public.profiles as p
    where p.id = any (array(select f.profile_id from public.faces as f where f.id = any (p_face_ids)))
    order by p.id
    for no key update
$$;
comment on function automatch.lock_owners(uuid[]) is
    'Lock the people of faces: nobody moves, pauses, is deleted, or has another photo stored until the transaction ends.';

create function automatch.store_embeddings(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[]
)
returns integer language sql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    with stored as (
        insert into public.face_embeddings as e (model, face_id, embedding, quality, detector)
        select p_model, new.face_id, l2_normalize(new.embedding), new.quality, new.detector
        from unnest(p_face_ids, p_embeddings, p_quality, p_detectors) as new (face_id, embedding, quality, detector)
        -- One may have been deleted since the photo was read.
        join public.faces as f on f.id = new.face_id
        on conflict (model, face_id) do update
            set embedding = excluded.embedding, quality = excluded.quality, detector = excluded.detector,
                created_at = excluded.created_at
        returning 1
    )
    select count(*)::integer from stored
$$;
comment on function automatch.store_embeddings(text, uuid[], vector[], jsonb[], text[]) is
    'Write what a model made of faces, whose people have to be locked; how many there were.';

create function automatch.embeddings_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text;
    v_change automatch.model_changes;
begin
    -- A change of the model waits for this transaction, and this one for it.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    for v_model in select distinct c.model from changed as c loop
        perform automatch.index_faces(array(select c.face_id from changed as c where c.model = v_model), v_model);
    end loop;
    select m.* into v_change from automatch.model_changes as m where m.state <> 'retired';
    if v_change.state = 'preparing' then
        insert into automatch.faces_to_embed (face_id, fresh)
        select c.face_id, true from changed as c
        where c.model = v_change.before and not exists (
            select from public.face_embeddings as e where e.model = v_change.model and e.face_id = c.face_id
        )
        on conflict do nothing;
    elsif tg_op = 'INSERT' and exists (
        -- Matches of a face that the model in use sees only now were passed over when matches were scored anew.
        select from changed as c
        join public.embedding_models as m on m.id = c.model and m.active
        join public.matches as x on c.face_id in (x.face_a_id, x.face_b_id)
        where v_change.state is not null
    ) then
        update automatch.model_changes
        set rescored = false, rescored_version = 0, rescored_upto = '-infinity'
        where id = v_change.id;
    end if;
    return null;
end
$$;

create function automatch.is_moving_embeddings()
returns boolean language sql stable set search_path = pg_catalog, pg_temp
as $$ select coalesce(current_setting('automatch.moving_embeddings', true), '') = 'on' $$;
comment on function automatch.is_moving_embeddings() is
    'Whether embeddings change their place and nothing else: see move_embeddings().';

create trigger face_embeddings_added
after insert on public.face_embeddings
referencing new table as changed
for each statement execute function automatch.embeddings_changed();

create trigger face_embeddings_changed
after update on public.face_embeddings
referencing new table as changed
for each statement when (not automatch.is_moving_embeddings()) execute function automatch.embeddings_changed();

create function automatch.embeddings_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
begin
    -- With a deleted face or person nothing is left to do here: their own triggers come first.
    for v_group in
        select p.school, array_agg(r.face_id) as face_ids, array_agg(distinct r.model) as models
        from removed as r
        join public.faces as f on f.id = r.face_id
        join public.profiles as p on p.id = f.profile_id
        group by p.school
    loop
        perform automatch.forget_sharded_embeddings(v_group.school, v_group.face_ids, v_group.models);
    end loop;
    for v_group in
        select p.school, p.gender, array_agg(distinct r.face_id) as face_ids
        from removed as r
        join public.faces as f on f.id = r.face_id
        join public.profiles as p on p.id = f.profile_id
        where p.school is not null and p.gender is not null
        group by p.school, p.gender
    loop
        perform automatch.unindex_faces(v_group.school, v_group.gender, v_group.face_ids);
        perform automatch.index_faces(v_group.face_ids);
    end loop;
    return null;
end
$$;

create trigger face_embeddings_removed
after delete on public.face_embeddings
referencing old table as removed
for each statement execute function automatch.embeddings_removed();

-- 23_face_index.sql

-- The search copy. Who is in it is who can be found; a search reads the rows of one model, school and gender, in
-- place, and nothing else (vectors of 264 bytes, never out of line; cosine = inner product of unit vectors).
create table public.face_index (
    -- Of the transaction that wrote the row: what is newer than a worker's copy of a group is read again.
    version xid8 not null default pg_current_xact_id(),
    face_id uuid not null,
    profile_id uuid not null,
    model text not null,
    school text not null,
    gender text not null,
    embedding halfvec not null,
    primary key (model, school, gender, face_id)
) partition by list (model);
-- PostgreSQL 15 cannot say so when the table is made.
alter table public.face_index alter column embedding set storage plain;
comment on table public.face_index is
    'The faces that can be found, by model, school and gender; kept true by triggers of profiles, faces and '
    'face_embeddings. The partition of a model is partitioned by hash of the school.';

create function automatch.add_index_partition(p_table text, p_model text, p_by_school boolean)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_index text := format('public.%I', p_table || '_' || p_model);
    v_part text;
begin
    execute format(
        'create table %s (like public.face_index including defaults including constraints including storage) %s',
        v_index, case when p_by_school then 'partition by hash (school)' end
    );
    for i in 0..15 loop
        exit when not p_by_school;
        v_part := format('public.%I', format('%s_%s_%s', p_table, p_model, i));
        execute format(
            'create table %s partition of %s for values with (modulus 16, remainder %s)', v_part, v_index, i
        );
        perform automatch.apply_table_rules(v_part::regclass);
    end loop;
    execute format('alter table %s alter column embedding set statistics 0', v_index);
    execute format('alter table public.%I attach partition %s for values in (%L)', p_table, v_index, p_model);
    perform automatch.apply_table_rules(v_index::regclass);
end
$$;
comment on function automatch.add_index_partition(text, text, boolean) is
    'Make the partition of a model of a search copy; p_by_school: with 16 parts of its own, which shards are instead.';

create view automatch.findable_faces with (security_invoker = true) as
select e.model, p.school, p.gender, f.id as face_id, p.id as profile_id, e.embedding
from public.face_embeddings as e
join public.faces as f on f.id = e.face_id
join public.profiles as p on p.id = f.profile_id
where p.profile_type = 'user'
  and p.discoverable
  and p.admitted
  and p.school is not null
  and p.gender is not null
  and exists (select from automatch.consenting_profiles as c where c.profile_id = p.id)
  and not exists (select from automatch.held_faces as h where h.face_id = f.id);
comment on view automatch.findable_faces is 'The rule of who can be found, with the embeddings of every model.';

-- From the faces to their people, in the order of the view: with statistics from when the tables were empty,
-- the planner began with all people and asked for the consent of each. A bitmap scan needs a condition, where an
-- index scan may be of a whole index.
create function automatch.index_faces(p_face_ids uuid[], p_model text default null)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- Said here, whoever calls: set_search_plans() changes it where Citus could not plan.
set plan_cache_mode = force_generic_plan
set join_collapse_limit = 1 set enable_seqscan = off set enable_indexscan = off
as $$
declare
    v_active constant text := public.active_embedding_model();
    v_version constant xid8 := pg_current_xact_id();
    v_face record;
    v_embedding halfvec;
begin
    -- Row by row: a sharded Postgres sends each straight to its shard, and would plan a join as one of all shards.
    for v_face in
        select f.* from automatch.findable_faces as f
        where f.face_id = any (p_face_ids) and (p_model is null or f.model = p_model)
    loop
        -- First: a statement in a shard of this server cannot ask other shards.
        v_embedding := coalesce(v_face.embedding, automatch.read_sharded_embedding(v_face.model, v_face.face_id));
        insert into public.face_index as i (version, face_id, profile_id, model, school, gender, embedding)
        values (
            v_version, v_face.face_id, v_face.profile_id, v_face.model, v_face.school, v_face.gender,
            v_embedding
        )
        on conflict (model, school, gender, face_id) do update
            set version = excluded.version, profile_id = excluded.profile_id, embedding = excluded.embedding;
        -- Whoever can be found from now on, or somewhere else, may be the second account of somebody there. Not "do
        -- nothing": a check that is under way may have read the embedding before this one.
        if v_face.model = v_active then
            insert into automatch.duplicate_checks (face_id) values (v_face.face_id)
            on conflict (face_id) do update set queued_at = excluded.queued_at;
        end if;
    end loop;
end
$$;
comment on function automatch.index_faces(uuid[], text) is
    'Put those of the faces that can be found into the search copy, for one model or for all.';

create function automatch.unindex_faces(p_school text, p_gender text, p_face_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
begin
    delete from public.face_index as i
    where i.model = any (v_models) and i.school = p_school and i.gender = p_gender and i.face_id = any (p_face_ids);
end
$$;
comment on function automatch.unindex_faces(text, text, uuid[]) is
    'Take faces out of the search copy of one school and gender, for all models.';

create function automatch.rename_index_school(p_school text, p_name text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
    v_version constant xid8 := pg_current_xact_id();
begin
    -- Not "update": under another name the rows may belong on another machine.
    with moved as (
        delete from public.face_index as i
        where i.model = any (v_models) and i.school = p_school and i.gender = any (array['male', 'female'])
        returning i.face_id, i.profile_id, i.model, i.gender, i.embedding
    )
    insert into public.face_index (version, face_id, profile_id, model, school, gender, embedding)
    select v_version, m.face_id, m.profile_id, m.model, p_name, m.gender, m.embedding from moved as m;
    perform automatch.move_sharded_embeddings(p_school, p_name);
end
$$;
comment on function automatch.rename_index_school(text, text) is
    'Write another name for a school into the search copy.';

create function automatch.faces_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
begin
    -- The faces of a deleted person are gone already: profile_leaves_index() took them out.
    for v_group in
        select p.school, p.gender, array_agg(r.id) as face_ids
        from removed as r
        join public.profiles as p on p.id = r.profile_id
        group by p.school, p.gender
    loop
        if v_group.school is not null and v_group.gender is not null then
            perform automatch.unindex_faces(v_group.school, v_group.gender, v_group.face_ids);
        end if;
        perform automatch.forget_sharded_embeddings(v_group.school, v_group.face_ids);
    end loop;
    return null;
end
$$;

create trigger faces_removed
after delete on public.faces
referencing old table as removed
for each statement execute function automatch.faces_removed();

create function automatch.profile_leaves_index()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces constant uuid[] := array(select f.id from public.faces as f where f.profile_id = old.id);
begin
    if old.school is not null and old.gender is not null then
        perform automatch.unindex_faces(old.school, old.gender, v_faces);
    end if;
    perform automatch.forget_sharded_embeddings(old.school, v_faces);
    return old;
end
$$;

-- After profiles_erased, by the order of their names: that takes the locks.
create trigger profiles_leave_index before delete on public.profiles
for each row execute function automatch.profile_leaves_index();

create function automatch.profile_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[] := array(select f.id from public.faces as f where f.profile_id = new.id);
begin
    if cardinality(v_faces) > 0 then
        if old.school is not null and old.gender is not null then
            perform automatch.unindex_faces(old.school, old.gender, v_faces);
        end if;
        if old.school is distinct from new.school then
            perform automatch.move_sharded_embeddings(old.school, new.school, v_faces);
        end if;
        if not new.simulated and (old.school is distinct from new.school or new.admitted and not old.admitted) then
            perform automatch.hold_lookalike(new.id, new.school, new.gender);
        end if;
        perform automatch.index_faces(v_faces);
    end if;
    return null;
end
$$;

create trigger profiles_changed
after update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_changed();

create function automatch.consent_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Withdrawal takes the photos, templates, jobs and matches along (they cascade).
    if new.action = 'withdrawn' then
        perform automatch.lock_for_erasing(new.profile_id);
        delete from public.faces where profile_id = new.profile_id;
    end if;
    return null;
end
$$;

create trigger biometric_consents_changed after insert on public.biometric_consents
for each row execute function automatch.consent_changed();

-- 24_model_changes.sql

-- Changing the model. The faces are embedded with the new one beside the one in use; then another row of
-- embedding_models is the active one.
create table automatch.model_changes (
    id integer generated always as identity primary key,
    model text not null references public.embedding_models (id),
    before text not null references public.embedding_models (id),
    state text not null default 'preparing',
    total integer not null,
    done integer not null default 0,
    refused integer not null default 0,
    -- Faces up to this id have an embedding of the new model or a row of faces_to_embed; uuids are compared as bytes.
    listed_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    listed boolean not null default false,
    -- Matches with this scale were scored again up to this moment, and all with older scales.
    rescored_version integer not null default 0,
    rescored_upto timestamptz not null default '-infinity',
    rescored boolean not null default false,
    -- Faces up to this id are queued to be compared with all of their school for second accounts.
    checked_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    checked boolean not null default true,
    retired text,
    actor text,
    started_at timestamptz not null default automatch.now(),
    activated_at timestamptz,
    ended_at timestamptz,
    constraint state_is_known check (state in ('preparing', 'active', 'rolled_back', 'retired')),
    constraint models_differ check (model <> before),
    constraint retired_has_an_end check (
        (state = 'retired') = (ended_at is not null) and (state = 'retired') = (retired is not null)
    )
);
comment on table automatch.model_changes is
    'preparing -> active -> retired; active -> rolled_back -> preparing or retired. See docs/models.md.';
create index model_changes_model_idx on automatch.model_changes (model);
create index model_changes_before_idx on automatch.model_changes (before);
create unique index model_changes_one_is_open on automatch.model_changes ((true)) where state <> 'retired';

create table automatch.faces_to_embed (
    face_id uuid primary key references public.faces (id) on delete cascade,
    fresh boolean not null default false,
    leased_until timestamptz not null default '-infinity',
    attempts smallint not null default 0,
    code text,
    message text,
    constraint refusal_has_a_message check ((code is null) = (message is null))
);
comment on table automatch.faces_to_embed is
    'Faces that wait for the new model or are leased to a worker. With a code: those that it refuses, and why.';
comment on column automatch.faces_to_embed.fresh is 'Uploaded since the change began.';
create index faces_to_embed_waiting_idx on automatch.faces_to_embed (fresh desc, attempts, face_id)
    where code is null;

create function public.begin_model_change(
    p_model text, p_dimensions integer, p_midpoint double precision, p_width double precision,
    p_same_person_u double precision, p_same_person_same_gender_u double precision default null,
    p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
-- Bounds how long others wait behind this function's lock requests.
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_before text := public.active_embedding_model();
    v_dimensions integer;
    v_total integer;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model_change'));
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    if found and (v_change.model <> p_model or v_change.state = 'active') then
        perform automatch.raise_error('input_invalid', format(
            'The change from %s to %s is not over: go back (`automatch models rollback`) or give the '
            'other model up (`automatch models retire`).', v_change.before, v_change.model
        ));
    elsif v_change.state = 'rolled_back' then
        -- Later uploads are not listed.
        update automatch.model_changes
        set state = 'preparing', listed = automatch.are_faces_listed(v_change), listed_upto = default
        where id = v_change.id;
    end if;
    if v_change.id is not null then
        return v_change.id;
    end if;
    if v_before = p_model then
        perform automatch.raise_error('input_invalid', format('%s is in use already.', p_model));
    end if;

    insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u)
    values (p_model, p_dimensions, p_midpoint, p_width, p_same_person_u, p_same_person_same_gender_u)
    on conflict (id) do nothing;
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if v_dimensions <> p_dimensions then
        perform automatch.raise_error('input_invalid', format(
            'The database knows %s with %s numbers, and not %s; give the other one another name.',
            p_model, v_dimensions, p_dimensions
        ));
    end if;
    perform automatch.add_model_partitions(p_model);
    -- An embedding that is being written is waited for, to be listed; a later one is queued by its trigger.
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select count(*) into v_total from public.face_embeddings as e where e.model = v_before;
    insert into automatch.model_changes (model, before, total, actor)
    values (p_model, v_before, v_total, p_actor)
    returning * into v_change;
    perform automatch.audit(p_actor, 'begin_model_change', jsonb_build_object(
        'model', p_model, 'before', v_before, 'photos', v_total
    ));
    return v_change.id;
end
$$;
comment on function public.begin_model_change(
    text, integer, double precision, double precision, double precision, double precision, text
) is
    'Let the workers embed every face with another model, beside the one in use. Asked again it goes on. The '
    'number of the change.';

create function public.get_model_change()
returns table (
    model text, before text, state text, is_ready boolean, total integer, done integer, refused integer,
    waiting bigint, started_at timestamptz, activated_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.model, c.before, c.state,
        c.state = 'preparing' and c.listed and w.waiting = 0,
        c.total, c.done, c.refused, w.waiting, c.started_at, c.activated_at
    from automatch.model_changes as c
    cross join lateral (
        select count(*) as waiting from automatch.faces_to_embed as t where t.code is null
    ) as w
    where c.state <> 'retired'
$$;
comment on function public.get_model_change() is 'The change of the model that is not over, and how far it is.';

create function public.list_refused_faces(p_examples integer default 5)
returns table (code text, message text, faces bigint, examples uuid[])
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select t.code, min(t.message), count(*), (array_agg(t.face_id order by t.face_id))[:p_examples]
    from automatch.faces_to_embed as t
    where t.code is not null
    group by t.code
    order by count(*) desc, t.code
$$;
comment on function public.list_refused_faces(integer) is 'Photos that the new model refuses, by reason.';

create function public.preparing_model()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select c.model from automatch.model_changes as c where c.state = 'preparing' $$;
comment on function public.preparing_model() is 'The model with which workers embed every face once more.';

create function automatch.are_faces_listed(p_change automatch.model_changes)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from public.face_embeddings as e
        where e.model = p_change.before
          and not exists (
              select from public.face_embeddings as n where n.model = p_change.model and n.face_id = e.face_id
          )
          and not exists (select from automatch.faces_to_embed as t where t.face_id = e.face_id)
    )
$$;
comment on function automatch.are_faces_listed(automatch.model_changes) is
    'Whether the new model has seen every face that the model in use has, or has it in its queue.';

create function automatch.list_faces_to_embed(p_change automatch.model_changes, p_limit integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
begin
    -- Faces that are being deleted are skipped.
    v_faces := array(
        select f.id
        from public.face_embeddings as e
        join public.faces as f on f.id = e.face_id
        where e.model = p_change.before and e.face_id > p_change.listed_upto
          and not exists (
              select from public.face_embeddings as n where n.model = p_change.model and n.face_id = e.face_id
          )
          and not exists (select from automatch.faces_to_embed as t where t.face_id = e.face_id)
        order by e.face_id
        limit p_limit
        for key share of f skip locked
    );
    insert into automatch.faces_to_embed (face_id) select unnest(v_faces) on conflict do nothing;
    if cardinality(v_faces) > 0 then
        update automatch.model_changes set listed_upto = v_faces[cardinality(v_faces)] where id = p_change.id;
    else
        -- From the beginning again, should somebody who was being deleted be here after all.
        update automatch.model_changes set listed = automatch.are_faces_listed(p_change), listed_upto = default
        where id = p_change.id;
    end if;
end
$$;
comment on function automatch.list_faces_to_embed(automatch.model_changes, integer) is
    'Queue the next faces that the new model has not seen, in the order of their ids.';

create function public.take_faces_to_embed(
    p_model text, p_limit integer, p_lease interval, p_anyway boolean default false
)
returns table (face_id uuid, image_path text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := automatch.now();
    v_change automatch.model_changes;
    v_yields boolean;
    v_alone boolean;
    v_crashed integer;
    v_waiting integer;
begin
    -- One worker at a time; nothing below waits for anybody.
    select c.* into v_change from automatch.model_changes as c
    where c.state = 'preparing' and c.model = p_model
    for update;
    if not found then
        return;
    end if;
    -- A photo that workers are lost with comes after all others: twice beside others, which need not be to blame, and
    -- then alone, three times.
    update automatch.faces_to_embed as t
    set code = 'job_crashed', message = 'Looking at the photo broke every time.'
    where t.code is null and t.attempts >= 5 and t.leased_until < v_now;
    get diagnostics v_crashed = row_count;
    if v_crashed > 0 then
        update automatch.model_changes set refused = refused + v_crashed where id = v_change.id;
    end if;
    -- While an upload waits, only what came in since the change began is taken.
    v_yields := not p_anyway
        and not (select q.paused from automatch.queue_settings as q)
        and exists (
            select from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and not j.scheduled and j.priority < 3
        );
    if not (v_change.listed or v_yields) then
        select count(*) into v_waiting from (
            select from automatch.faces_to_embed as t
            where t.code is null and t.attempts = 0 and t.leased_until < v_now
            limit p_limit
        ) as waiting;
        if v_waiting < p_limit then
            perform automatch.list_faces_to_embed(v_change, p_limit - v_waiting);
        end if;
    end if;
    select t.attempts >= 2 into v_alone
    from automatch.faces_to_embed as t
    where t.code is null and t.leased_until < v_now and (t.fresh or not v_yields)
    order by t.fresh desc, t.attempts, t.face_id
    limit 1;
    return query
        with next as materialized (
            select t.face_id from automatch.faces_to_embed as t
            where t.code is null and t.leased_until < v_now and (t.fresh or not v_yields)
              and (v_alone or t.attempts < 2)
            order by t.fresh desc, t.attempts, t.face_id
            limit case when v_alone then 1 else p_limit end
            for update skip locked
        ),
        leased as (
            update automatch.faces_to_embed as t
            set leased_until = v_now + p_lease, attempts = t.attempts + 1
            from next as n
            where t.face_id = n.face_id
            returning t.face_id
        )
        select f.id, f.image_path from leased as l join public.faces as f on f.id = l.face_id;
end
$$;
comment on function public.take_faces_to_embed(text, integer, interval, boolean) is
    'Lease the next faces to be embedded with the new model. While uploads wait for their turn, only those that '
    'came in since the change began; p_anyway takes others too.';

create function public.store_prepared_embeddings(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[] default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_stored integer;
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    perform automatch.lock_owners(p_face_ids);
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    v_stored := automatch.store_embeddings(p_model, p_face_ids, p_embeddings, p_quality, p_detectors);
    delete from automatch.faces_to_embed as t where t.face_id = any (p_face_ids);
    update automatch.model_changes set done = done + v_stored where state = 'preparing';
    return v_stored;
end
$$;
comment on function public.store_prepared_embeddings(text, uuid[], vector[], jsonb[], text[]) is
    'Write embeddings of the new model; how many. 0 when that model is not prepared any more.';

create function public.refuse_faces_to_embed(p_model text, p_face_ids uuid[], p_codes text[], p_messages text[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused integer;
begin
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    update automatch.faces_to_embed as t
    set code = new.code, message = new.message
    from unnest(p_face_ids, p_codes, p_messages) as new (id, code, message)
    where t.face_id = new.id and t.code is null;
    get diagnostics v_refused = row_count;
    update automatch.model_changes set refused = refused + v_refused where state = 'preparing';
    return v_refused;
end
$$;
comment on function public.refuse_faces_to_embed(text, uuid[], text[], text[]) is
    'Record why the new model refuses photos; those cannot be found once it is in use.';

create function automatch.activate_model(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Whoever queues photos of everybody does it alone: see enqueue_searches().
    perform from automatch.reruns as r where r.finished_at is null for update;
    -- What is being worked on was seen with the other model: it is released and claimed again.
    perform public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
    from automatch.held_jobs as j having count(*) > 0;
    -- One after the other: a unique index allows one active model at any moment.
    update public.embedding_models set active = false where active;
    update public.embedding_models set active = true where id = p_model;
end
$$;
comment on function automatch.activate_model(text) is 'Search with another model from now on; the caller holds the lock of the model.';

create function public.finish_model_change(p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state = 'preparing' for update;
    if not found then
        perform automatch.raise_error('input_invalid', 'No change of the model is being prepared.');
    end if;
    if not v_change.listed or exists (select from automatch.faces_to_embed as t where t.code is null) then
        perform automatch.raise_error('model_not_ready', 'Not every photo has been seen by the new model.');
    end if;
    perform automatch.activate_model(v_change.model);
    update automatch.model_changes
    set state = 'active', activated_at = automatch.now(), rescored = false, rescored_version = 0,
        rescored_upto = default, checked = false, checked_upto = default
    where id = v_change.id;
    -- Everybody is searched for again, behind all uploads.
    update automatch.reruns set finished_at = automatch.now() where finished_at is null;
    insert into automatch.reruns (reason, actor) values ('model ' || v_change.model, p_actor);
    perform automatch.audit(p_actor, 'use_model', jsonb_build_object(
        'model', v_change.model, 'before', v_change.before, 'photos', v_change.done, 'refused', v_change.refused
    ));
    return v_change.done;
end
$$;
comment on function public.finish_model_change(text) is
    'Put the new model in use, all at once; the other one is kept. How many photos it has seen. Refused while a '
    'photo is missing; fails when writers are not done in half a second, and then changed nothing.';

create function public.roll_back_model_change(p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_photos integer;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state = 'active' for update;
    if not found then
        perform automatch.raise_error('input_invalid', 'There is no model to go back to.');
    end if;
    perform automatch.activate_model(v_change.before);
    update automatch.model_changes
    set state = 'rolled_back', rescored = false, rescored_version = 0, rescored_upto = default,
        checked = false, checked_upto = default
    where id = v_change.id;
    update automatch.reruns set finished_at = automatch.now()
    where finished_at is null and reason = 'model ' || v_change.model;
    -- What came in since was seen by the other model alone.
    select count(public.enqueue_match_job(f.id)) into v_photos
    from public.face_embeddings as e
    join public.faces as f on f.id = e.face_id
    where e.model = v_change.model and automatch.has_consent(f.profile_id) and not exists (
        select from public.face_embeddings as b where b.model = v_change.before and b.face_id = e.face_id
    );
    perform automatch.audit(p_actor, 'roll_back_model', jsonb_build_object(
        'model', v_change.before, 'before', v_change.model, 'photos', v_photos
    ));
    return v_photos;
end
$$;
comment on function public.roll_back_model_change(text) is
    'Put the model of before in use again, all at once. Photos that came in since are queued to be seen by it; '
    'how many. The new model is kept until retire_model_change().';

create function public.retire_model_change(p_actor text default null)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_retired text;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    -- Else matches that the model in use finds too would be taken for those that it does not.
    if v_change.state in ('active', 'rolled_back') and not v_change.rescored then
        perform automatch.raise_error(
            'model_not_ready', 'The workers are still scoring the matches with the model in use; wait a moment.'
        );
    end if;
    -- Without a change, what use_embedding_model() left behind.
    select string_agg(m.id, ', ' order by m.id) into v_retired
    from public.embedding_models as m
    where not m.active and to_regclass(format('public.%I', 'face_embeddings_' || m.id)) is not null;
    if v_retired is null then
        perform automatch.raise_error('input_invalid', 'There is no other model to give up.');
    end if;
    -- An autovacuum gives way to a waiter only after deadlock_timeout (1 s). It is waited for in a mode that stops nobody else.
    perform set_config('lock_timeout', '5s', true);
    lock table public.faces, public.face_embeddings, public.face_index in share update exclusive mode;
    perform set_config('lock_timeout', '500ms', true);
    -- In the order in which a search takes them, or the two would wait for each other.
    lock table public.faces, public.face_embeddings, public.face_index in access exclusive mode;
    perform automatch.drop_model_partitions(m.id) from public.embedding_models as m where not m.active;
    delete from automatch.faces_to_embed;
    update automatch.model_changes set state = 'retired', ended_at = automatch.now(), retired = v_retired
    where id = v_change.id;
    perform automatch.audit(p_actor, 'retire_model', jsonb_build_object('model', v_retired));
    return v_retired;
end
$$;
comment on function public.retire_model_change(text) is
    'Delete all embeddings of the model that is not in use: the old one after a change, the new one before it or '
    'after a way back. Which one it was.';

create function automatch.use_embedding_model(p_model text)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queued integer;
begin
    if exists (select from automatch.model_changes as c where c.state <> 'retired') then
        perform automatch.raise_error(
            'input_invalid', 'A change of the model is not over: finish it, go back, or `automatch models retire`.'
        );
    end if;
    perform automatch.add_model_partitions(p_model);
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    if public.active_embedding_model() = p_model then
        return 0;
    end if;
    perform automatch.activate_model(p_model);
    -- Whom this model has seen before can be found at once; all the others are looked at again.
    insert into automatch.duplicate_checks (face_id)
    select i.face_id from public.face_index as i where i.model = p_model
    on conflict do nothing;
    select count(public.enqueue_match_job(f.id, 3::smallint)) into v_queued
    from public.faces as f
    where automatch.has_consent(f.profile_id) and not exists (
        select from public.face_embeddings as e where e.model = p_model and e.face_id = f.id
    );
    return v_queued;
end
$$;
comment on function automatch.use_embedding_model(text) is
    'Search with a row of embedding_models from now on, and queue every photo that it has not seen; how many. '
    'Until a photo was seen its person is not found. The embeddings of the model before stay until retire_model_change().';

create function public.compare_models(p_photos integer default 200, p_examples integer default 5, p_seed bigint default 1)
returns table (
    photos bigint, matches_before bigint, matches_after bigint, in_both bigint, without_before bigint,
    without_after bigint, examples jsonb
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_before text := public.active_embedding_model();
    v_after text;
begin
    select c.model into v_after from automatch.model_changes as c where c.state in ('preparing', 'rolled_back');
    if not found then
        perform automatch.raise_error('input_invalid', 'No other model is being prepared.');
    end if;
    return query
        with drawn as materialized (
            select i.face_id, i.profile_id, i.school, i.gender
            from public.face_index as i
            join public.face_index as o
                on o.model = v_before and o.school = i.school and o.gender = i.gender and o.face_id = i.face_id
            where i.model = v_after
            order by uuid_hash_extended(i.face_id, p_seed)
            limit p_photos
        ),
        asked as materialized (
            select d.face_id, d.profile_id, d.school, case d.gender when 'male' then 'female' else 'male' end as wanted,
                s.threshold, s.match_count, array(select automatch.excluded_profile_ids(d.profile_id)) || d.profile_id as hidden
            from drawn as d
            cross join public.match_settings as s
        ),
        found as materialized (
            select e.model, a.face_id, c.face_id as other_face_id, c.profile_id, c.similarity
            from asked as a
            join public.face_embeddings as e on e.face_id = a.face_id and e.model = any (array[v_before, v_after])
            cross join lateral automatch.find_candidates(
                coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id)),
                a.school, a.wanted, a.hidden, a.threshold, a.match_count, e.model
            ) as c
        ),
        old as materialized (select * from found as f where f.model = v_before),
        new as materialized (select * from found as f where f.model = v_after),
        pairs as materialized (
            select coalesce(o.face_id, n.face_id) as face_id,
                coalesce(n.other_face_id, o.other_face_id) as other_face_id,
                o.similarity as before, n.similarity as after
            from old as o
            full join new as n on n.face_id = o.face_id and n.profile_id = o.profile_id
        ),
        strongest as (
            (
                select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                where q.after is null order by q.before desc, q.face_id limit p_examples
            )
            union all
            (
                select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                where q.before is null order by q.after desc, q.face_id limit p_examples
            )
        )
        select
            (select count(*) from asked),
            count(p.before), count(p.after), count(*) filter (where p.before is not null and p.after is not null),
            (select count(*) from asked as a where not exists (select from old as o where o.face_id = a.face_id)),
            (select count(*) from asked as a where not exists (select from new as n where n.face_id = a.face_id)),
            (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from strongest as s)
        from pairs as p;
end
$$;
comment on function public.compare_models(integer, integer, bigint) is
    'Search for some photos with both models: how many matches there are now, would be, and are in both, and '
    'the strongest that would go and come, by the ids of their faces. Changes nothing.';

create function automatch.next_scale_to_rescore(p_model text, p_version integer, p_upto timestamptz)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.version
    from automatch.similarity_scales as s
    where s.model <> p_model and s.version >= p_version
      and exists (
          select from public.matches as x
          where x.scale_version = s.version and (s.version > p_version or x.created_at > p_upto)
      )
    order by s.version
    limit 1
$$;
comment on function automatch.next_scale_to_rescore(text, integer, timestamptz) is
    'The next scale of another model that still has matches: scale by scale, because matches_scale_idx has them so.';

create function public.rescore_matches_for_model(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_change automatch.model_changes;
    v_model text;
    v_threshold double precision;
    v_version integer;
    v_upto timestamptz;
    v_ids uuid[];
    v_changed uuid[];
begin
    if not exists (select from automatch.model_changes as c where c.state in ('active', 'rolled_back') and not c.rescored) then
        return 0;
    end if;
    -- Before the row of the change, as a change of the model takes them.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c
    where c.state in ('active', 'rolled_back') and not c.rescored
    for update skip locked;
    if not found then
        return 0;
    end if;
    v_model := public.active_embedding_model();
    select s.threshold into v_threshold from public.match_settings as s;
    v_version := automatch.next_scale_to_rescore(v_model, v_change.rescored_version, v_change.rescored_upto);
    if v_version is null then
        update automatch.model_changes set rescored = true where id = v_change.id;
        return 0;
    end if;
    if v_version > v_change.rescored_version then
        v_change.rescored_upto := '-infinity';
    end if;
    -- All matches of one moment together: those of a batch have the same created_at.
    select max(o.created_at) into v_upto
    from (
        select x.created_at from public.matches as x
        where x.scale_version = v_version and x.created_at > v_change.rescored_upto
        order by x.created_at
        limit p_limit
    ) as o;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
          and x.created_at > v_change.rescored_upto and x.created_at <= v_upto
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    with old as materialized (
        select x.id, x.similarity, greatest(least(-(
                coalesce(a.embedding, automatch.read_sharded_embedding(v_model, a.face_id))
                <#> coalesce(b.embedding, automatch.read_sharded_embedding(v_model, b.face_id))
            ), 1), -1) as cosine
        from public.matches as x
        join public.face_embeddings as a on a.model = v_model and a.face_id = x.face_a_id
        join public.face_embeddings as b on b.model = v_model and b.face_id = x.face_b_id
        where x.id = any (v_ids)
    ),
    scored as (
        update public.matches as x
        set cosine = o.cosine, scale_version = m.scale_version,
            similarity = automatch.similarity(o.cosine, m.midpoint, m.width)
        from old as o
        join public.embedding_models as m on m.active
        where x.id = o.id and automatch.similarity(o.cosine, m.midpoint, m.width) >= v_threshold
        returning x.id, automatch.shown_similarity(x.similarity) <> automatch.shown_similarity(o.similarity) as is_shown_otherwise
    )
    select array_agg(s.id) into v_changed from scored as s where s.is_shown_otherwise;
    if v_changed is not null then
        perform automatch.bump_feed_entries(v_changed);
    end if;
    update automatch.model_changes
    set rescored_version = v_version, rescored_upto = v_upto
    where id = v_change.id;
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches_for_model(integer) is
    'Rescore some matches of the other model with the one in use, if that finds the pair similar too. How many '
    'were considered; call again until it is 0.';

create function public.delete_unrescored_matches(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Only those of a retired model: until then the change can be rolled back.
    v_ids := array(
        select x.id
        from public.matches as x
        where x.scale_version = any (array(
            select s.version from automatch.similarity_scales as s
            join public.embedding_models as m on m.id = s.model and not m.active
            where s.model in (select c.retired from automatch.model_changes as c where c.state = 'retired')
              and not exists (
                  select from automatch.model_changes as c
                  where c.state <> 'retired' and s.model in (c.model, c.before)
              )
        ))
        limit p_limit
    );
    if cardinality(v_ids) = 0 then
        return 0;
    end if;
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    delete from public.matches as x where x.id = any (v_ids);
    return cardinality(v_ids);
end
$$;
comment on function public.delete_unrescored_matches(integer) is
    'Delete some matches that only a retired model found. How many; call again until it is 0.';

create function public.recheck_duplicates(p_limit integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_change automatch.model_changes;
    v_faces uuid[];
begin
    select c.* into v_change from automatch.model_changes as c where not c.checked order by c.id limit 1
    for update skip locked;
    if not found then
        return 0;
    end if;
    v_faces := array(
        select f.id from public.faces as f
        where f.id > v_change.checked_upto
        order by f.id
        limit p_limit
        for key share skip locked
    );
    insert into automatch.duplicate_checks (face_id)
    select i.face_id from public.face_index as i where i.face_id = any (v_faces)
    on conflict do nothing;
    update automatch.model_changes
    set checked_upto = coalesce(v_faces[cardinality(v_faces)], checked_upto), checked = cardinality(v_faces) = 0
    where id = v_change.id;
    return cardinality(v_faces);
end
$$;
comment on function public.recheck_duplicates(integer) is
    'Queue some photos for detect_duplicates() by the model in use now. How many were considered; 0 when all '
    'are queued.';

-- 25_photo_store.sql

-- Which photo store holds the files of this database: the store bears the same mark. And how far it was swept.

create table automatch.photo_store (
    singleton boolean primary key default true check (singleton),
    mark uuid not null,
    marked_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_store is
    'The random mark of the folder or bucket with the photos. Whoever finds another one there does not start.';

create function public.claim_photo_store(p_mark uuid default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_mark is not null then
        -- Waits for another that claims at the same time, which marks its store before it commits.
        insert into automatch.photo_store (mark) values (p_mark) on conflict do nothing;
    end if;
    return (select s.mark from automatch.photo_store as s);
end
$$;
comment on function public.claim_photo_store(uuid) is
    'The mark of the photo store; p_mark becomes it where there is none yet.';

create table automatch.photo_sweep (
    singleton boolean primary key default true check (singleton),
    position text not null
);
comment on table automatch.photo_sweep is 'The path up to which stored copies were compared with the faces.';

-- 26_photo_views.sql

-- Who was shown whose photo, a row a viewer, photo and day.

create table automatch.photo_views (
    id bigint generated always as identity primary key,
    face_id uuid not null references public.faces (id) on delete cascade,
    viewer_id uuid references public.profiles (id) on delete cascade,
    day date not null,
    first_at timestamptz not null,
    full_size boolean not null,
    constraint views_of_a_day_are_one unique nulls not distinct (face_id, viewer_id, day)
);
comment on table automatch.photo_views is 'Photos of others that people were shown. Not who looked at an own photo.';
comment on column automatch.photo_views.viewer_id is 'Null for operators, whose names are in the audit log.';
comment on column automatch.photo_views.full_size is 'Whether the whole photo was shown that day, and not only the face.';
create index photo_views_viewer_idx on automatch.photo_views (viewer_id);
create index photo_views_first_idx on automatch.photo_views (first_at);

create function public.record_photo_views(
    p_viewer_ids uuid[], p_face_ids uuid[], p_full_size boolean[], p_seen_at timestamptz[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- In the order of all locks, before the foreign keys take them in the order of the rows.
    perform from public.profiles as p
    where p.id = any (p_viewer_ids)
        or p.id in (select f.profile_id from public.faces as f where f.id = any (p_face_ids))
    order by p.id for key share;
    perform from public.faces as f where f.id = any (p_face_ids) order by f.id for key share;
    insert into automatch.photo_views as v (face_id, viewer_id, day, first_at, full_size)
    select s.face_id, s.viewer_id, (s.seen_at at time zone 'UTC')::date, min(s.seen_at), bool_or(s.full_size)
    from unnest(p_viewer_ids, p_face_ids, p_full_size, p_seen_at) as s (viewer_id, face_id, full_size, seen_at)
    join public.faces as f on f.id = s.face_id and f.profile_id is distinct from s.viewer_id
    join public.profiles as owner on owner.id = f.profile_id and not owner.simulated
    where s.viewer_id is null or exists (select from public.profiles as p where p.id = s.viewer_id)
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (face_id, viewer_id, day) do update set full_size = true
    where excluded.full_size and not v.full_size;
end
$$;
comment on function public.record_photo_views(uuid[], uuid[], boolean[], timestamptz[]) is
    'Record which photos of others were shown to whom and when; without a viewer, to an operator.';

create function automatch.blur_count(p_people bigint)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$ select case when p_people between 1 and 2 then '1-2' else p_people::text end $$;
comment on function automatch.blur_count(bigint) is
    'A number of people without naming them: whoever has one match would know who the one person was.';

create function public.count_photo_views()
returns table (people_this_week text, people_this_month text, operator_days_this_month integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        automatch.blur_count(count(distinct v.viewer_id) filter (
            where v.day > (automatch.now() at time zone 'UTC')::date - 7
        )),
        automatch.blur_count(count(distinct v.viewer_id)),
        count(distinct v.day) filter (where v.viewer_id is null)::integer
    from public.faces as f
    join automatch.photo_views as v on v.face_id = f.id
    where f.profile_id = (select automatch.uid()) and v.day > (automatch.now() at time zone 'UTC')::date - 30
$$;
create function public.list_photo_views()
returns table (week date, people text, operator_days integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- By week: by day, whoever has one match would read when that person was here.
    select date_trunc('week', v.day)::date, automatch.blur_count(count(distinct v.viewer_id)),
        count(distinct v.day) filter (where v.viewer_id is null)::integer
    from public.faces as f
    join automatch.photo_views as v on v.face_id = f.id
    where f.profile_id = (select automatch.uid())
    group by 1
    order by 1 desc
    limit 15
$$;
comment on function public.list_photo_views() is
    'How many people were shown photos of the caller in each week, and on how many days operators were; newest first.';
comment on function public.count_photo_views() is
    'How many people were shown photos of the caller in 7 and in 30 days, and on how many of these days operators were.';

-- 27_distribution.sql

-- The search copy spread over the machines of a Citus cluster, by school.

create function automatch.is_distributed(p_table text default 'public.face_index')
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_catalog constant regclass := to_regclass('pg_catalog.pg_dist_partition');
    v_is_distributed boolean := false;
begin
    if v_catalog is not null then
        -- By its oid, or a linter looks for the table in databases without Citus.
        execute format('select exists (select from %s as p where p.logicalrelid = $1)', v_catalog)
        into v_is_distributed using to_regclass(p_table);
    end if;
    return v_is_distributed;
end
$$;
comment on function automatch.is_distributed(text) is 'Whether the rows of a table lie in shards, on whatever machine.';

create function automatch.settled_before()
returns xid8 language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_xmin xid8 := pg_snapshot_xmin(pg_current_snapshot());
    v_behind bigint;
begin
    if not automatch.is_distributed() then
        return v_xmin;
    end if;
    -- A transaction ends here before its rows appear on other machines, and keeps the lock of its id until they have.
    select max((v_xmin::text::numeric - l.transactionid::text::numeric)::bigint & 4294967295) into v_behind
    from pg_locks as l
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
      and ((v_xmin::text::numeric - l.transactionid::text::numeric)::bigint & 4294967295) < 2147483648;
    return (v_xmin::text::numeric - coalesce(v_behind, 0))::text::xid8;
end
$$;
comment on function automatch.settled_before() is
    'The rows of every transaction before this one are there to be read, on every machine, or never will be.';

create function automatch.list_search_plans()
returns table (function regprocedure, mode text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.oid, split_part(c.setting, '=', 2)
    from pg_proc as p
    cross join unnest(p.proconfig) as c (setting)
    where p.pronamespace in ('public'::regnamespace, 'automatch'::regnamespace)
      and c.setting like 'plan_cache_mode=%'
      -- The first calls what looks for other accounts of the person; the second asks a shard where its mode is auto.
      and (p.prosrc like '%public.face_index %' or p.proname in ('store_face_embeddings', 'find_candidates'))
$$;
comment on function automatch.list_search_plans() is
    'The functions that say how what they read of face_index is planned, and how.';

create function automatch.set_search_plans()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure;
begin
    -- Citus plans for the values of parameters only.
    for v_function in select s.function from automatch.list_search_plans() as s loop
        execute format(
            'alter function %s set plan_cache_mode = %s', v_function,
            case when automatch.is_distributed() then 'auto' else 'force_generic_plan' end
        );
    end loop;
end
$$;
comment on function automatch.set_search_plans() is
    'Plan searches once for all parameters, or anew for each where face_index lies in shards.';

create function automatch.begin_index_copy(p_shards integer)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    if to_regclass('public.face_index_next') is not null then
        return;
    end if;
    create table public.face_index_next (
        like public.face_index including defaults including constraints including storage including indexes
    ) partition by list (model);
    -- Citus copies this to the shards, and refuses it afterwards.
    alter table public.face_index_next alter column embedding set statistics 0;
    perform automatch.apply_table_rules(to_regclass('public.face_index_next'));
    if p_shards > 0 then
        execute format(
            'select %s($1, $2, shard_count => $3, colocate_with => $4)',
            to_regproc('pg_catalog.create_distributed_table')
        ) using to_regclass('public.face_index_next'), 'school', p_shards, 'none';
    end if;
    perform automatch.add_index_partition('face_index_next', m.id, p_shards = 0)
    from public.embedding_models as m
    where to_regclass(format('public.%I', 'face_index_' || m.id)) is not null;
end
$$;
comment on function automatch.begin_index_copy(integer) is
    'Make an empty search copy beside the one in use, spread over so many shards, or over none.';

create function automatch.swap_index_copy(p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_comment constant text := obj_description('public.face_index'::regclass, 'pg_class');
    v_table record;
begin
    drop table public.face_index;
    for v_table in
        select c.relname as name, replace(c.relname, 'face_index_next', 'face_index') as new_name,
            x.relname as index_name
        from pg_partition_tree(to_regclass('public.face_index_next')) as t
        join pg_class as c on c.oid = t.relid
        join pg_index as i on i.indrelid = c.oid and i.indisprimary
        join pg_class as x on x.oid = i.indexrelid
        order by t.level
    loop
        execute format('alter table public.%I rename to %I', v_table.name, v_table.new_name);
        execute format('alter index public.%I rename to %I', v_table.index_name, left(v_table.new_name, 58) || '_pkey');
    end loop;
    execute format('comment on table public.face_index is %L', v_comment);
    perform automatch.apply_table_rules(t.relid) from pg_partition_tree('public.face_index') as t where t.level <= 1;
    -- They went with the rows.
    delete from automatch.group_indexes;
    perform automatch.set_search_plans();
    perform automatch.audit(p_actor, case when automatch.is_distributed() then 'distribute' else 'gather' end, '{}');
end
$$;
comment on function automatch.swap_index_copy(text) is
    'Search in the other copy from now on, and delete the one before. The caller has locked it, and both are equal.';

-- 28_sharded_embeddings.sql

-- The embeddings of faces in the shards of a Citus cluster, beside the search copy. A row of face_embeddings whose
-- embedding is null has it here; which of the two is so row by row, so embeddings move while everything goes on.
create table automatch.sharded_embeddings (
    face_id uuid not null,
    model text not null,
    -- Of the person; '' while there is none.
    school text not null,
    embedding vector not null,
    primary key (model, school, face_id),
    constraint embedding_is_a_unit_vector check (abs(vector_norm(embedding) - 1) < 0.001)
) partition by list (model);
alter table automatch.sharded_embeddings alter column embedding set storage main;
comment on table automatch.sharded_embeddings is
    'The embeddings of face_embeddings in a cluster, in the shards of face_index; kept true by the same triggers.';

create function automatch.add_sharded_partition(p_model text, p_dimensions integer)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_part text := format('automatch.%I', 'sharded_embeddings_' || p_model);
begin
    execute format(
        'create table %s (like automatch.sharded_embeddings including defaults including constraints including storage)',
        v_part
    );
    execute format(
        'alter table %s add constraint embedding_has_the_dimensions check (vector_dims(embedding) = %s)',
        v_part, p_dimensions
    );
    execute format('alter table %s alter column embedding set statistics 0', v_part);
    execute format('alter table automatch.sharded_embeddings attach partition %s for values in (%L)', v_part, p_model);
    perform automatch.apply_table_rules(v_part::regclass);
end
$$;

create function automatch.read_sharded_embeddings(p_model text, p_face_ids uuid[])
returns table (face_id uuid, embedding vector)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- Whoever calls: Citus plans for the values of parameters only.
set plan_cache_mode = auto
as $$
declare
    v_group record;
begin
    -- School by school: each is read in one shard.
    for v_group in
        select coalesce(p.school, '') as school, array_agg(f.id) as face_ids
        from public.faces as f
        join public.profiles as p on p.id = f.profile_id
        where f.id = any (p_face_ids)
        group by coalesce(p.school, '')
    loop
        return query
            select s.face_id, s.embedding
            from automatch.sharded_embeddings as s
            where s.model = p_model and s.school = v_group.school and s.face_id = any (v_group.face_ids);
    end loop;
end
$$;
comment on function automatch.read_sharded_embeddings(text, uuid[]) is
    'The embeddings of faces whose rows of face_embeddings have none.';

-- coalesce(embedding, …) stands with each reader: a function of both is called for every row, since all functions pin
-- their path and none is inlined; a view of both may be computed for all faces where Citus joins it with shards.
create function automatch.read_sharded_embedding(p_model text, p_face_id uuid)
returns vector language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$ select s.embedding from automatch.read_sharded_embeddings(p_model, array[p_face_id]) as s $$;
comment on function automatch.read_sharded_embedding(text, uuid) is
    'read_sharded_embeddings() of one face; for coalesce(), which does not call it on one server.';

create function automatch.forget_sharded_embeddings(p_school text, p_face_ids uuid[], p_models text[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_models constant text[] := coalesce(p_models, array(select m.id from public.embedding_models as m));
begin
    delete from automatch.sharded_embeddings as s
    where s.model = any (v_models) and s.school = coalesce(p_school, '') and s.face_id = any (p_face_ids);
end
$$;
comment on function automatch.forget_sharded_embeddings(text, uuid[], text[]) is
    'Delete the embeddings of faces of one school from its shard, of some models or of all.';

create function automatch.move_sharded_embeddings(p_school text, p_to text, p_face_ids uuid[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
begin
    with moved as (
        delete from automatch.sharded_embeddings as s
        where s.model = any (v_models) and s.school = coalesce(p_school, '')
          and (p_face_ids is null or s.face_id = any (p_face_ids))
        returning s.face_id, s.model, s.embedding
    )
    insert into automatch.sharded_embeddings (face_id, model, school, embedding)
    select m.face_id, m.model, coalesce(p_to, ''), m.embedding from moved as m;
end
$$;
comment on function automatch.move_sharded_embeddings(text, text, uuid[]) is
    'Put embeddings of faces into the shard of another school; without faces, all of the school.';

create function automatch.embedding_goes_to_shard()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_school text;
begin
    if new.embedding is null then
        return new;
    end if;
    select coalesce(p.school, '') into v_school
    from public.faces as f join public.profiles as p on p.id = f.profile_id
    where f.id = new.face_id;
    insert into automatch.sharded_embeddings as s (face_id, model, school, embedding)
    values (new.face_id, new.model, v_school, new.embedding)
    on conflict (model, school, face_id) do update set embedding = excluded.embedding;
    new.embedding := null;
    return new;
end
$$;

-- Enabled in a cluster alone: on one server it costs nothing.
create trigger face_embeddings_go_to_shards
before insert or update on public.face_embeddings
for each row execute function automatch.embedding_goes_to_shard();
alter table public.face_embeddings disable trigger face_embeddings_go_to_shards;

create function automatch.are_embeddings_sharded()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_trigger as t
        where t.tgrelid = 'public.face_embeddings'::regclass and t.tgname = 'face_embeddings_go_to_shards'
          and t.tgenabled <> 'D'
    )
$$;
comment on function automatch.are_embeddings_sharded() is 'Whether embeddings that are written go into shards.';

create function automatch.begin_sharding()
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_distribute constant regproc := to_regproc('pg_catalog.create_distributed_table');
begin
    if v_distribute is not null and not automatch.is_distributed('automatch.sharded_embeddings') then
        execute format('select %s($1, $2, colocate_with => $3)', v_distribute) using
            'automatch.sharded_embeddings'::regclass, 'school', 'public.face_index';
    end if;
    if not automatch.are_embeddings_sharded() then
        alter table public.face_embeddings alter column embedding drop not null;
        alter table public.face_embeddings enable trigger face_embeddings_go_to_shards;
    end if;
end
$$;
comment on function automatch.begin_sharding() is
    'Write embeddings into shards from now on, those of face_index; move_embeddings() takes the others there.';

create function automatch.end_sharding()
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- Fails while one lies here; `automatch db distribute` and a check of the doctor see by it that all are moved.
    alter table public.face_embeddings add constraint embedding_is_in_a_shard check (embedding is null)
$$;
comment on function automatch.end_sharding() is 'Note that all embeddings are in shards.';

create function automatch.begin_unsharding()
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    alter table public.face_embeddings drop constraint if exists embedding_is_in_a_shard;
    alter table public.face_embeddings disable trigger face_embeddings_go_to_shards;
$$;
comment on function automatch.begin_unsharding() is
    'Write embeddings into face_embeddings from now on; move_embeddings() takes the others there.';

create function automatch.move_embeddings(p_school text, p_upto uuid, p_people integer)
returns table (upto uuid, people integer)
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_is_sharded constant boolean := automatch.are_embeddings_sharded();
    v_people uuid[];
    v_faces uuid[];
    v_model text;
begin
    -- None of them moves or is erased meanwhile.
    v_people := array(
        select p.id from public.profiles as p
        where coalesce(p.school, '') = p_school and p.id > p_upto
        order by p.id
        limit p_people
        for no key update
    );
    v_faces := array(select f.id from public.faces as f where f.profile_id = any (v_people));
    perform set_config('automatch.moving_embeddings', 'on', true);
    for v_model in select m.id from public.embedding_models as m loop
        if v_is_sharded then
            insert into automatch.sharded_embeddings as s (face_id, model, school, embedding)
            select e.face_id, e.model, p_school, e.embedding
            from public.face_embeddings as e
            where e.model = v_model and e.face_id = any (v_faces) and e.embedding is not null
            on conflict (model, school, face_id) do update set embedding = excluded.embedding;
            update public.face_embeddings as e set embedding = null
            where e.model = v_model and e.face_id = any (v_faces) and e.embedding is not null;
        else
            update public.face_embeddings as e set embedding = s.embedding
            from automatch.read_sharded_embeddings(v_model, v_faces) as s
            where e.model = v_model and e.face_id = s.face_id and e.embedding is null;
        end if;
    end loop;
    perform set_config('automatch.moving_embeddings', '', true);
    return query select v_people[cardinality(v_people)], cardinality(v_people);
end
$$;
comment on function automatch.move_embeddings(text, uuid, integer) is
    'Put the embeddings of the next people of a school where they are written now; up to whom, and how many people.';

create function automatch.end_unsharding()
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_comment constant text := obj_description('automatch.sharded_embeddings'::regclass, 'pg_class');
    v_model public.embedding_models;
    v_lost uuid[];
    v_found record;
begin
    -- A backup of a cluster may have caught a person between two shards.
    for v_model in select m.* from public.embedding_models as m loop
        v_lost := array(
            select e.face_id from public.face_embeddings as e where e.model = v_model.id and e.embedding is null
        );
        for v_found in
            select s.face_id, s.embedding from automatch.sharded_embeddings as s
            where s.model = v_model.id and s.face_id = any (v_lost)
        loop
            update public.face_embeddings as e set embedding = v_found.embedding
            where e.model = v_model.id and e.face_id = v_found.face_id;
        end loop;
    end loop;
    -- Or after a photo went there: it is looked at again.
    with lost as (delete from public.face_embeddings as e where e.embedding is null returning e.face_id)
    select array_agg(l.face_id) into v_lost from lost as l;
    perform public.enqueue_match_job(f.id) from public.faces as f where f.id = any (v_lost);
    alter table public.face_embeddings alter column embedding set not null;
    alter table automatch.sharded_embeddings rename to sharded_embeddings_before;
    create table automatch.sharded_embeddings (
        like automatch.sharded_embeddings_before including defaults including constraints including storage
    ) partition by list (model);
    drop table automatch.sharded_embeddings_before;
    alter table automatch.sharded_embeddings
        add primary key (model, school, face_id), alter column embedding set statistics 0;
    execute format('comment on table automatch.sharded_embeddings is %L', v_comment);
    perform automatch.apply_table_rules('automatch.sharded_embeddings'::regclass);
    for v_model in
        select m.* from public.embedding_models as m
        where to_regclass(format('public.%I', 'face_embeddings_' || m.id)) is not null
    loop
        perform automatch.add_sharded_partition(v_model.id, v_model.dimensions);
    end loop;
end
$$;
comment on function automatch.end_unsharding() is 'Give up the shards, when all embeddings are in face_embeddings again.';

-- 30_match_jobs.sql

-- The queue: an upload is answered with 202 once its row is committed. docs/job-lifecycle.md draws the states.

create table public.match_jobs (
    id uuid primary key default gen_random_uuid(),
    face_id uuid not null references public.faces (id) on delete cascade,
    user_id uuid not null references public.profiles (id) on delete cascade,
    -- Set for the transactions of a request (queries/database.sql).
    request_id uuid default nullif(current_setting('automatch.request_id', true), '')::uuid,
    created_at timestamptz not null default automatch.now(),
    run_at timestamptz not null default automatch.now(),
    position bigint,
    threshold double precision,
    school text not null,
    max_attempts smallint not null default 5,
    missing_file_count smallint not null default 0,
    priority smallint not null default 2,
    first_of_user boolean not null default true,
    scheduled boolean not null default false,
    isolated boolean not null default false,
    -- From here on what claims and ends change: of an update within its page, only the bytes from the first that
    -- changes to the last are logged.
    attempts smallint not null default 0,
    status text not null default 'pending',
    -- The fence: grows with every claim and every lost lease. Unlike attempts it never shrinks.
    lease_token bigint not null default 0,
    lease_expires_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    worker_id uuid,
    match_count integer,
    timings jsonb not null default '{}',
    error_code text,
    error_message text,
    face_boxes jsonb,
    refused_picture jsonb,
    constraint status_is_known check (status in ('pending', 'processing', 'completed', 'failed')),
    constraint processing_has_a_lease check (
        (status = 'processing') = (lease_expires_at is not null)
        and (status = 'processing') = (worker_id is not null)
    ),
    constraint finished_has_completed_at check (
        (status in ('completed', 'failed')) = (completed_at is not null)
    ),
    constraint completed_has_match_count check ((status = 'completed') = (match_count is not null)),
    constraint failed_has_a_reason check (
        status <> 'failed' or (error_code is not null and error_message is not null)
    ),
    constraint attempts_are_bounded check (attempts between 0 and max_attempts),
    -- One such row would make every claim fail.
    constraint pending_has_an_attempt_left check (status <> 'pending' or attempts < max_attempts),
    constraint priority_is_known check (priority between 1 and 3),
    constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    constraint pending_has_a_position_or_a_time check (
        status <> 'pending' or scheduled or position is not null
    ),
    constraint only_pending_is_scheduled check (status = 'pending' or not scheduled),
    constraint only_a_failed_job_asks_for_a_face check (face_boxes is null or status = 'failed'),
    constraint face_boxes_are_in_the_photo check (
        face_boxes is null or automatch.are_face_boxes(face_boxes)
    ),
    constraint only_a_failed_job_has_a_picture check (refused_picture is null or status = 'failed')
)
-- A job is updated three times and deleted once, and a claim has to step over the dead rows: so vacuum
-- runs early and at full speed. Free space in the pages lets claims and leases change without touching an index, also
-- where all jobs of a page are claimed at once.
with (
    fillfactor = 40,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 2000
);
comment on table public.match_jobs is
    'pending -> processing -> completed | failed; a retry or a lost lease goes back to pending.';
comment on column public.match_jobs.created_at is
    'When the photo was uploaded, or when the person chose their face on it.';
comment on column public.match_jobs.missing_file_count is
    'How often a worker did not find the file of the photo, which uses up no attempt.';
comment on column public.match_jobs.run_at is 'Not before this time; pushed out by a retry.';
comment on column public.match_jobs.completed_at is 'When the job ended, completed or failed.';
comment on column public.match_jobs.timings is
    'Milliseconds: from created_at to each step (claimed_ms, embedded_ms, searched_ms, written_ms), and what the '
    'photo took (decode_ms, detect_ms, embed_ms).';
comment on column public.match_jobs.position is
    'Workers claim the lowest first. Null until a scheduled job is due.';
comment on column public.match_jobs.priority is
    '1: a person''s first photo; 2: any other; 3: work that nobody waits for.';
comment on column public.match_jobs.first_of_user is
    'Whether no other job of its person and priority waited when it got its position: these count as the '
    'people of a school, see next_position().';
comment on column public.match_jobs.scheduled is
    'Waits for run_at instead of a position: a retry, or a job of a paused school (run_at = infinity).';
comment on column public.match_jobs.isolated is
    'Its worker was lost: it is claimed in a batch of its own from then on, in case it is the cause.';
comment on column public.match_jobs.threshold is
    'The threshold of this search, where an operator set another one than that of match_settings.';
comment on column public.match_jobs.face_boxes is
    'Set while the person has to say which face is theirs: left, top, width and height of each face as '
    'fractions of the upright photo, largest first. choose_face() takes an index into it.';
comment on column public.match_jobs.refused_picture is
    'Set while a picture of a refused photo is kept for its owner: its width and height, and where the face at '
    'fault is (left, top, width and height as fractions), or null.';
comment on column public.match_jobs.request_id is
    'The request that queued it, an upload for one: joins the log lines and the trace of server and workers.';
-- No index names what a claim or a renewal changes, the status above all: so they stay in their page and write to no
-- index, which halves what they log. A job leaves these four when it ends; the claim steps over those that are held.
-- For the claim, and for held_jobs.
create index match_jobs_position_idx on public.match_jobs (position) where completed_at is null and not scheduled;
-- For scheduled jobs that are due.
create index match_jobs_scheduled_idx on public.match_jobs (run_at) where scheduled;
-- For next_position(): the last position of a school, and of a person.
create index match_jobs_school_position_idx on public.match_jobs (school, priority, position)
    where completed_at is null and not scheduled and first_of_user;
create index match_jobs_user_position_idx on public.match_jobs (user_id, priority, position)
    where completed_at is null and not scheduled;
-- One open job a photo, so that a job can always go back to pending.
create unique index match_jobs_one_open_per_face on public.match_jobs (face_id) where completed_at is null;
-- For the newest jobs of a photo or a person.
create index match_jobs_face_idx on public.match_jobs (face_id, created_at desc);
create index match_jobs_user_idx on public.match_jobs (user_id, created_at desc);
-- For the cleanup: old jobs lie together, and a BRIN index costs an insert next to nothing.
create index match_jobs_created_idx on public.match_jobs using brin (created_at) with (pages_per_range = 32);
-- For the numbers of the last minutes (56_history.sql), likewise.
create index match_jobs_completed_idx on public.match_jobs using brin (completed_at) with (pages_per_range = 32);
-- For photos whose owner never chose a face.
create index match_jobs_face_boxes_idx on public.match_jobs (completed_at) where face_boxes is not null;
create trigger match_jobs_require_consent before insert on public.match_jobs
for each row execute function automatch.require_consent();

create table automatch.queue_settings (
    only_row boolean primary key default true,
    paused boolean not null default false,
    concurrency integer,
    constraint there_is_one_row check (only_row),
    constraint concurrency_is_positive check (concurrency > 0)
);
comment on column automatch.queue_settings.concurrency is
    'The most jobs that a worker may hold at once; null: as its own settings say.';
insert into automatch.queue_settings default values;
create table automatch.paused_schools (
    school text primary key,
    paused_at timestamptz not null default automatch.now()
);
comment on table automatch.paused_schools is 'Schools whose jobs wait until an operator resumes them.';

-- 31_enqueue_fairness.sql

-- Enqueuing, and the fair order of jobs.
--
-- All workers claim the lowest positions of one queue. Positions are fair when they are assigned, so a
-- claim is a short index scan however many schools there are. This is start-time fair queueing (Goyal,
-- Vin, Cheng 1996) with two levels: the people of a school are one step apart, and the further jobs of a
-- person as many steps apart as people of the school wait. So the second of 20,000 jobs of one school, or
-- of one person, comes after the first job of everybody else.

-- The virtual time: the highest position claimed. A sequence, because every claim writes it: it makes no row
-- versions, and holds no lock until commit. A crash that a claim survives it survives too: it is logged before the
-- claim is committed.
create sequence automatch.match_job_virtual_time as bigint minvalue 0 start 0;

create function automatch.advance_virtual_time(p_position bigint)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- Of two claims at once the one with the lower positions must not set it back: held_jobs would miss the other's.
    perform pg_advisory_xact_lock(automatch.lock_key('virtual_time'));
    if p_position > (select c.last_value from automatch.match_job_virtual_time as c) then
        perform setval('automatch.match_job_virtual_time', p_position);
    end if;
    -- This block is undone, which gives the lock back before the claim is committed; a sequence keeps its value.
    raise exception using errcode = 'AM002';
exception
    when sqlstate 'AM002' then
        return;
end
$$;

-- Found by the virtual time, without reading those who wait: it is never before a position that was claimed.
create view automatch.held_jobs with (security_invoker = true) as
select j.*
from public.match_jobs as j
where j.completed_at is null and not j.scheduled and j.status = 'processing'
  and j.position <= (select t.last_value from automatch.match_job_virtual_time as t);
comment on view automatch.held_jobs is 'The jobs that workers hold.';

create function automatch.priority_weight(p_priority smallint)
returns bigint language sql immutable set search_path = pg_catalog, pg_temp
as $$ select case p_priority when 1 then 4 when 2 then 16 else 256 end $$;
comment on function automatch.priority_weight(smallint) is
    'The step between positions: the inverse of the priority''s share of the workers.';

create function automatch.next_position(
    p_school text, p_user_id uuid, p_priority smallint, out "position" bigint, out first_of_user boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres looks up the ends of an index to plan, and reads and sorts all jobs of a
-- school or a person.
set plan_cache_mode = force_generic_plan
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_step bigint := automatch.priority_weight(p_priority);
    v_last constant bigint := 9223372036854775807;
    v_clock bigint;
    v_school_end bigint;
    v_own_end bigint;
begin
    select c.last_value into v_clock from automatch.match_job_virtual_time as c;
    -- Only positions after the virtual time: before it lie claimed rows. Rows are
    -- compared whole, because only the index meant here has that order: compared by position alone,
    -- Postgres may walk match_jobs_position_idx past everybody else's jobs.
    select j.position into v_school_end
    from public.match_jobs as j
    where j.completed_at is null and not j.scheduled and j.first_of_user
      and (j.school, j.priority, j.position) > (p_school, p_priority, v_clock)
      and (j.school, j.priority, j.position) <= (p_school, p_priority, v_last)
    order by j.school desc, j.priority desc, j.position desc
    limit 1;
    select j.position into v_own_end
    from public.match_jobs as j
    where j.completed_at is null and not j.scheduled
      and (j.user_id, j.priority, j.position) > (p_user_id, p_priority, v_clock)
      and (j.user_id, j.priority, j.position) <= (p_user_id, p_priority, v_last)
    order by j.user_id desc, j.priority desc, j.position desc
    limit 1;
    v_school_end := coalesce(v_school_end, v_clock);
    first_of_user := v_own_end is null;
    -- The people of a school are one step apart, so the distance to its end says how many they are.
    position := case when first_of_user then v_school_end + v_step
                else v_own_end + greatest(v_school_end - v_clock, v_step) end;
end
$$;
comment on function automatch.next_position(text, uuid, smallint) is
    'The position of a job that is queued now. Two that are queued at once may get the same one.';

-- Whoever makes a job pending holds this lock until commit, and whoever pauses or resumes a school waits
-- for it. Otherwise a job that is queued at that moment could slip through a pause, or wait for the end
-- of one that is over. It is taken before any job is locked.
create function automatch.lock_pauses_shared()
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock_shared(automatch.lock_key('pauses')) $$;

create function automatch.assign_position()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_pauses_shared();
    if exists (select from automatch.paused_schools as s where s.school = new.school) then
        new.run_at := 'infinity';
    end if;
    if new.run_at > automatch.now() then
        new.scheduled := true;
    else
        select t.position, t.first_of_user into new.position, new.first_of_user
        from automatch.next_position(new.school, new.user_id, new.priority) as t;
    end if;
    return new;
end
$$;

create trigger match_jobs_assign_position
before insert on public.match_jobs
for each row
when (new.status = 'pending' and new.position is null)
execute function automatch.assign_position();

-- An idle worker holds the lock idle_worker in its session, so a shared lock that is refused means that
-- somebody has to be notified. Without idle workers nothing is notified: a commit with a NOTIFY waits
-- for every other such commit, fsync included. A worker gets the lock only when no transaction that found
-- nobody idle is still open, and it fetches once more after that: so no job is missed.
create function automatch.wake_workers()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock_shared(automatch.lock_key('idle_worker')) then
        perform pg_notify('automatch_jobs', '');
    end if;
end
$$;

create function automatch.match_jobs_queued()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.wake_workers();
    return null;
end
$$;

create trigger match_jobs_queued after insert on public.match_jobs
for each statement execute function automatch.match_jobs_queued();

create function public.enqueue_match_job(
    p_face_id uuid, p_priority smallint default null, p_threshold double precision default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into public.match_jobs (face_id, user_id, school, priority, threshold)
    select f.id, p.id, p.school,
        coalesce(p_priority, case
            when exists (select from public.faces as o where o.profile_id = p.id and o.id <> f.id) then 2
            else 1
        end),
        p_threshold
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where f.id = p_face_id and p.school is not null
    -- Waits for a job that is about to end. The school stays, because the position belongs to it.
    on conflict (face_id) where completed_at is null
        do update set threshold = coalesce(excluded.threshold, match_jobs.threshold)
    returning id into v_id;
    return v_id;
end
$$;
comment on function public.enqueue_match_job(uuid, smallint, double precision) is
    'Queue a face for matching, or return its open job. Priority 1 for the only photo of a person, 2 for '
    'others, 3 for work that nobody waits for.';

-- 32_claim_lease.sql

-- Claims, leases, and how idle workers wait.

-- One idle worker is registered, and the others wait in line for its place without asking again: when it takes
-- a job, the next one registers and claims, so that each that gets work wakes another.
create function public.register_idle(p_wait interval)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Bounded, because the snapshot of a statement that waits keeps vacuum from removing dead rows.
    perform set_config('lock_timeout', greatest(1, 1000 * extract(epoch from p_wait))::integer::text, true);
    perform pg_advisory_lock(automatch.lock_key('idle_worker'));
    return true;
exception
    when lock_not_available then
        return false;
end
$$;
comment on function public.register_idle(interval) is
    'From now on new jobs are notified on the channel automatch_jobs. Waits while another session is registered or '
    'a job is being queued at this moment; false after that time.';

create function public.unregister_idle()
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_unlock(automatch.lock_key('idle_worker')) $$;
comment on function public.unregister_idle() is 'Undo register_idle(), before the next claim.';

create function automatch.promote_due_jobs(p_limit integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_due record;
    v_next record;
    v_now timestamptz := automatch.now();
begin
    -- No lock while nothing is due.
    if not exists (
        select from public.match_jobs as j
        where j.status = 'pending' and j.scheduled and j.run_at <= v_now
    ) then
        return;
    end if;
    perform automatch.lock_pauses_shared();
    -- One by one, because each position depends on the one before.
    for v_due in
        select j.id, j.school, j.user_id, j.priority, j.position, s.school is not null as paused
        from public.match_jobs as j
        join public.profiles as p on p.id = j.user_id
        join public.faces as f on f.id = j.face_id
        left join automatch.paused_schools as s on s.school = j.school
        where j.status = 'pending' and j.scheduled and j.run_at <= v_now
        order by j.run_at
        limit p_limit
        for update of j skip locked
        -- The claim will update the row again, which checks its foreign keys: people who are being changed
        -- or erased at this moment are left to the next claim.
        for key share of p, f skip locked
    loop
        if v_due.paused then
            update public.match_jobs set run_at = 'infinity' where id = v_due.id;
        elsif v_due.position is not null then
            update public.match_jobs set scheduled = false where id = v_due.id;
        else
            select t.* into v_next
            from automatch.next_position(v_due.school, v_due.user_id, v_due.priority) as t;
            update public.match_jobs
            set scheduled = false, position = v_next.position, first_of_user = v_next.first_of_user
            where id = v_due.id;
        end if;
    end loop;
end
$$;
comment on function automatch.promote_due_jobs(integer) is
    'Give a position to scheduled jobs that are due; jobs of paused schools keep waiting.';

create function automatch.limit_claim(p_worker_id uuid, p_limit integer)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue automatch.queue_settings;
begin
    select q.* into v_queue from automatch.queue_settings as q;
    if v_queue.paused then
        return 0;
    elsif v_queue.concurrency is null then
        return p_limit;
    end if;
    -- One claim of a worker at a time: two could both count the same free places.
    perform pg_advisory_xact_lock(hashtextextended(p_worker_id::text, 0));
    return least(p_limit, v_queue.concurrency - (
        select count(*)::integer from automatch.held_jobs as j where j.worker_id = p_worker_id
    ));
end
$$;
comment on function automatch.limit_claim(uuid, integer) is
    'How many of p_limit jobs a worker may claim: fewer under a limit of concurrency, 0 while the queue is paused.';

create function public.claim_match_jobs(
    p_worker_id uuid, p_limit integer, p_lease interval, p_min_position bigint default 0
)
returns table (
    id uuid, lease_token bigint, attempts smallint, max_attempts smallint, face_id uuid, image_path text,
    is_embedded boolean, isolated boolean, "position" bigint, age_s double precision, request_id uuid
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- benchmarks/queue: planning anew at each call is a third of what a batch of one job costs.
set plan_cache_mode = force_generic_plan
-- test_queue_plans.py: with the statistics of an empty queue, Postgres would read and sort all waiting jobs.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_limit integer := automatch.limit_claim(p_worker_id, p_limit);
    v_now timestamptz := automatch.now();
    v_positions bigint[];
    v_ids uuid[];
    v_isolated boolean[];
    v_model text := public.active_embedding_model();
begin
    if v_limit <= 0 then
        return;
    end if;
    -- Many at once, however few are claimed: otherwise a retry would wait for the last of 20,000 jobs of
    -- a school that was resumed.
    perform automatch.promote_due_jobs(500);

    select array_agg(due.id), array_agg(due.position), array_agg(due.isolated)
    into v_ids, v_positions, v_isolated
    from (
        select j.id, j.position, j.isolated
        from public.match_jobs as j
        where j.completed_at is null and j.status = 'pending' and not j.scheduled and j.position >= p_min_position
        order by j.position
        limit v_limit
        for update skip locked
    ) as due;
    if v_ids is null then
        return;
    end if;
    -- Up to the first isolated job, or that job alone.
    v_limit := case when v_isolated[1] then 1
                    else coalesce(array_position(v_isolated, true) - 1, cardinality(v_ids)) end;
    if v_positions[v_limit] > (select c.last_value from automatch.match_job_virtual_time as c) then
        perform automatch.advance_virtual_time(v_positions[v_limit]);
    end if;

    return query
        with claimed as (
            update public.match_jobs as j
            set status = 'processing',
                attempts = j.attempts + 1,
                lease_token = j.lease_token + 1,
                lease_expires_at = v_now + p_lease,
                worker_id = p_worker_id,
                started_at = v_now,
                error_code = null,
                error_message = null,
                timings = jsonb_build_object('claimed_ms', round(1000 * extract(epoch from v_now - j.created_at), 1))
            where j.id = any (v_ids[:v_limit])
            returning j.id, j.lease_token, j.attempts, j.max_attempts, j.face_id, j.isolated, j.position, j.created_at,
                j.request_id
        )
        select
            c.id, c.lease_token, c.attempts, c.max_attempts, c.face_id, f.image_path,
            exists (select from public.face_embeddings as e where e.model = v_model and e.face_id = c.face_id),
            c.isolated, c.position, extract(epoch from v_now - c.created_at)::double precision, c.request_id
        from claimed as c
        join public.faces as f on f.id = c.face_id
        order by c.position;
    perform automatch.notify_job_owners(v_ids[:v_limit]);
end
$$;
comment on function public.claim_match_jobs(uuid, integer, interval, bigint) is
    'pending -> processing: claim the next jobs under a lease. p_min_position skips positions that the '
    'caller has seen empty; call with 0 when nothing is found.';

create function public.renew_match_leases(p_job_ids uuid[], p_tokens bigint[], p_lease interval)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
    ),
    -- Locked jobs are skipped: they are being completed or erased at this moment, and the next renewal
    -- comes well before their leases end.
    free as materialized (
        select j.id
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        for no key update of j skip locked
    ),
    renewed as (
        update public.match_jobs as j
        set lease_expires_at = automatch.now() + p_lease
        from free as f
        where j.id = f.id
    )
    select h.id from held as h
$$;
comment on function public.renew_match_leases(uuid[], bigint[], interval) is
    'The jobs that are still held; leases of all others are lost.';

create function public.seconds_to_next_match_job()
returns double precision language sql stable security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres reads finished jobs while statistics say that many wait.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select case
        when (select q.paused from automatch.queue_settings as q) then null
        when exists (
            select from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and not j.scheduled
        ) then 0
        else (
            select extract(epoch from j.run_at - automatch.now())::double precision
            from public.match_jobs as j
            where j.status = 'pending' and j.scheduled and j.run_at < 'infinity'
            order by j.run_at
            limit 1
        )
    end
$$;
comment on function public.seconds_to_next_match_job() is
    'Until the next job can be claimed: 0 when one can be now, null when none is scheduled.';

create function public.count_waiting_match_jobs(p_limit integer)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
-- test_queue_plans.py: otherwise Postgres reads finished jobs while statistics say that many wait.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select count(*)::integer
    from (
        select from public.match_jobs as j where j.completed_at is null and j.status = 'pending' limit p_limit
    ) as waiting
$$;
comment on function public.count_waiting_match_jobs(integer) is 'The number of waiting jobs, counted up to p_limit.';

-- 33_complete.sql

-- Storing embeddings, and completing jobs with their matches.

create type automatch.found_face as (
    job_id uuid, face_id uuid, profile_id uuid, similarity double precision
);
-- The model may have changed since the claim: then the embeddings are dropped and the jobs released.
create function public.store_face_embeddings(
    p_job_ids uuid[], p_tokens bigint[], p_embeddings vector[], p_model text, p_quality jsonb[],
    p_timings jsonb[], p_detectors text[] default null
)
returns setof uuid language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in complete_jobs().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := automatch.now();
    v_seen record;
begin
    -- From here on the model in use stays the same.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    perform automatch.lock_owners(array(select j.face_id from public.match_jobs as j where j.id = any (p_job_ids)));
    if not exists (select from public.embedding_models as m where m.id = p_model and m.active) then
        perform public.release_match_jobs(p_job_ids, p_tokens);
        return;
    end if;
    with seen as materialized (
        select j.id, j.face_id, mine.embedding, mine.quality, mine.timings, mine.detector
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_embeddings, p_quality, p_timings, p_detectors)
            as mine (id, token, embedding, quality, timings, detector)
            on mine.id = j.id and mine.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    told as (
        update public.match_jobs as j
        set timings = j.timings || s.timings
                      || jsonb_build_object('embedded_ms', round(1000 * extract(epoch from v_now - j.created_at), 1))
        from seen as s
        where j.id = s.id
    )
    select array_agg(s.id) as job_ids, array_agg(s.face_id) as face_ids, array_agg(s.embedding) as embeddings,
        array_agg(s.quality) as quality, array_agg(s.detector) as detectors
    into v_seen
    from seen as s;
    perform automatch.store_new_faces(
        p_model, v_seen.face_ids, v_seen.embeddings, v_seen.quality, v_seen.detectors
    );
    return query select unnest(v_seen.job_ids);
end
$$;
comment on function public.store_face_embeddings(uuid[], bigint[], vector[], text, jsonb[], jsonb[], text[]) is
    'Committed before the search, so that of two people who upload at once the later search finds the '
    'other. Returns the jobs that are still held.';

create function automatch.search_alone(p_job_ids uuid[])
returns automatch.found_face[]
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select coalesce(array_agg(row(j.id, c.face_id, c.profile_id, c.similarity)::automatch.found_face), '{}')
    from public.match_jobs as j
    join public.embedding_models as m on m.active
    join public.face_embeddings as e on e.model = m.id and e.face_id = j.face_id
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    cross join lateral automatch.find_candidates(
        coalesce(e.embedding, automatch.read_sharded_embedding(m.id, j.face_id)),
        p.school,
        case p.gender when 'male' then 'female' else 'male' end,
        array(select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p.id) || p.id,
        coalesce(j.threshold, s.threshold),
        s.match_count
    ) as c
    where j.id = any (p_job_ids)
$$;
comment on function automatch.search_alone(uuid[]) is 'What search_for_jobs() finds, with a search for each job.';

create function automatch.search_for_jobs(p_job_ids uuid[], p_tokens bigint[])
returns automatch.found_face[]
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in complete_jobs().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_is_distributed constant boolean := automatch.is_distributed();
    v_model public.embedding_models;
    v_settings public.match_settings;
    v_asked record;
    v_found automatch.found_face[];
begin
    -- What is found is written before the model changes.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    select m.* into v_model from public.embedding_models as m where m.active;
    select s.* into v_settings from public.match_settings as s;
    with held as materialized (
        select j.id, j.user_id, p.school, case p.gender when 'male' then 'female' else 'male' end as gender,
            automatch.cosine_bound(coalesce(j.threshold, v_settings.threshold), v_model.midpoint, v_model.width) as bound,
            coalesce(e.embedding, automatch.read_sharded_embedding(v_model.id, e.face_id)) as embedding,
            p.school is null or p.gender is null as is_incomplete, e.face_id is null as is_unknown,
            -- Null where nobody is searched for. Groups that have an index or lie in shards are searched for each job.
            case when p.admitted and not exists (select from automatch.held_faces as h where h.face_id = j.face_id) then
                v_is_distributed or exists (
                    select from automatch.group_indexes as g
                    where g.model = v_model.id and g.school = p.school and g.gender <> p.gender and g.ready
                )
            end as is_alone
        from unnest(p_job_ids, p_tokens) as mine (id, token)
        join public.match_jobs as j
            on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
        join public.profiles as p on p.id = j.user_id
        left join public.face_embeddings as e on e.model = v_model.id and e.face_id = j.face_id
        where j.id = any (p_job_ids)
    )
    select bool_or(h.is_incomplete) as is_incomplete, bool_or(h.is_unknown) as is_unknown,
        array_agg(h.id) filter (where h.is_alone) as alone_ids,
        array_agg(h.id) filter (where not h.is_alone) as ids,
        array_agg(h.user_id) filter (where not h.is_alone) as user_ids,
        array_agg(h.school) filter (where not h.is_alone) as schools,
        array_agg(h.gender) filter (where not h.is_alone) as genders,
        array_agg(h.bound) filter (where not h.is_alone) as bounds,
        array_agg(h.embedding) filter (where not h.is_alone) as queries
    into v_asked
    from held as h;
    -- Without these the search would find nobody and look like "no match".
    if v_asked.is_incomplete then
        perform automatch.raise_error('profile_incomplete', 'Fill in your school and gender, then upload the photo again.');
    elsif v_asked.is_unknown then
        perform automatch.raise_error('embedding_invalid', 'The photo has no embedding of the active model.');
    end if;
    if v_asked.ids is not null then
        select array_agg(row(
            v_asked.ids[f.number], f.face_id, f.profile_id,
            automatch.similarity(f.cosine, v_model.midpoint, v_model.width)
        )::automatch.found_face)
        into v_found
        from automatch.find_in_groups(
            v_model.id, v_asked.queries, v_asked.bounds, v_asked.schools, v_asked.genders, v_asked.user_ids,
            v_settings.match_count
        ) as f;
    end if;
    if v_asked.alone_ids is not null then
        v_found := v_found || automatch.search_alone(v_asked.alone_ids);
    end if;
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.search_for_jobs(uuid[], bigint[]) is
    'The matches of each job, best first. Raises an error for a job that cannot find anybody.';

create function automatch.exclude_held(p_found automatch.found_face[])
returns automatch.found_face[] language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from automatch.held_faces) then
        return p_found;
    end if;
    return array(
        select row(f.job_id, f.face_id, f.profile_id, f.similarity)::automatch.found_face
        from unnest(p_found) with ordinality as f (job_id, face_id, profile_id, similarity, place)
        join public.match_jobs as j on j.id = f.job_id
        where not exists (select from automatch.held_faces as h where h.face_id in (f.face_id, j.face_id))
        order by f.place
    );
end
$$;
comment on function automatch.exclude_held(automatch.found_face[]) is
    'What searches found, without photos that are held since. After locking the feeds, as hold_face() does.';

create function automatch.write_matches(p_found automatch.found_face[], p_job_ids uuid[], p_now timestamptz)
returns uuid[] language sql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    with scored as (
        -- What score_match() would do, for all at once.
        select j.face_id, j.user_id, other.id, other.profile_id, m.scale_version, m.midpoint, m.width, f.similarity,
            -- In a cluster from the similarity: no other scale comes into use between the search and this.
            case when a.embedding is null or b.embedding is null
                then least(automatch.cosine_bound(f.similarity, m.midpoint, m.width), 1)
                else greatest(least(-(a.embedding <#> b.embedding), 1), -1) end as cosine
        from unnest(p_found) as f
        join public.match_jobs as j on j.id = f.job_id
        join public.faces as other on other.id = f.face_id
        cross join public.embedding_models as m
        left join public.face_embeddings as a on a.model = m.id and a.face_id = j.face_id
        left join public.face_embeddings as b on b.model = m.id and b.face_id = other.id
        where f.job_id = any (p_job_ids) and m.active
    ),
    written as (
        insert into public.matches (
            face_a_id, face_b_id, profile_a_id, profile_b_id, similarity, created_at, cosine, scale_version
        )
        select
            least(s.face_id, s.id),
            greatest(s.face_id, s.id),
            case when s.face_id < s.id then s.user_id else s.profile_id end,
            case when s.face_id < s.id then s.profile_id else s.user_id end,
            coalesce(automatch.similarity(s.cosine, s.midpoint, s.width), s.similarity),
            p_now,
            s.cosine,
            s.scale_version
        from scored as s
        -- Two jobs of a batch may find each other.
        on conflict (face_a_id, face_b_id) do nothing
        returning id
    )
    select array_agg(w.id) from written as w
$$;
comment on function automatch.write_matches(automatch.found_face[], uuid[], timestamptz) is
    'Insert what the given jobs found; the ids of the new matches, or null.';

create function automatch.complete_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_found automatch.found_face[], p_searched_at timestamptz
)
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- benchmarks/queue: planning anew at each call is a third of what a batch of one job costs.
set plan_cache_mode = force_generic_plan
-- A plan for any number of jobs and matches must not read a whole table for a few of them.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_finished uuid[];
    v_counts integer[];
    v_match_ids uuid[];
begin
    if cardinality(p_found) > 0 and not (select s.match_same_person from public.match_settings as s) then
        p_found := automatch.exclude_duplicates(p_found);
    end if;
    if cardinality(p_found) > 0 then
        perform automatch.lock_feeds(array(
            select f.profile_id from unnest(p_found) as f
            union
            select j.user_id from public.match_jobs as j where j.id = any (p_job_ids)
        ));
        p_found := automatch.exclude_held(p_found);
    end if;
    v_now := automatch.now();
    -- One update for each job: a second one would check the foreign keys again, and so lock the profile too late.
    with mine as materialized (
        select m.id, m.token, m.found, e.code, e.message
        from (
            select c.id, max(c.token) as token, sum(c.found)::integer as found
            from (
                select j.id, j.token, 0 as found from unnest(p_job_ids, p_tokens) as j (id, token)
                union all
                -- A face may have been erased since the search.
                select f.job_id, null, 1
                from unnest(p_found) as f
                where exists (select from public.faces as other where other.id = f.face_id)
            ) as c
            group by c.id
        ) as m
        join public.match_jobs as o on o.id = m.id
        left join automatch.held_faces as h on h.face_id = o.face_id
        left join lateral (select x.* from automatch.explain_hold(h.reason) as x where h.reason is not null) as e on true
        order by m.id
    ),
    finished as (
        update public.match_jobs as j
        set status = case when m.code is null then 'completed' else 'failed' end, completed_at = v_now,
            lease_expires_at = null, worker_id = null, match_count = case when m.code is null then m.found end,
            error_code = m.code, error_message = m.message,
            timings = j.timings || jsonb_build_object(
                'searched_ms', round(1000 * extract(epoch from p_searched_at - j.created_at), 1),
                'written_ms', round(1000 * extract(epoch from v_now - j.created_at), 1)
            )
        from mine as m
        where j.id = m.id and j.lease_token = m.token and j.status = 'processing'
        returning j.id, j.match_count
    )
    select array_agg(f.id), array_agg(f.match_count) into v_finished, v_counts from finished as f;

    if v_finished is not null and cardinality(p_found) > 0 then
        v_match_ids := automatch.write_matches(p_found, v_finished, v_now);
    end if;
    if v_match_ids is not null then
        perform automatch.publish_new_matches(v_match_ids, v_now);
    end if;
    if v_finished is not null then
        perform automatch.notify_feeds(array(
            select j.user_id from public.match_jobs as j where j.id = any (v_finished)
            union
            select unnest(array[m.profile_a_id, m.profile_b_id]) from public.matches as m where m.id = any (v_match_ids)
        ));
    end if;

    return query select f.id, f.found from unnest(v_finished, v_counts) as f (id, found);
    -- Jobs that this attempt has completed before count too: that commit's answer was lost.
    if cardinality(p_job_ids) > coalesce(cardinality(v_finished), 0) then
        return query
            select j.id, j.match_count
            from public.match_jobs as j
            join unnest(p_job_ids, p_tokens) as mine (id, token)
                on mine.id = j.id and mine.token = j.lease_token
            where j.id = any (p_job_ids)
              and (
                  j.status = 'completed'
                  or j.status = 'failed' and exists (select from automatch.held_faces as h where h.face_id = j.face_id)
              )
              and j.id <> all (coalesce(v_finished, '{}'));
    end if;
end
$$;
comment on function automatch.complete_jobs(uuid[], bigint[], automatch.found_face[], timestamptz) is
    'processing -> completed: write the matches and publish them in both feeds. Or failed, and a null, for a photo that '
    'waits for a decision.';

create function public.complete_match_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_found automatch.found_face[] := automatch.search_for_jobs(p_job_ids, p_tokens);
begin
    return query select * from automatch.complete_jobs(p_job_ids, p_tokens, v_found, automatch.now());
end
$$;
comment on function public.complete_match_jobs(uuid[], bigint[]) is
    'processing -> completed: search, write the matches and publish them in both feeds, or nothing of it. '
    'Each job with its number of matches; jobs whose lease is lost are missing.';

create function public.complete_match_jobs_with_candidates(
    p_job_ids uuid[], p_tokens bigint[], p_schools text[], p_genders text[], p_lengths integer[],
    p_face_ids uuid[]
)
returns table (job_id uuid, match_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
    v_found automatch.found_face[] := array[]::automatch.found_face[];
    v_listed uuid[] := array[]::uuid[];
    v_rest uuid[];
    v_rest_tokens bigint[];
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    for v_group in
        select l.school, l.gender, array_agg(l.id) as ids, array_agg(l.ends - l.length + 1) as starts,
            array_agg(l.ends) as ends
        from (
            select mine.*, sum(mine.length) over (order by mine.number)::integer as ends
            from unnest(p_job_ids, p_tokens, p_schools, p_genders, p_lengths)
                with ordinality as mine (id, token, school, gender, length, number)
        ) as l
        join public.match_jobs as j on j.id = l.id and j.lease_token = l.token and j.status = 'processing'
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = j.face_id
        -- For a person who has moved since, the search is made below.
        join public.profiles as p on p.id = j.user_id and p.school = l.school and p.gender <> l.gender and p.admitted
        group by l.school, l.gender
    loop
        v_found := v_found || automatch.rank_candidates(
            v_group.school, v_group.gender, v_group.ids, v_group.starts, v_group.ends, p_face_ids
        );
        v_listed := v_listed || v_group.ids;
    end loop;
    select array_agg(mine.id), array_agg(mine.token) into v_rest, v_rest_tokens
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    where mine.id <> all (v_listed);
    if v_rest is not null then
        v_found := v_found || automatch.search_for_jobs(v_rest, v_rest_tokens);
    end if;
    return query select * from automatch.complete_jobs(p_job_ids, p_tokens, v_found, automatch.now());
end
$$;
comment on function public.complete_match_jobs_with_candidates(uuid[], bigint[], text[], text[], integer[], uuid[]) is
    'complete_match_jobs() for jobs with candidates: of each, the group searched, and the next p_lengths of '
    'p_face_ids. Without a group, or if the person has changed groups since, the search is made here.';

-- 34_fail_retry_release.sql

-- Jobs that fail, are retried or released, and the question which face is the person's.

create function public.fail_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[],
    p_face_boxes jsonb[] default null, p_refused_pictures jsonb[] default null
)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id, lease.code, lease.message, lease.face_boxes, lease.refused_picture
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages, p_face_boxes, p_refused_pictures)
            as lease (id, token, code, message, face_boxes, refused_picture)
            on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    failed as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), lease_expires_at = null, worker_id = null,
            error_code = h.code, error_message = h.message, face_boxes = h.face_boxes,
            refused_picture = h.refused_picture
        from held as h
        where j.id = h.id
        returning j.id
    ),
    notified as (
        select automatch.notify_job_owners(array_agg(f.id)) from failed as f
    )
    select f.id from failed as f left join notified on true
$$;
comment on function public.fail_match_jobs(uuid[], bigint[], text[], text[], jsonb[], jsonb[]) is
    'processing -> failed. With p_face_boxes the person is asked which face is theirs, with p_refused_pictures '
    'they see what is wrong with the photo. Returns the jobs that were still held.';

create function public.choose_face(p_job_id uuid, p_index integer)
returns table (face_id uuid, job_status text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_profile public.profiles;
    v_job public.match_jobs;
    v_chosen jsonb;
begin
    -- In the order of lock_feeds(): erasing the photo, the consent or the account waits for this, or this
    -- waits for it and then finds nothing.
    select p.* into v_profile from public.profiles as p where p.id = automatch.uid() for share;
    select f.chosen_box into v_chosen
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.id = p_job_id and j.user_id = automatch.uid()
    for no key update of f;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    if not automatch.has_consent(v_profile.id) then
        perform automatch.raise_error(
            'consent_required',
            'Give your consent to face matching in your profile before uploading a photo.'
        );
    end if;
    if v_profile.school is null or v_profile.gender is null then
        perform automatch.raise_error('profile_incomplete', 'Fill in your school and gender before choosing a face.');
    end if;
    perform automatch.lock_pauses_shared();
    select j.* into v_job from public.match_jobs as j where j.id = p_job_id for no key update;

    if v_job.face_boxes is null and (v_chosen ->> 'index')::integer = p_index then
        -- The same choice again: a second tap, or a request whose answer was lost.
        return query select v_job.face_id, v_job.status;
        return;
    end if;
    if v_job.face_boxes is null then
        perform automatch.raise_error(
            'face_not_asked',
            'This photo does not ask which face is yours any more; load its job again.'
        );
    end if;
    if p_index is null or p_index not between 0 and jsonb_array_length(v_job.face_boxes) - 1 then
        perform automatch.raise_error('input_invalid', pg_catalog.format(
            'The photo shows %s faces: choose an index from 0 to %s.',
            jsonb_array_length(v_job.face_boxes), jsonb_array_length(v_job.face_boxes) - 1
        ));
    end if;
    update public.faces as f
    set chosen_box = (v_job.face_boxes -> p_index) || jsonb_build_object('index', p_index)
    where f.id = v_job.face_id;
    begin
        -- Like a new job: its waiting time begins now, and the next claim gives it a position.
        update public.match_jobs as j
        set status = 'pending', attempts = 0, missing_file_count = 0, created_at = automatch.now(),
            school = v_profile.school, scheduled = true, run_at = automatch.now(), position = null, isolated = false,
            started_at = null, completed_at = null, error_code = null, error_message = null, timings = '{}',
            face_boxes = null, refused_picture = null
        where j.id = p_job_id;
    exception when unique_violation then
        -- An operator has queued the photo again, and that job may be in progress.
        perform automatch.raise_error(
            'face_not_asked',
            'This photo is being analyzed again at this moment; load its job again.'
        );
    end;
    perform automatch.wake_workers();
    perform automatch.notify_feeds(array[automatch.uid()]);
    return query select v_job.face_id, 'pending'::text;
end
$$;
comment on function public.choose_face(uuid, integer) is
    'failed -> pending, for a job of the caller with face_boxes: store the choice and analyze the photo '
    'again. The same choice again changes nothing.';

create function automatch.retry_delay(p_attempts integer, p_first_s double precision, p_longest_s double precision)
returns interval language sql set search_path = pg_catalog, pg_temp
as $$
    -- Doubles with every attempt. The random part keeps jobs apart that failed together.
    select make_interval(secs => least(p_longest_s, p_first_s * power(2, least(p_attempts, 30) - 1))
                                 * (1 - random() / 2))
$$;

create function public.retry_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_codes text[], p_messages text[],
    p_first_delay_s double precision, p_longest_delay_s double precision
)
returns table (job_id uuid, status text) language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with held as materialized (
        select j.id, lease.code, lease.message, miss.number as miss,
            -- Another worker may find the file: the photos of this one may be a copy that is behind.
            case miss.number when 1 then j.missing_file_count + 1 else j.attempts end < j.max_attempts as again
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens, p_codes, p_messages) as lease (id, token, code, message)
            on lease.id = j.id and lease.token = j.lease_token
        cross join lateral (select (lease.code = 'photo_missing')::integer) as miss (number)
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    retried as (
        update public.match_jobs as j
        set status = case when h.again then 'pending' else 'failed' end,
            attempts = j.attempts - case when h.again then h.miss else 0 end,
            missing_file_count = j.missing_file_count + h.miss,
            scheduled = h.again,
            run_at = case when h.again
                then automatch.now()
                     + automatch.retry_delay(j.attempts + j.missing_file_count, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            -- A new position, after those who wait now.
            position = case when h.again then null else j.position end,
            completed_at = case when h.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null, error_code = h.code, error_message = h.message
        from held as h
        where j.id = h.id
        returning j.id, j.status
    ),
    notified as (
        select automatch.notify_job_owners(array_agg(r.id)) from retried as r
    )
    select s.id, s.status from retried as s left join notified on true
$$;
comment on function public.retry_match_jobs(uuid[], bigint[], text[], text[], double precision, double precision) is
    'processing -> pending at a later time, or failed when no attempt is left. A missing file uses up none, and is '
    'looked for as often as there are attempts. The jobs that were still held, with their new status.';

create function public.release_match_jobs(
    p_job_ids uuid[], p_tokens bigint[], p_delay interval default '0', p_new_turn boolean default false
)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.lock_pauses_shared();
    with held as materialized (
        select j.id,
            p_new_turn or p_delay > interval '0'
            or exists (select from automatch.paused_schools as s where s.school = j.school) as later
        from public.match_jobs as j
        join unnest(p_job_ids, p_tokens) as lease (id, token) on lease.id = j.id and lease.token = j.lease_token
        where j.id = any (p_job_ids) and j.status = 'processing'
        order by j.id
        for no key update of j
    ),
    released as (
        update public.match_jobs as j
        set status = 'pending', attempts = j.attempts - 1, scheduled = h.later, run_at = automatch.now() + p_delay,
            position = case when not p_new_turn then j.position end,
            lease_expires_at = null, worker_id = null
        from held as h
        where j.id = h.id
        returning j.id
    ),
    notified as (
        select automatch.wake_workers() where exists (select from released)
    )
    select count(r.id)::integer from released as r left join notified on true
$$;
comment on function public.release_match_jobs(uuid[], bigint[], interval, boolean) is
    'processing -> pending at the old position, or with p_new_turn behind those who wait now, and without using up an '
    'attempt: for workers that stop, and for failures of the infrastructure.';

create function public.release_worker_match_jobs(p_worker_id uuid)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
        from automatch.held_jobs as j
        where j.worker_id = p_worker_id
        having count(*) > 0
    ), 0)
$$;
comment on function public.release_worker_match_jobs(uuid) is
    'release_match_jobs() for all that a worker holds, for one that stops: a claim may have been committed whose answer '
    'it no longer saw. How many.';

create function public.refused_photo(p_face_id uuid)
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select f.image_path
    from public.faces as f
    cross join lateral (
        select j.refused_picture from public.match_jobs as j
        where j.face_id = f.id
        order by j.created_at desc
        limit 1
    ) as newest
    where f.id = p_face_id and f.profile_id = (select automatch.uid()) and newest.refused_picture is not null
$$;
comment on function public.refused_photo(uuid) is
    'Path of a photo of the caller that was refused, while a picture of it is kept.';

-- 35_sweep_cleanup.sql

-- Jobs whose worker was lost, old jobs, and photos that are left over.

create function public.sweep_match_jobs(
    p_first_delay_s double precision default 0, p_longest_delay_s double precision default 0
)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with lost as materialized (
        select j.id, j.attempts < j.max_attempts as again
        from automatch.held_jobs as j
        where j.lease_expires_at < automatch.now()
        limit 500
        for update skip locked
    ),
    swept as (
        update public.match_jobs as j
        set status = case when l.again then 'pending' else 'failed' end,
            -- The worker may come back: its token is no longer valid.
            lease_token = j.lease_token + 1,
            -- This job may have brought the worker down.
            isolated = true,
            scheduled = l.again,
            run_at = case when l.again
                then automatch.now() + automatch.retry_delay(j.attempts, p_first_delay_s, p_longest_delay_s)
                else j.run_at end,
            position = case when l.again then null else j.position end,
            completed_at = case when l.again then null else automatch.now() end,
            lease_expires_at = null, worker_id = null,
            error_code = 'worker_lost',
            error_message = 'The worker on this job stopped answering; it did so in '
                            || j.attempts || ' of ' || j.max_attempts || ' attempts.'
        from lost as l
        where j.id = l.id
        returning j.id
    ),
    notified as (
        select automatch.wake_workers(), automatch.notify_job_owners(array(select s.id from swept as s))
        where exists (select from swept)
    )
    select count(s.id)::integer from swept as s left join notified on true
$$;
comment on function public.sweep_match_jobs(double precision, double precision) is
    'processing -> pending or failed, for jobs whose lease has expired; without a delay by default.';

create function public.cleanup_old_match_jobs(p_older_than interval default '7 days')
returns integer language sql security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
-- test_queue_plans.py: what remains is a bitmap scan of match_jobs_created_idx.
set enable_indexscan = off
as $$
    with old as materialized (
        select j.id
        from public.match_jobs as j
        where j.status in ('completed', 'failed')
          and j.completed_at < automatch.now() - p_older_than
          -- Implied by the line above, and the condition that match_jobs_created_idx can use.
          and j.created_at < (select automatch.now() - p_older_than)
          -- That of a photo that waits for a decision says so.
          and not exists (select from automatch.held_faces as h where h.face_id = j.face_id)
          -- One cleanup at a time: two would only skip each other's rows.
          and (select pg_try_advisory_xact_lock(automatch.lock_key('cleanup')))
        limit 2000
        for update skip locked
    ),
    deleted as (
        delete from public.match_jobs as j where j.id = any (array(select o.id from old as o)) returning j.id
    )
    select count(*)::integer from deleted
$$;
comment on function public.cleanup_old_match_jobs(interval) is
    'Delete old finished jobs, at most 2,000; call again while it returns that many.';

create function public.erase_unanswered_photo(p_older_than interval)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile_id uuid;
    v_until timestamptz := automatch.now() - p_older_than;
    v_count integer;
begin
    select j.user_id into v_profile_id
    from public.match_jobs as j
    join public.faces as f on f.id = j.face_id
    where j.face_boxes is not null and j.completed_at < v_until
      and not exists (select from public.face_embeddings as e where e.face_id = f.id)
      and not exists (
          select from public.match_jobs as open
          where open.face_id = f.id and open.completed_at is null
      )
    order by j.completed_at
    limit 1;
    if not found then
        return 0;
    end if;
    perform automatch.lock_for_erasing(v_profile_id);
    -- Checked again behind the locks: the person may have chosen meanwhile.
    delete from public.faces as f
    where f.profile_id = v_profile_id
      -- A photo that another model accepted is kept.
      and not exists (select from public.face_embeddings as e where e.face_id = f.id)
      and exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.face_boxes is not null and j.completed_at < v_until
      )
      and not exists (
          select from public.match_jobs as j
          where j.face_id = f.id and j.completed_at is null
      );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.erase_unanswered_photo(interval) is
    'Erase the photos of one person who has not chosen a face for so long. The number of photos; call again '
    'until it is 0.';

-- 36_queue_admin.sql

-- The operator's functions for the queue.

create function automatch.lock_pauses_exclusive()
returns void language sql set search_path = pg_catalog, pg_temp
as $$ select pg_advisory_xact_lock(automatch.lock_key('pauses')) $$;
comment on function automatch.lock_pauses_exclusive() is 'See lock_pauses_shared().';

create function public.is_search_paused()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (select q.paused from automatch.queue_settings as q)
        or exists (
            select from automatch.paused_schools as s
            join public.profiles as p on p.school = s.school
            where p.id = (select automatch.uid())
        )
$$;
comment on function public.is_search_paused() is 'Whether photos of the caller wait because an operator has paused their queue.';

create function public.pause_match_jobs(p_school text default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
    v_waiting integer;
begin
    if p_school is null then
        update automatch.queue_settings set paused = true;
        select count(*)::integer into v_waiting
        from public.match_jobs as j where j.completed_at is null and j.status = 'pending';
    else
        v_school := (automatch.require_school(p_school)).name;
        perform automatch.lock_pauses_exclusive();
        insert into automatch.paused_schools (school) values (v_school) on conflict do nothing;
        with waiting as materialized (
            select j.id
            from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and j.school = v_school
            order by j.id
            for no key update
        )
        -- With their positions they would all come first when the school is resumed.
        update public.match_jobs as j
        set scheduled = true, run_at = 'infinity', position = null
        from waiting as w
        where j.id = w.id;
        get diagnostics v_waiting = row_count;
    end if;
    perform automatch.notify_feeds(array(
        select distinct j.user_id from public.match_jobs as j where j.completed_at is null and j.status = 'pending'
    ));
    perform automatch.audit(p_actor, 'pause', jsonb_build_object('school', v_school, 'waiting', v_waiting));
    return v_waiting;
end
$$;
comment on function public.pause_match_jobs(text, text) is
    'Stop claims, of one school or of the whole queue. Uploads are still accepted, and jobs in progress are '
    'completed. The number of waiting jobs.';

create function public.resume_match_jobs(p_school text default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
    v_waiting integer;
begin
    if p_school is null then
        update automatch.queue_settings set paused = false;
        select count(*)::integer into v_waiting
        from public.match_jobs as j where j.completed_at is null and j.status = 'pending' and j.run_at < 'infinity';
    else
        v_school := (automatch.require_school(p_school)).name;
        perform automatch.lock_pauses_exclusive();
        delete from automatch.paused_schools where school = v_school;
        with waiting as materialized (
            select j.id
            from public.match_jobs as j
            where j.status = 'pending' and j.scheduled and j.school = v_school and j.run_at = 'infinity'
            order by j.id
            for no key update
        )
        -- In the order of their uploads; claims give them positions.
        update public.match_jobs as j
        set run_at = j.created_at
        from waiting as w
        where j.id = w.id;
        get diagnostics v_waiting = row_count;
    end if;
    perform automatch.notify_feeds(array(
        select distinct j.user_id from public.match_jobs as j where j.completed_at is null and j.status = 'pending'
    ));
    perform automatch.audit(p_actor, 'resume', jsonb_build_object('school', v_school, 'waiting', v_waiting));
    perform automatch.wake_workers();
    return v_waiting;
end
$$;
comment on function public.resume_match_jobs(text, text) is
    'Undo pause_match_jobs(), for one school or for the whole queue; schools that were paused by name stay '
    'paused. The number of jobs that can be claimed again.';

create function public.set_match_concurrency(p_jobs integer, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_jobs < 1 then
        perform automatch.raise_error('input_invalid', 'A worker holds at least one job; to stop all, pause the queue.');
    end if;
    update automatch.queue_settings set concurrency = p_jobs;
    perform automatch.audit(p_actor, 'concurrency', jsonb_build_object('jobs', p_jobs));
    perform automatch.wake_workers();
end
$$;
comment on function public.set_match_concurrency(integer, text) is
    'Set how many jobs a worker may hold at once, from its next claim on; null: as its own settings say.';

create function automatch.retryable_match_jobs(p_job_ids uuid[], p_code text)
returns setof public.match_jobs language sql stable set search_path = pg_catalog, pg_temp
as $$
    select j.*
    from public.match_jobs as j
    where j.status = 'failed'
      and (p_job_ids is null or j.id = any (p_job_ids))
      and (p_code is null or j.error_code = p_code)
      and not exists (
          select from public.match_jobs as open
          where open.face_id = j.face_id and open.completed_at is null
      )
      -- Without ids: only photos that no later job has completed.
      and (p_job_ids is not null or not exists (
          select from public.match_jobs as later
          where later.face_id = j.face_id and later.status = 'completed'
            and later.completed_at >= j.completed_at
      ))
$$;
comment on function automatch.retryable_match_jobs(uuid[], text) is
    'Failed jobs whose photos can be searched for again; of each photo the newest one is retried.';

create function public.count_retryable_match_jobs(p_code text default null)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select count(distinct r.face_id)::integer from automatch.retryable_match_jobs(null, p_code) as r $$;
comment on function public.count_retryable_match_jobs(text) is
    'How many jobs retry_failed_match_jobs() would queue again: of one error code, or all.';

create function public.retry_failed_match_jobs(
    p_job_ids uuid[] default null, p_code text default null, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
    v_failed uuid[] := array(
        select r.id from automatch.retryable_match_jobs(p_job_ids, p_code) as r
    );
begin
    -- As for enqueue_searches().
    perform from public.profiles as p
    where p.id in (select j.user_id from public.match_jobs as j where j.id = any (v_failed))
    order by p.id
    for no key update;
    loop
        begin
            with failed as materialized (
                select j.id, j.face_id, j.completed_at
                from public.match_jobs as j
                where j.status = 'failed' and j.id = any (v_failed)
                  and j.id in (select r.id from automatch.retryable_match_jobs(p_job_ids, p_code) as r)
                order by j.id
                for no key update of j
            ),
            -- The newest failed job of each photo.
            newest as (
                select distinct on (f.face_id) f.id from failed as f order by f.face_id, f.completed_at desc, f.id
            ),
            again as (
                update public.match_jobs as j
                set status = 'pending', attempts = 0, missing_file_count = 0, scheduled = true,
                    run_at = automatch.now(), position = null, isolated = false,
                    completed_at = null, error_code = null, error_message = null,
                    face_boxes = null, refused_picture = null
                from newest as n
                where j.id = n.id
                returning j.id
            )
            select count(*)::integer into v_count from again;
            exit;
        exception when unique_violation then
            -- One of the photos was queued at this moment: try again, that job is visible now.
            null;
        end;
    end loop;
    perform automatch.audit(
        p_actor, 'retry', jsonb_build_object('jobs', to_jsonb(p_job_ids), 'code', p_code, 'count', v_count)
    );
    perform automatch.wake_workers();
    perform automatch.notify_job_owners(v_failed);
    return v_count;
end
$$;
comment on function public.retry_failed_match_jobs(uuid[], text, text) is
    'failed -> pending with all their attempts: the given jobs, those of one error code, or all. How many.';

create function public.cancel_match_jobs(p_job_ids uuid[], p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    with open as materialized (
        select j.id
        from public.match_jobs as j
        where j.id = any (p_job_ids) and j.completed_at is null
        order by j.id
        for no key update of j
    ),
    cancelled as (
        update public.match_jobs as j
        set status = 'failed', completed_at = automatch.now(), scheduled = false,
            -- The worker can no longer write.
            lease_token = j.lease_token + 1, lease_expires_at = null, worker_id = null,
            error_code = 'job_cancelled',
            error_message = 'The search for this photo was stopped by the operator.'
        from open as o
        where j.id = o.id
        returning j.id
    )
    select count(*)::integer into v_count from cancelled;
    perform automatch.audit(p_actor, 'cancel', jsonb_build_object('jobs', to_jsonb(p_job_ids), 'count', v_count));
    perform automatch.notify_job_owners(p_job_ids);
    return v_count;
end
$$;
comment on function public.cancel_match_jobs(uuid[], text) is
    'pending or processing -> failed, with the code job_cancelled. How many were open.';

create function public.requeue_match_job(
    p_job_id uuid, p_threshold double precision default null, p_actor text default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_face_id uuid;
    v_id uuid;
begin
    if p_threshold <= 0 or p_threshold >= 1 then
        perform automatch.raise_error('input_invalid', 'A threshold is a similarity between 0 and 1, such as 0.4.');
    end if;
    select j.face_id into v_face_id from public.match_jobs as j where j.id = p_job_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    v_id := public.enqueue_match_job(v_face_id, null, p_threshold);
    if v_id is null then
        perform automatch.raise_error('profile_incomplete', 'The person of this photo names no school any more.');
    end if;
    perform automatch.audit(
        p_actor, 'requeue', jsonb_build_object('job', p_job_id, 'threshold', p_threshold, 'new_job', v_id)
    );
    return v_id;
end
$$;
comment on function public.requeue_match_job(uuid, double precision, text) is
    'Search for the photo of a job again, with a threshold of its own if one is given. Existing matches stay. '
    'The new job, or the open job of the photo.';

create function public.prioritize_match_jobs(
    p_job_ids uuid[], p_priority smallint default 1::smallint, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
    v_next record;
    v_count integer := 0;
begin
    if p_priority not between 1 and 3 then
        perform automatch.raise_error('input_invalid', 'A priority is 1 (soon), 2 (as usual) or 3 (when nobody waits).');
    end if;
    for v_job in
        select j.id, j.school, j.user_id, j.scheduled
        from public.match_jobs as j
        where j.id = any (p_job_ids) and j.status = 'pending' and j.priority <> p_priority
        order by j.id
        for no key update of j
    loop
        select t.* into v_next from automatch.next_position(v_job.school, v_job.user_id, p_priority) as t;
        update public.match_jobs as j
        set priority = p_priority,
            position = case when v_job.scheduled then null else v_next.position end,
            first_of_user = v_next.first_of_user
        where j.id = v_job.id;
        v_count := v_count + 1;
    end loop;
    perform automatch.audit(
        p_actor, 'prioritize',
        jsonb_build_object('jobs', to_jsonb(p_job_ids), 'priority', p_priority, 'count', v_count)
    );
    return v_count;
end
$$;
comment on function public.prioritize_match_jobs(uuid[], smallint, text) is
    'Give waiting jobs another priority and a new position. How many changed.';

create function public.get_match_queue()
returns table (
    paused boolean, concurrency integer, paused_schools text[], waiting bigint, scheduled bigint, processing bigint,
    expired_leases bigint, workers bigint, oldest_waiting_s double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        q.paused,
        q.concurrency,
        array(select s.school from automatch.paused_schools as s order by s.school),
        open.waiting, open.scheduled, open.processing, open.expired, open.workers, open.oldest_waiting_s
    from automatch.queue_settings as q
    -- Through partial indexes: finished jobs are not read.
    cross join (
        select
            count(*) filter (where j.status = 'pending' and not j.scheduled) as waiting,
            count(*) filter (where j.scheduled) as scheduled,
            count(*) filter (where j.status = 'processing') as processing,
            count(*) filter (where j.lease_expires_at < automatch.now()) as expired,
            count(distinct j.worker_id) as workers,
            extract(epoch from automatch.now() - min(j.created_at) filter (
                where j.status = 'pending' and not j.scheduled
            ))::double precision as oldest_waiting_s
        from public.match_jobs as j
        where j.completed_at is null
    ) as open
$$;
comment on function public.get_match_queue() is
    'How many jobs wait and are in progress, and what is paused. Times in seconds.';

create function public.list_match_jobs(
    p_status text default null, p_school text default null, p_code text default null,
    p_job_ids uuid[] default null, p_limit integer default 50, p_user_id uuid default null,
    p_before timestamptz default null
)
returns table (
    id uuid, face_id uuid, user_id uuid, school text, status text, priority smallint, attempts smallint,
    max_attempts smallint, error_code text, error_message text, created_at timestamptz, run_at timestamptz,
    started_at timestamptz, completed_at timestamptz, scheduled boolean, isolated boolean, worker_id uuid,
    lease_expires_at timestamptz, threshold double precision, match_count integer, timings jsonb, reached bigint,
    seen_later bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with chosen as materialized (
        select j.*
        from public.match_jobs as j
        where (p_status is null or j.status = p_status)
          and (p_school is null or j.school = p_school)
          and (p_code is null or j.error_code = p_code)
          and (p_job_ids is null or j.id = any (p_job_ids))
          and (p_user_id is null or j.user_id = p_user_id)
          and (p_before is null or j.created_at < p_before)
        order by j.created_at desc, j.id
        limit least(greatest(p_limit, 1), 1000)
    )
    select
        j.id, j.face_id, j.user_id, j.school, j.status, j.priority, j.attempts, j.max_attempts, j.error_code,
        j.error_message, j.created_at, nullif(j.run_at, 'infinity'), j.started_at, j.completed_at, j.scheduled,
        j.isolated, j.worker_id, j.lease_expires_at, j.threshold, j.match_count,
        j.timings || coalesce(d.timings, '{}'), coalesce(d.reached, 0), coalesce(d.seen_later, 0)
    from chosen as j
    left join automatch.delivery_times(array(select c.id from chosen as c)) as d on d.job_id = j.id
    order by j.created_at desc, j.id
$$;
comment on function public.list_match_jobs(text, text, text, uuid[], integer, uuid, timestamptz) is
    'Jobs, newest first, and when their matches reached open pages; p_before those uploaded earlier than that. run_at is '
    'null while the school is paused.';

create function public.get_match_job_stats()
returns table (status text, count bigint, oldest_created_at timestamptz, avg_seconds double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select j.status, count(*), min(j.created_at),
        avg(extract(epoch from j.completed_at - j.created_at))::double precision
    from public.match_jobs as j
    group by j.status
    order by j.status
$$;
comment on function public.get_match_job_stats() is 'How many jobs are in each status, and how long they took.';

-- 37_worker_faults.sql

-- What keeps a worker from working although the database answers: for operators to see.

create table automatch.worker_faults (
    worker_id uuid primary key,
    message text not null,
    since timestamptz not null default automatch.now(),
    seen_at timestamptz not null default automatch.now()
);
comment on table automatch.worker_faults is
    'Workers that have paused because of a fault of the installation, such as a function that is missing.';

create function public.report_worker_fault(p_worker_id uuid, p_message text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- A worker that was ended while it paused no longer reports.
    delete from automatch.worker_faults as f
    where f.seen_at < automatch.now() - interval '10 minutes' or (p_message is null and f.worker_id = p_worker_id);
    if p_message is not null then
        insert into automatch.worker_faults as f (worker_id, message)
        values (p_worker_id, p_message)
        on conflict (worker_id) do update set message = excluded.message, seen_at = automatch.now();
    end if;
end
$$;
comment on function public.report_worker_fault(uuid, text) is
    'Say what keeps a worker from working; null says that it works again.';

-- 38_maintenance_leader.sql

-- Which worker does the maintenance. Two that do it at once harm nothing; all of them would be wasteful.

create table automatch.maintenance_leader (
    singleton boolean primary key default true check (singleton),
    worker_id uuid not null,
    leads_until timestamptz not null
);
comment on table automatch.maintenance_leader is 'The worker that does the maintenance, until it no longer says so.';

create function public.lead_maintenance(p_worker_id uuid, p_for interval)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from automatch.maintenance_leader as l
        where l.worker_id <> p_worker_id and l.leads_until > automatch.now()
    ) then
        return false;
    end if;
    insert into automatch.maintenance_leader as l (worker_id, leads_until)
    values (p_worker_id, automatch.now() + p_for)
    on conflict (singleton) do update set worker_id = p_worker_id, leads_until = excluded.leads_until
        where l.worker_id = p_worker_id or l.leads_until <= automatch.now();
    return found;
end
$$;
comment on function public.lead_maintenance(uuid, interval) is
    'Lead, or go on leading, for that long; false while another worker leads. With 0 a leader steps down.';

-- 39_idle_workers.sql

-- What workers without work look for: one statement for all that they would else ask in several.

create function public.look_around()
returns table (
    due_s double precision, has_leader boolean, schema_version integer, oldest_program integer, preparing_model text
)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select
        public.seconds_to_next_match_job(),
        exists (select from automatch.maintenance_leader as l where l.leads_until > automatch.now()),
        s.version, s.oldest_program, public.preparing_model()
    from public.schema_version() as s
$$;
comment on function public.look_around() is
    'When the next job can be claimed, whether a worker leads the maintenance, the schema, and the model with which '
    'stored photos are embedded.';

create function public.await_turn(p_wait interval)
returns table (
    is_registered boolean, due_s double precision, has_leader boolean, schema_version integer, oldest_program integer,
    preparing_model text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_registered constant boolean := public.register_idle(p_wait);
begin
    -- A statement of its own, which sees what was committed while this one waited.
    return query select v_is_registered, l.* from public.look_around() as l;
end
$$;
comment on function public.await_turn(interval) is 'register_idle(), then look_around().';

-- 39_retention.sql

-- Rows that are kept for a time only: sessions, tokens, mails, views of photos, and records of what was done.

create function public.delete_expired_rows(
    p_sessions interval, p_audit_log interval, p_cron_runs interval, p_net_responses interval, p_mails interval,
    p_photo_views interval, p_cases interval, p_case_texts interval
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rule record;
    v_count integer;
    v_total integer := 0;
begin
    for v_rule in
        select r.relation, r.written, automatch.now() - r.age as until,
            case r.relation
                when 'automatch.audit_log' then 'automatch.is_audit_over(object_id, $1)'
                when 'automatch.push_subscriptions'
                    then '(session_id is null and renewed_at < $1 - interval ''30 days'''
                        ' or not public.is_session_live(jsonb_build_object(''sub'', profile_id, ''session_id'', session_id)))'
                else 'true'
            end as condition
        from (values
            ('automatch.audit_log', 'recorded_at', p_audit_log),
            ('auth.sessions', 'refreshed_at', p_sessions),
            -- Used ones are kept to detect theft.
            ('auth.refresh_tokens', 'used_at', '7 days'),
            ('auth.one_time_tokens', 'expires_at', '0 seconds'),
            ('auth.email_changes', 'expires_at', '0 seconds'),
            ('auth.users', 'confirm_by', '0 seconds'),
            ('automatch.mails', 'requested_at', p_mails),
            ('automatch.photo_searches', 'counted_at', '1 day'),
            ('automatch.departures', 'left_at', '1 year'),
            ('automatch.history', 'starts_at', '30 days'),
            ('automatch.upload_refusals', 'starts_at', '30 days'),
            ('automatch.bans', 'ends_at', '0 seconds'),
            ('automatch.backup_runs', 'started_at', '1 year'),
            ('automatch.photo_views', 'first_at', p_photo_views),
            ('automatch.push_subscriptions', 'renewed_at', '0 seconds'),
            ('automatch.cases', 'unproven_until', '0 seconds'),
            ('automatch.cases', 'decided_at', p_cases),
            ('automatch.case_messages', 'closed_at', p_case_texts),
            ('automatch.case_contacts', 'closed_at', p_case_texts),
            ('cron.job_run_details', 'start_time', p_cron_runs),
            ('net._http_response', 'created', p_net_responses)
        ) as r (relation, written, age)
        join pg_class as c on c.oid = to_regclass(r.relation)
        -- What Supabase or an extension keeps is not ours to delete.
        where c.relowner = current_user::regrole
          and not exists (
              select from pg_depend as d
              where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
          )
    loop
        execute format(
            'delete from %1$s where ctid = any (array('
            'select ctid from %1$s where %2$I < $1 and %3$s order by %2$I limit 2000 for update skip locked))',
            v_rule.relation, v_rule.written, v_rule.condition
        ) using v_rule.until;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
    end loop;
    return v_total;
end
$$;
comment on function public.delete_expired_rows(
    interval, interval, interval, interval, interval, interval, interval, interval
) is
    'Delete what is older, at most 2,000 rows of each table; the number of rows. Call again until it is 0.';

create function public.delete_old_matches(p_age interval, p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids constant uuid[] := array(
        select m.id from public.matches as m
        where m.created_at < automatch.now() - p_age
        order by m.created_at
        limit p_limit
    );
begin
    perform automatch.lock_feeds(array(
        select unnest(array[m.profile_a_id, m.profile_b_id]) from public.matches as m where m.id = any (v_ids)
    ));
    delete from public.matches as m where m.id = any (v_ids);
    return cardinality(v_ids);
end
$$;
comment on function public.delete_old_matches(interval, integer) is
    'Delete some matches that are older, from both feeds. How many; call again until it is 0.';

-- 40_search.sql

-- From an embedding to the faces that are most like it.
create table automatch.search_settings (
    only_row boolean primary key default true,
    audit_one_in integer not null default 1000,
    index_from integer not null default 50000,
    index_until integer not null default 35000,
    most_indexes integer not null default 20,
    m integer not null default 24,
    ef_construction integer not null default 128,
    ef_search integer not null default 400,
    constraint there_is_one_row check (only_row),
    constraint audit_one_in_is_positive check (audit_one_in > 0),
    constraint index_goes_below_where_it_comes check (index_until between 1 and index_from),
    constraint most_indexes_is_not_negative check (most_indexes >= 0),
    constraint m_is_2_to_100 check (m between 2 and 100),
    constraint ef_construction_is_2_m_to_1000 check (ef_construction between 2 * m and 1000),
    constraint ef_search_is_100_to_1000 check (ef_search between 100 and 1000)
);
comment on table automatch.search_settings is 'What `automatch tune` changes.';
comment on column automatch.search_settings.index_from is
    'A group of so many faces gets an index of its own; one that shrinks below index_until loses it.';
comment on column automatch.search_settings.ef_search is 'How many faces a search of such an index collects.';
insert into automatch.search_settings default values;

create function automatch.half_error()
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$ select 0.001::double precision $$;
comment on function automatch.half_error() is
    'What a cosine of unit vectors in half precision is off by, at most: 2^-11 for each of the two.';

create function automatch.rank_faces(
    p_model text, p_queries vector[], p_bounds double precision[], p_count integer, p_numbers integer[],
    p_face_ids uuid[], p_profile_ids uuid[]
)
returns table (number integer, face_id uuid, profile_id uuid, cosine double precision)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- test_search_scale.py: otherwise Postgres may read all of face_embeddings to rank 30 faces, or compare each of them
-- with each candidate.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_hashjoin = on
set enable_indexscan = on
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    return query
    -- benchmarks/search: looked up together, faces cost a third of what they cost one by one.
    with stored as materialized (
        select e.face_id, e.embedding
        from public.face_embeddings as e
        where e.model = p_model and e.face_id = any (p_face_ids)
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(
            p_model, array(select e.face_id from stored as e where e.embedding is null)
        ) as s
        where exists (select from stored as e where e.embedding is null)
    ),
    exact as materialized (
        select c.number, c.face_id, c.profile_id, -(e.embedding <#> p_queries[c.number]) as cosine
        from unnest(p_numbers, p_face_ids, p_profile_ids) as c (number, face_id, profile_id)
        join (
            select s.* from stored as s where s.embedding is not null union all select s.* from sharded as s
        ) as e on e.face_id = c.face_id
    ),
    best as (
        select distinct on (e.number, e.profile_id) e.*
        from exact as e
        where e.cosine >= p_bounds[e.number]
        order by e.number, e.profile_id, e.cosine desc, e.face_id
    ),
    placed as (
        select b.*, row_number() over (partition by b.number order by b.cosine desc, b.face_id) as place
        from best as b
    )
    select p.number, p.face_id, p.profile_id, p.cosine
    from placed as p
    where p.place <= p_count
    order by p.number, p.place;
end
$$;
comment on function automatch.rank_faces(text, vector[], double precision[], integer, integer[], uuid[], uuid[]) is
    'The ranking of every search. Candidate n is a face and its person, for query p_numbers[n]. Of each query the '
    'best p_count people whose cosine is not below its bound, best first, one best face each, in full precision.';

create function automatch.nth_distance(p_profile_ids uuid[], p_distances double precision[], p_count integer)
returns double precision language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(p_profile_ids) < p_count then
        return null;
    end if;
    return (
        select min(n.distance)
        from unnest(p_profile_ids, p_distances) as n (profile_id, distance)
        group by n.profile_id
        order by 1
        offset p_count - 1
        limit 1
    );
end
$$;
comment on function automatch.nth_distance(uuid[], double precision[], integer) is
    'The distance of the nearest face of the p_count-th person; null when there are fewer people.';

create function automatch.read_near_faces(
    p_query halfvec, p_model text, p_school text, p_gender text, p_limit double precision, p_hidden uuid[],
    out face_ids uuid[], out profile_ids uuid[], out distances double precision[]
)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
-- test_search_scale.py: otherwise a partition in which one school is large would be read whole; or a group in the
-- order of its key, row by row, where it is a small part of a large partition: six times the pages.
set enable_seqscan = off
set enable_indexscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    select array_agg(n.face_id), array_agg(n.profile_id), array_agg(n.distance)
    into face_ids, profile_ids, distances
    from (
        select i.face_id, i.profile_id, i.embedding <#> p_query as distance
        from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
          and (i.embedding <#> p_query) <= p_limit
          and not (i.profile_id = any (p_hidden))
    ) as n;
end
$$;
comment on function automatch.read_near_faces(halfvec, text, text, text, double precision, uuid[]) is
    'The faces of a group within a distance of the query, of nobody hidden. Reads the whole group.';

create function automatch.find_in_shard(
    p_query vector, p_half halfvec, p_model text, p_school text, p_gender text, p_limit double precision,
    p_bound double precision, p_hidden uuid[], p_count integer,
    out face_ids uuid[], out profile_ids uuid[], out cosines double precision[], out is_complete boolean
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    -- A machine of the cluster has no functions of ours.
    v_error constant double precision := 2 * automatch.half_error();
begin
    with near as materialized (
        select i.face_id, i.profile_id, i.embedding <#> p_half as distance
        from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
          and (i.embedding <#> p_half) <= p_limit
          and not (i.profile_id = any (p_hidden))
    ),
    chosen as materialized (
        select n.face_id, n.profile_id from near as n
        where n.distance <= v_error + (
            select max(p.distance)
            from (select min(n.distance) as distance from near as n group by n.profile_id order by 1 limit p_count) as p
        )
    ),
    stored as materialized (
        select s.face_id, s.embedding from automatch.sharded_embeddings as s
        where s.model = p_model and s.school = p_school and s.face_id = any (array(select c.face_id from chosen as c))
    ),
    exact as materialized (
        select c.face_id, c.profile_id, -(s.embedding <#> p_query) as cosine
        from chosen as c
        left join stored as s on s.face_id = c.face_id
    ),
    best as (
        select distinct on (e.profile_id) e.* from exact as e
        where e.cosine >= p_bound
        order by e.profile_id, e.cosine desc, e.face_id
    ),
    placed as (select b.* from best as b order by b.cosine desc, b.face_id limit p_count)
    select array_agg(p.face_id order by p.cosine desc, p.face_id),
        array_agg(p.profile_id order by p.cosine desc, p.face_id),
        array_agg(p.cosine order by p.cosine desc, p.face_id),
        not exists (select from exact as e where e.cosine is null)
    into face_ids, profile_ids, cosines, is_complete
    from placed as p;
end
$$;
comment on function automatch.find_in_shard(
    vector, halfvec, text, text, text, double precision, double precision, uuid[], integer
) is
    'read_near_faces() and rank_faces() in one statement for one machine; not complete while embeddings of the group '
    'are elsewhere.';

create function automatch.find_candidates(
    p_embedding vector, p_school text, p_gender text, p_excluded_profile_ids uuid[],
    p_threshold double precision, p_count integer, p_model text default null
)
returns table (face_id uuid, profile_id uuid, similarity double precision)
language plpgsql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/queue: planning each search anew triples what a search of a small group costs (33 to 100 us).
-- set_search_plans() takes it away where Citus could not plan.
set plan_cache_mode = force_generic_plan
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_query vector := l2_normalize(p_embedding);
    -- Cast once: inside the statement it would be cast for every row.
    v_half halfvec := v_query::halfvec;
    v_model public.embedding_models;
    v_bound double precision;
    v_limit double precision;
    v_cut double precision;
    v_is_complete boolean := false;
    v_near record;
    v_found record;
begin
    if vector_norm(v_query) = 0 then
        return;
    end if;
    select m.* into v_model from public.embedding_models as m where m.id = p_model or p_model is null and m.active;
    v_bound := automatch.cosine_bound(p_threshold, v_model.midpoint, v_model.width);
    -- With twice the error of half precision nobody over the threshold is lost.
    v_limit := 2 * automatch.half_error() - v_bound;

    if exists (
        select from automatch.group_indexes as g
        where g.model = v_model.id and g.school = p_school and g.gender = p_gender and g.ready
    ) then
        select array_agg(n.face_id) filter (where n.is_near) as face_ids,
            array_agg(n.profile_id) filter (where n.is_near) as profile_ids,
            array_agg(n.distance) filter (where n.is_near) as distances, max(n.distance) as last
        into v_near
        from (
            select f.*, f.distance <= v_limit and not (f.profile_id = any (p_excluded_profile_ids)) as is_near
            from automatch.read_group_index(v_half, v_model.id, v_model.dimensions, p_school, p_gender) as f
        ) as n;
        v_cut := automatch.nth_distance(v_near.profile_ids, v_near.distances, p_count) + 2 * automatch.half_error();
        -- Either everybody over the threshold was handed out, or all that could be among the best.
        v_is_complete := coalesce(v_near.last > v_limit, false) or coalesce(v_cut <= v_near.last, false);
    end if;
    -- So set_search_plans() left it, because the faces lie in shards.
    if not v_is_complete and current_setting('plan_cache_mode') = 'auto' then
        select f.* into v_found from automatch.find_in_shard(
            v_query, v_half, v_model.id, p_school, p_gender, v_limit, v_bound, p_excluded_profile_ids, p_count
        ) as f;
        if v_found.is_complete then
            return query
                select f.face_id, f.profile_id, automatch.similarity(f.cosine, v_model.midpoint, v_model.width)
                from unnest(v_found.face_ids, v_found.profile_ids, v_found.cosines) as f (face_id, profile_id, cosine);
            return;
        end if;
    end if;
    if not v_is_complete then
        select n.face_ids, n.profile_ids, n.distances, null::double precision as last into v_near
        from automatch.read_near_faces(v_half, v_model.id, p_school, p_gender, v_limit, p_excluded_profile_ids) as n;
        v_cut := automatch.nth_distance(v_near.profile_ids, v_near.distances, p_count) + 2 * automatch.half_error();
    end if;
    if v_near.face_ids is null then
        return;
    end if;
    -- What makes it exact: whoever is among the best p_count is, in half precision, at most twice its error behind
    -- the last of the best p_count there. So a cloud of near-ties is ranked whole.
    return query
        select r.face_id, r.profile_id, automatch.similarity(r.cosine, v_model.midpoint, v_model.width)
        from (
            select array_agg(1) as numbers, array_agg(n.face_id) as face_ids, array_agg(n.profile_id) as profile_ids
            from unnest(v_near.face_ids, v_near.profile_ids, v_near.distances) as n (face_id, profile_id, distance)
            where n.distance <= v_cut or v_cut is null
        ) as s
        cross join lateral automatch.rank_faces(
            v_model.id, array[v_query], array[v_bound], p_count, s.numbers, s.face_ids, s.profile_ids
        ) as r;
end
$$;
comment on function automatch.find_candidates(vector, text, text, uuid[], double precision, integer, text) is
    'The people of one school and gender most like the query, best first, one face each; by the model in use, '
    'unless another is named.';

create function public.find_similar_faces_filtered(
    query_embedding vector,
    user_school text,
    user_gender text,
    exclude_profile_id uuid default null,
    match_threshold double precision default 0.5,
    match_count integer default 20
)
returns table (
    face_id uuid, profile_id uuid, similarity double precision, image_path text, profile_name text,
    profile_gender text, profile_school text
)
language sql stable security definer parallel safe set search_path = pg_catalog, public, extensions, pg_temp
-- test_search.py: otherwise two tables are read whole to name 20 people.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select c.face_id, c.profile_id, c.similarity, f.image_path, p.name, p.gender, p.school
    from automatch.find_candidates(
        query_embedding,
        user_school,
        case user_gender when 'male' then 'female' when 'female' then 'male' end,
        array_remove(array[exclude_profile_id], null),
        match_threshold,
        match_count
    ) as c
    join public.faces as f on f.id = c.face_id
    join public.profiles as p on p.id = c.profile_id
    order by c.similarity desc, c.face_id
$$;
comment on function public.find_similar_faces_filtered(vector, text, text, uuid, double precision, integer) is
    'The people of user_school and of the gender opposite to user_gender who look most alike, '
    'best first, at most one face a person, similarity on the 0..1 scale of the active model.';

-- 41_search_batch.sql

-- Searching for many jobs of one group at once, in the worker.

create function public.read_search_jobs(p_job_ids uuid[], p_tokens bigint[])
returns table (
    job_id uuid, model text, school text, gender text, embedding vector, bound double precision,
    match_count integer, hidden uuid[]
)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select
        j.id, m.id, p.school, case p.gender when 'male' then 'female' else 'male' end,
        coalesce(f.embedding, automatch.read_sharded_embedding(m.id, j.face_id)),
        automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width), s.match_count,
        array(select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p.id)
    from unnest(p_job_ids, p_tokens) as mine (id, token)
    join public.match_jobs as j
        on j.id = mine.id and j.lease_token = mine.token and j.status = 'processing'
    join public.embedding_models as m on m.active
    join public.face_embeddings as f on f.model = m.id and f.face_id = j.face_id
    join public.profiles as p on p.id = j.user_id
    cross join public.match_settings as s
    where p.school is not null and p.gender is not null and p.admitted
      and not exists (select from automatch.held_faces as h where h.face_id = j.face_id)
$$;
comment on function public.read_search_jobs(uuid[], bigint[]) is
    'What each job looks for: the group (model, school, gender searched), the embedding, the least cosine, and whom '
    'its person does not see. Jobs that cannot be searched for, or are not held, are missing.';

create function public.read_search_group(
    p_model text, p_school text, p_gender text, p_snapshot_xmin xid8 default null, p_max_faces bigint default null,
    out known bigint, out snapshot_xmin xid8, out face_ids bytea, out profile_ids bytea, out embeddings bytea,
    out settled bytea
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/search: a quarter less for each search of a batch, whose plan never changes.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    -- Every transaction below its snapshot's xmin had ended at the reader's last call. So a row of such a
    -- transaction that exists now existed then: when there are as many as the reader has, they are the same
    -- ones, and all others are returned.
    v_known xid8 := coalesce(p_snapshot_xmin, '0');
    -- Rows of a restored database may name transactions that this server has not reached. Those of another machine
    -- may be newer than the snapshot.
    v_next xid8 := case when automatch.is_distributed() then '18446744073709551615'
                        else pg_snapshot_xmax(pg_current_snapshot()) end;
    v_own xid8 := pg_current_xact_id_if_assigned();
begin
    if p_snapshot_xmin is null and p_max_faces < (
        select count(*)
        from (
            select from public.face_index as g
            where g.model = p_model and g.school = p_school and g.gender = p_gender
            limit p_max_faces + 1
        ) as counted
    ) then
        return;
    end if;
    snapshot_xmin := automatch.settled_before();
    select
        count(*) filter (where i.version < v_known),
        coalesce(string_agg(uuid_send(i.face_id), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(uuid_send(i.profile_id), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(halfvec_send(i.embedding), '') filter (where i.version >= v_known), ''),
        coalesce(string_agg(
            case when i.version < snapshot_xmin then '\x01'::bytea else '\x00'::bytea end, ''
        ) filter (where i.version >= v_known), '')
    into known, face_ids, profile_ids, embeddings, settled
    from (
        select g.face_id, g.profile_id, g.embedding,
            case when g.version < v_next or g.version = v_own then g.version else '0' end as version
        from public.face_index as g
        where g.model = p_model and g.school = p_school and g.gender = p_gender
        offset 0
    ) as i;
end
$$;
comment on function public.read_search_group(text, text, text, xid8, bigint) is
    'The faces of a group that changed since the snapshot_xmin that an earlier call returned, joined in binary '
    'form; known: how many others there are. When that is not what the reader has, somebody left: read again '
    'without a snapshot_xmin, which returns all; or nothing but nulls of a group of more than p_max_faces faces.';

create function automatch.find_in_groups(
    p_model text, p_queries vector[], p_bounds double precision[], p_schools text[], p_genders text[],
    p_profile_ids uuid[], p_count integer
)
returns table (number integer, face_id uuid, profile_id uuid, cosine double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As in read_near_faces().
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_error constant double precision := 2 * automatch.half_error();
    v_near record;
begin
    with asked as materialized (
        -- Cast once: inside the lateral join it would be cast for every row.
        select a.number::integer as number, l2_normalize(a.query)::halfvec as query, a.school, a.gender,
            v_error - a.bound as most, array(
                select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = a.profile_id
            ) || a.profile_id as hidden
        from unnest(p_queries, p_bounds, p_schools, p_genders, p_profile_ids)
            with ordinality as a (query, bound, school, gender, profile_id, number)
    ),
    near as (
        select a.number, g.face_id, g.profile_id, g.distance
        from asked as a
        -- "offset" keeps it from being planned, while groups are small, as one join that reads all of them.
        cross join lateral (
            select i.face_id, i.profile_id, i.embedding <#> a.query as distance
            from public.face_index as i
            where i.model = p_model and i.school = a.school and i.gender = a.gender
              and (i.embedding <#> a.query) <= a.most
              and not (i.profile_id = any (a.hidden))
            offset 0
        ) as g
    ),
    people as (
        select n.*, min(n.distance) over (partition by n.number, n.profile_id) as nearest from near as n
    ),
    placed as (
        select p.*, dense_rank() over (partition by p.number order by p.nearest, p.profile_id) as place from people as p
    ),
    -- nth_distance() of each query.
    cut as (
        select p.*, v_error + max(p.nearest) filter (where p.place = p_count) over (partition by p.number) as most
        from placed as p
    )
    select array_agg(c.number) as numbers, array_agg(c.face_id) as face_ids, array_agg(c.profile_id) as profile_ids
    into v_near
    from cut as c
    where c.most is null or c.distance <= c.most;
    if v_near.numbers is null then
        return;
    end if;
    return query select r.* from automatch.rank_faces(
        p_model, array(select l2_normalize(a.query) from unnest(p_queries) with ordinality as a (query, number) order by a.number),
        p_bounds, p_count, v_near.numbers, v_near.face_ids, v_near.profile_ids
    ) as r;
end
$$;
comment on function automatch.find_in_groups(
    text, vector[], double precision[], text[], text[], uuid[], integer
) is
    'find_candidates() for many people at once, each in a group of their own, in groups without an index. Query n is of '
    'p_profile_ids[n].';

create function automatch.place_candidates(
    p_starts integer[], p_ends integer[], p_listed uuid[], p_face_ids uuid[], p_profile_ids uuid[],
    p_numbers integer[], p_hidden uuid[],
    out numbers integer[], out face_ids uuid[], out profile_ids uuid[]
)
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp
-- Of arrays alone: loops would compare each with each.
set plan_cache_mode = force_generic_plan
set enable_nestloop = off
set enable_hashjoin = on
as $$
begin
    with listed as materialized (
        select s.number::integer as number, l.face_id
        from unnest(p_starts, p_ends) with ordinality as s (starts, ends, number)
        cross join lateral unnest(p_listed[s.starts:s.ends]) as l (face_id)
    )
    select array_agg(l.number), array_agg(f.face_id), array_agg(f.profile_id)
    into numbers, face_ids, profile_ids
    from listed as l
    join unnest(p_face_ids, p_profile_ids) as f (face_id, profile_id) on f.face_id = l.face_id
    where (l.number, f.profile_id) not in (
        select h.number, h.profile_id from unnest(p_numbers, p_hidden) as h (number, profile_id)
    );
end
$$;
comment on function automatch.place_candidates(integer[], integer[], uuid[], uuid[], uuid[], integer[], uuid[]) is
    'What rank_faces() takes: of each query the listed faces, with their people, of the faces that are there; without the '
    'people who are hidden from that query.';

create function automatch.rank_candidates(
    p_school text, p_gender text, p_job_ids uuid[], p_starts integer[], p_ends integer[], p_face_ids uuid[]
)
returns automatch.found_face[]
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- benchmarks/search: a quarter less for each search of a batch, whose plan never changes.
set plan_cache_mode = force_generic_plan
-- Through the primary keys: planned with old statistics, a join would read whole groups.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_settings public.match_settings;
    v_model public.embedding_models;
    v_asking record;
    v_hidden record;
    v_faces record;
    v_found automatch.found_face[];
begin
    select m.* into v_model from public.embedding_models as m where m.active;
    select s.* into v_settings from public.match_settings as s;
    select
        array_agg(
            -- Normalized once more, as find_candidates() does, or similarities would differ by their rounding.
            coalesce(e.embedding, l2_normalize(automatch.read_sharded_embedding(e.model, e.face_id)))
            order by asked.number
        ) as queries,
        array_agg(
            automatch.cosine_bound(coalesce(j.threshold, v_settings.threshold), v_model.midpoint, v_model.width)
            order by asked.number
        ) as bounds
    into v_asking
    from unnest(p_job_ids) with ordinality as asked (id, number)
    -- A deleted job keeps its number.
    left join public.match_jobs as j on j.id = asked.id
    left join public.face_embeddings as e on e.model = v_model.id and e.face_id = j.face_id;
    select array_agg(asked.number::integer) as numbers, array_agg(h.profile_id) as profile_ids
    into v_hidden
    from unnest(p_job_ids) with ordinality as asked (id, number)
    join public.match_jobs as j on j.id = asked.id
    cross join lateral (
        select j.user_id as profile_id
        union all
        select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = j.user_id
    ) as h;
    -- Faces that have left the group since are not found.
    select array_agg(i.face_id) as face_ids, array_agg(i.profile_id) as profile_ids
    into v_faces
    from public.face_index as i
    where i.model = v_model.id and i.school = p_school and i.gender = p_gender
      and i.face_id = any (array(
          select unnest(p_face_ids[s.starts:s.ends]) from unnest(p_starts, p_ends) as s (starts, ends)
      ));
    select array_agg(row(
        p_job_ids[r.number], r.face_id, r.profile_id, automatch.similarity(r.cosine, v_model.midpoint, v_model.width)
    )::automatch.found_face)
    into v_found
    from automatch.place_candidates(
        p_starts, p_ends, p_face_ids, v_faces.face_ids, v_faces.profile_ids, v_hidden.numbers, v_hidden.profile_ids
    ) as c
    cross join lateral automatch.rank_faces(
        v_model.id, v_asking.queries, v_asking.bounds, v_settings.match_count, c.numbers, c.face_ids, c.profile_ids
    ) as r;
    return coalesce(v_found, '{}');
end
$$;
comment on function automatch.rank_candidates(text, text, uuid[], integer[], integer[], uuid[]) is
    'The answers of find_candidates() for jobs that search one group, when those are on the candidates: of '
    'a job, the faces of p_face_ids from its start to its end.';

-- 42_large_groups.sql

-- Groups that are so large that they are searched through an index of their own.
create table automatch.group_indexes (
    model text not null references public.embedding_models (id),
    school text not null,
    gender text not null,
    index_name text not null unique,
    ready boolean not null default false,
    m integer not null,
    ef_construction integer not null,
    built_at timestamptz,
    primary key (model, school, gender)
);
comment on table automatch.group_indexes is
    'Groups that are searched through an index of their own; one that is not ready is not used.';

create function automatch.find_group_partition(p_model text, p_school text, p_gender text)
returns regclass language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if automatch.is_distributed() then
        -- Citus makes an index in every shard; all but that of the school stay empty.
        return format('public.%I', 'face_index_' || p_model);
    end if;
    return (
        select i.tableoid from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender limit 1
    );
end
$$;
comment on function automatch.find_group_partition(text, text, text) is 'The table that the index of a group is made on.';

create function automatch.read_group_index(
    p_query halfvec, p_model text, p_dimensions integer, p_school text, p_gender text
)
returns table (face_id uuid, profile_id uuid, distance double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- The index has to be used: any other plan would be slower than the search without an index. Settings here also
-- make those below end with the function.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    v_ef integer;
begin
    -- A linter cannot tell that what is set here ends with the function, or what the statement below returns:
    -- @plpgsql_check_options: other_warnings = false, extra_warnings = false
    select s.ef_search into v_ef from automatch.search_settings as s;
    perform set_config('hnsw.ef_search', v_ef::text, true), set_config('hnsw.iterative_scan', 'off', true);
    -- Literals, or the planner cannot tell that the index is that of this group. No threshold here: it would only
    -- take rows away from those the index hands out.
    return query execute format(
        'select i.face_id, i.profile_id, i.embedding::halfvec(%1$s) <#> $1
        from public.face_index as i
        where i.model = %2$L and i.school = %3$L and i.gender = %4$L
        order by i.embedding::halfvec(%1$s) <#> $1
        limit %5$s', p_dimensions, p_model, p_school, p_gender, v_ef
    ) using p_query;
end
$$;
comment on function automatch.read_group_index(halfvec, text, integer, text, text) is
    'The faces nearest to the query that the index of a large group hands out.';

create function automatch.list_search_groups(p_limit integer)
returns table (
    school text, gender text, faces bigint, index_name text, index_ready boolean, index_bytes bigint, audits bigint,
    recall double precision
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
    v_is_distributed constant boolean := automatch.is_distributed();
begin
    return query
        with groups as materialized (
            select i.school, i.gender, count(*) as faces
            from public.face_index as i
            where i.model = v_model
            group by i.school, i.gender
            order by count(*) desc, i.school, i.gender
            limit p_limit
        )
        select g.school, g.gender, g.faces, x.index_name, x.ready,
            -- What lies on another machine has no size here.
            case when not v_is_distributed then pg_relation_size(to_regclass('public.' || quote_ident(x.index_name))) end,
            coalesce(a.audits, 0), a.recall
        from groups as g
        left join automatch.group_indexes as x on x.model = v_model and x.school = g.school and x.gender = g.gender
        left join lateral (
            select count(*) as audits, sum(s.found)::double precision / nullif(sum(s.expected), 0) as recall
            from automatch.search_audits as s
            where s.school = g.school and s.gender = g.gender
        ) as a on true
        order by g.faces desc, g.school, g.gender;
end
$$;
comment on function automatch.list_search_groups(integer) is 'The largest groups, how they are searched, and their recall.';

-- 43_explain.sql

-- What people can read about their own searches.

create function automatch.roughly(p_count bigint)
returns integer language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- Rounded down to two digits and to tens. From exact counts one could learn that a certain person paused,
    -- joined or left.
    select case
        when p_count < 100 then p_count / 10 * 10
        else p_count / power(10, length(p_count::text) - 2)::bigint
             * power(10, length(p_count::text) - 2)::bigint
    end::integer
$$;
comment on function automatch.roughly(bigint) is
    'A count that may be shown: rounded down to two digits and to tens; fewer than 10 is 0.';

create function public.match_pool()
returns table (school integer, other_gender integer, findable integer, hidden integer, threshold double precision)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_me public.profiles;
    v_model constant text := public.active_embedding_model();
    v_wanted text;
    v_hidden uuid[];
    v_findable bigint := 0;
begin
    select p.* into v_me from public.profiles as p where p.id = automatch.uid();
    if not found then
        return;
    end if;
    if v_me.admitted then
        v_wanted := case v_me.gender when 'male' then 'female' when 'female' then 'male' end;
        -- People who blocked the caller count as not findable, like those who paused or have no photo: nobody
        -- learns that they were blocked.
        v_hidden := array(select automatch.excluded_profile_ids(v_me.id));
        select count(distinct i.profile_id) into v_findable
        from public.face_index as i
        where i.model = v_model and i.school = v_me.school and i.gender = v_wanted and i.profile_id <> all (v_hidden);
    end if;
    return query
        select
            automatch.roughly((
                select count(*) from public.profiles as p
                where v_me.admitted and p.school = v_me.school and p.profile_type = 'user'
            )),
            automatch.roughly((
                select count(*) from public.profiles as p
                where v_me.admitted and p.school = v_me.school and p.profile_type = 'user' and p.gender <> v_me.gender
            )),
            automatch.roughly(v_findable),
            (
                select count(*)::integer from (
                    select b.blocked_profile_id from public.profile_blocks as b where b.profile_id = v_me.id
                    union
                    select d.other_profile_id from public.match_dismissals as d where d.profile_id = v_me.id
                ) as own
            ),
            (select s.threshold from public.match_settings as s);
end
$$;
comment on function public.match_pool() is
    'Among how many people the caller is searched for, roughly: of their school, of the opposite gender, '
    'findable for them; exactly: whom they hid themselves, and the threshold.';

create function public.read_match_pools(p_claims jsonb[])
returns table (
    reader integer, school integer, other_gender integer, findable integer, hidden integer, threshold double precision
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, p.* from public.match_pool() as p;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_match_pools(jsonb[]) is
    'match_pool() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.explain_match_job(p_job_id uuid)
returns table (
    school integer, other_gender integer, findable integer, hidden integer, threshold double precision,
    over_threshold integer
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- As the search: the rows of one school and gender, read in place.
set jit = off
as $$
#variable_conflict use_column
declare
    v_asked record;
    v_half halfvec;
    v_hidden uuid[];
    v_count bigint;
begin
    select p.id, p.school, case p.gender when 'male' then 'female' when 'female' then 'male' end as wanted,
        f.model,
        coalesce(f.embedding, automatch.read_sharded_embedding(m.id, j.face_id)) as embedding,
        coalesce(j.threshold, s.threshold) as threshold,
        automatch.cosine_bound(coalesce(j.threshold, s.threshold), m.midpoint, m.width) as bound
    into v_asked
    from public.match_jobs as j
    join public.profiles as p on p.id = j.user_id
    join public.embedding_models as m on m.active
    join public.face_embeddings as f on f.model = m.id and f.face_id = j.face_id
    cross join public.match_settings as s
    where j.id = p_job_id and j.user_id = automatch.uid() and p.admitted;
    if not found then
        return;
    end if;
    v_half := v_asked.embedding::halfvec;
    v_hidden := array(select automatch.excluded_profile_ids(v_asked.id));
    select count(distinct i.profile_id) into v_count
    from public.face_index as i
    where i.model = v_asked.model
      and i.school = v_asked.school
      and i.gender = v_asked.wanted
      and (i.embedding <#> v_half) <= -v_asked.bound
      and i.profile_id <> all (v_hidden);
    return query
        select m.school, m.other_gender, m.findable, m.hidden, v_asked.threshold, automatch.roughly(v_count)
        from public.match_pool() as m;
end
$$;
comment on function public.explain_match_job(uuid) is
    'match_pool() with the threshold of one of the caller''s jobs and, roughly, how many people reach it now; '
    'nothing while its photo has no embedding.';

-- 44_thresholds_calibration.sql

-- The threshold of a match, searching again after a change, and calibration.
create table public.match_settings (
    only_row boolean primary key default true,
    threshold double precision not null default 0.5,
    match_count integer not null default 20,
    match_same_person boolean not null default true,
    hold_another_person boolean not null default true,
    hold_another_account text not null default 'proven',
    constraint there_is_one_row check (only_row),
    constraint hold_another_account_is_known check (hold_another_account in ('never', 'proven', 'always')),
    constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    constraint match_count_is_1_to_100 check (match_count between 1 and 100)
);
comment on column public.match_settings.match_same_person is
    'Whether accounts that look like the same person can match; see set_match_same_person().';
comment on column public.match_settings.hold_another_person is
    'Whether a photo waits for a decision that shows somebody else than the person''s first one.';
comment on column public.match_settings.hold_another_account is
    'In which schools a first photo waits for a decision that looks like the person of another account: in none, in '
    'those that ask for a proof, or in open ones too. Whoever tries Auto-Match in an open one has two accounts.';
insert into public.match_settings default values;

create table automatch.reruns (
    id integer generated always as identity primary key,
    reason text not null,
    actor text,
    requested_at timestamptz not null default automatch.now(),
    -- Photos up to this id are queued; uuids are compared as bytes.
    last_face_id uuid not null default '00000000-0000-0000-0000-000000000000',
    queued integer not null default 0,
    finished_at timestamptz
);
comment on table automatch.reruns is
    'Requests to search for all photos again. Workers queue them in small steps, so that they never fill the queue.';
create unique index reruns_one_is_open on automatch.reruns ((true)) where finished_at is null;

create function automatch.count_photos_to_rerun()
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*)::integer
    from public.embedding_models as m
    join public.face_embeddings as e on e.model = m.id
    join public.faces as f on f.id = e.face_id
    join public.profiles as p on p.id = f.profile_id
    where m.active and p.school is not null and p.gender is not null and not p.simulated
$$;

create function public.set_match_threshold(
    p_threshold double precision, p_rerun boolean default false, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before double precision;
    v_photos integer := 0;
begin
    -- NaN is greater than any number here.
    if p_threshold is null or not (p_threshold > 0 and p_threshold < 1) then
        perform automatch.raise_error('input_invalid', 'A threshold is a similarity between 0 and 1, such as 0.4.');
    end if;
    select s.threshold into v_before from public.match_settings as s for update;
    update public.match_settings set threshold = p_threshold;
    if p_rerun then
        -- An earlier request used another threshold.
        update automatch.reruns set finished_at = automatch.now() where finished_at is null;
        insert into automatch.reruns (reason, actor) values ('threshold ' || p_threshold, p_actor);
        v_photos := automatch.count_photos_to_rerun();
    end if;
    perform automatch.audit(p_actor, 'threshold', jsonb_build_object(
        'threshold', p_threshold, 'before', v_before, 'rerun', p_rerun, 'photos', v_photos
    ));
    return v_photos;
end
$$;
comment on function public.set_match_threshold(double precision, boolean, text) is
    'From which similarity on two people match, for every search from now on; with p_rerun all photos are '
    'searched for again in the background. How many that is. Matches there are stay.';

create function public.get_match_threshold()
returns table (threshold double precision, match_count integer, photos integer, rerun_left integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.threshold, s.match_count, automatch.count_photos_to_rerun(), (
        select count(*)::integer
        from automatch.reruns as r
        join public.faces as f on f.id > r.last_face_id
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        where r.finished_at is null and p.school is not null and p.gender is not null and not p.simulated
    )
    from public.match_settings as s
$$;
comment on function public.get_match_threshold() is
    'The threshold in use, what a search again for everybody would cost in jobs, and how many of one that '
    'goes on are still to be queued.';

create function public.enqueue_reruns(p_most integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rerun automatch.reruns;
    v_room integer;
    v_faces uuid[];
begin
    select r.* into v_rerun from automatch.reruns as r
    where r.finished_at is null
    for update skip locked;
    if not found then
        return 0;
    end if;
    -- Only into a short queue: a full one would turn uploads away.
    v_room := p_most - public.count_waiting_match_jobs(p_most);
    if v_room <= 0 then
        return 0;
    end if;
    v_faces := array(
        select f.id from public.faces as f where f.id > v_rerun.last_face_id order by f.id limit v_room
    );
    if cardinality(v_faces) = 0 then
        update automatch.reruns set finished_at = automatch.now() where id = v_rerun.id;
        return 0;
    end if;
    -- In the order of locks: profiles, then jobs. Shared with uploads, since only one does this at a time.
    perform from public.profiles as p
    where p.id in (select f.profile_id from public.faces as f where f.id = any (v_faces))
    order by p.id
    for share;
    update automatch.reruns
    set last_face_id = v_faces[cardinality(v_faces)], queued = queued + automatch.enqueue_searches(v_faces)
    where id = v_rerun.id;
    return cardinality(v_faces);
end
$$;
comment on function public.enqueue_reruns(integer) is
    'Queue the next photos of a search again for everybody, while fewer than p_most jobs wait in all. How '
    'many photos were looked at; 0 when there is no room or nothing left.';

create function automatch.comparable_people(p_simulated boolean)
returns table (
    profile_id uuid, face_id uuid, school text, gender text, half smallint, place bigint, women bigint, men bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
begin
    return query
        -- One photo a person: somebody with many would count as many.
        with first_photos as materialized (
            select distinct on (i.profile_id) i.profile_id, i.face_id, i.school, i.gender
            from public.face_index as i
            where i.model = v_model
            order by i.profile_id, i.face_id
        ),
        people as (
            select i.* from first_photos as i
            join public.profiles as p on p.id = i.profile_id
            where p_simulated or not p.simulated
        )
        select
            p.profile_id, p.face_id, p.school, p.gender, (uuid_hash(p.profile_id) & 1)::smallint,
            row_number() over (partition by p.school, p.gender order by p.profile_id) - 1,
            count(*) filter (where p.gender = 'female') over (partition by p.school),
            count(*) filter (where p.gender = 'male') over (partition by p.school)
        from people as p;
end
$$;
comment on function automatch.comparable_people(boolean) is
    'Who can be found, once each: with their number in their school and gender, and a half of all people.';

create function public.count_comparable_people(p_simulated boolean default false)
returns table (women bigint, men bigint, schools bigint, pairs numeric)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        count(*) filter (where p.gender = 'female'),
        count(*) filter (where p.gender = 'male'),
        count(distinct p.school),
        -- Every woman stands for the men of her school.
        coalesce(sum(p.men) filter (where p.gender = 'female'), 0)
    from automatch.comparable_people(p_simulated) as p
$$;
comment on function public.count_comparable_people(boolean) is
    'How much there is to calibrate on: people with a photo who can be found, and their pairs of opposite '
    'gender inside schools.';

create function public.sample_stranger_distances(
    p_pairs integer, p_seed bigint default 1, p_simulated boolean default false
)
returns table (distance double precision, half smallint)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- test_calibrate.py: between two ANALYZE, when only face_embeddings has statistics, nested loops compare every pair of
-- people once for each pair drawn.
set enable_nestloop = off
set jit = off
as $$
    with people as materialized (
        select * from automatch.comparable_people(p_simulated)
    ),
    schools as (
        select s.*, sum(s.pairs) over (order by s.school) as upto, sum(s.pairs) over () as total
        from (
            select distinct p.school, p.women, p.men, p.women * p.men as pairs
            from people as p where p.women > 0 and p.men > 0
        ) as s
    ),
    -- Each school gives its share, so that the sample is of the pairs that searches compare.
    shares as (
        select s.school, s.men, s.pairs,
            trunc(s.upto * least(p_pairs, s.total) / s.total)
            - trunc((s.upto - s.pairs) * least(p_pairs, s.total) / s.total) as share
        from schools as s
    ),
    -- All pairs of a school, or some by chance that is the same for the same seed.
    drawn as (
        select distinct s.school, s.men, case
            when s.share = s.pairs then n - 1
            else (pg_catalog.hashint8extended(n, p_seed) & 9223372036854775807) % s.pairs
        end as number
        from shares as s
        cross join lateral pg_catalog.generate_series(1, s.share::bigint) as n
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(public.active_embedding_model(), array(
            select p.face_id
            from people as p
            join public.embedding_models as m on m.active
            join public.face_embeddings as e on e.model = m.id and e.face_id = p.face_id and e.embedding is null
        )) as s
    )
    select
        sqrt(greatest(2 + 2 * (coalesce(a.embedding, far_a.embedding) <#> coalesce(b.embedding, far_b.embedding)), 0)),
        case when she.half = he.half then she.half end
    from drawn as d
    join people as she on she.school = d.school and she.gender = 'female' and she.place = d.number / d.men
    join people as he on he.school = d.school and he.gender = 'male' and he.place = d.number % d.men
    join public.embedding_models as m on m.active
    join public.face_embeddings as a on a.model = m.id and a.face_id = she.face_id
    join public.face_embeddings as b on b.model = m.id and b.face_id = he.face_id
    left join sharded as far_a on far_a.face_id = a.face_id
    left join sharded as far_b on far_b.face_id = b.face_id
$$;
comment on function public.sample_stranger_distances(integer, bigint, boolean) is
    'Distances u = sqrt(2 - 2 cos) of at most p_pairs random pairs of opposite gender inside schools; half '
    'tells that both are of one half of the people (0 or 1), to see whether the halves agree.';

create function public.preview_match_thresholds(
    p_thresholds double precision[],
    p_midpoint double precision default null,
    p_width double precision default null,
    p_people integer default 300,
    p_seed bigint default 1,
    p_simulated boolean default false
)
returns table (
    threshold double precision, people bigint, looked_at bigint, matches double precision,
    median_matches double precision, without_any bigint
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_model public.embedding_models;
    v_bounds double precision[];
    v_loosest double precision;
begin
    select m.* into v_model from public.embedding_models as m where m.active;
    v_bounds := array(
        select automatch.cosine_bound(t, coalesce(p_midpoint, v_model.midpoint), coalesce(p_width, v_model.width))
        from unnest(p_thresholds) with ordinality as given (t, place)
        order by place
    );
    v_loosest := (select min(b) from unnest(v_bounds) as b);
    return query
    with everybody as materialized (
        select * from automatch.comparable_people(p_simulated)
    ),
    asked as materialized (
        select e.profile_id, e.school, e.gender,
            case e.gender when 'male' then 'female' else 'male' end as wanted
        from everybody as e
        order by pg_catalog.uuid_hash_extended(e.profile_id, p_seed)
        limit p_people
    ),
    -- Every photo of a person is searched for.
    photos as materialized (
        select a.profile_id, a.school, a.wanted, i.embedding
        from asked as a
        join public.faces as f on f.profile_id = a.profile_id
        join public.face_index as i
            on i.model = v_model.id and i.school = a.school and i.gender = a.gender and i.face_id = f.id
    ),
    -- The search copy is half as exact as the search, which a preview bears.
    near as materialized (
        select o.profile_id, i.profile_id as other_id, -min(i.embedding <#> o.embedding) as cosine
        from photos as o
        join public.face_index as i on i.model = v_model.id and i.school = o.school and i.gender = o.wanted
        where (i.embedding <#> o.embedding) <= -v_loosest
        group by o.profile_id, i.profile_id
    ),
    found as (
        select given.t, given.place, a.profile_id, count(n.other_id) as matches
        from unnest(p_thresholds, v_bounds) with ordinality as given (t, bound, place)
        cross join asked as a
        left join near as n on n.profile_id = a.profile_id and n.cosine >= given.bound
        group by given.t, given.place, a.profile_id
    )
    select
        f.t, (select count(*) from everybody), count(*), avg(f.matches)::double precision,
        percentile_cont(0.5) within group (order by f.matches::double precision),
        round((select count(*) from everybody) * (count(*) filter (where f.matches = 0))::numeric / count(*))::bigint
    from found as f
    group by f.t, f.place
    order by f.place;
end
$$;
comment on function public.preview_match_thresholds(
    double precision[], double precision, double precision, integer, bigint, boolean
) is
    'For each threshold: how many people of their school and the opposite gender a person reaches it with, '
    'and how many people of all reach it with nobody; judged by p_people of them, blocks left aside.';

-- 45_search_audit.sql

-- Some searches are made again by brute force, to know how many faces they miss.
create table automatch.search_audits (
    id bigint generated always as identity primary key,
    recorded_at timestamptz not null default automatch.now(),
    job_id uuid not null,
    school text not null,
    gender text not null,
    expected integer not null,
    found integer not null
);
comment on table automatch.search_audits is 'Searches that were made again by brute force, and what came of it.';
create index search_audits_recorded_idx on automatch.search_audits (recorded_at);

create function automatch.brute_force_search(
    p_embedding vector,
    p_school text,
    p_gender text,
    p_excluded_profile_ids uuid[],
    p_threshold double precision,
    p_count integer
)
returns table (face_id uuid, profile_id uuid)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
    select r.face_id, r.profile_id
    from public.embedding_models as m
    cross join lateral (
        select array_agg(1) as numbers, array_agg(f.face_id) as face_ids, array_agg(f.profile_id) as profile_ids
        from automatch.findable_faces as f
        where f.model = m.id and f.school = p_school and f.gender = p_gender
          and not (f.profile_id = any (p_excluded_profile_ids))
    ) as a
    cross join lateral automatch.rank_faces(
        m.id, array[l2_normalize(p_embedding)],
        array[automatch.cosine_bound(p_threshold, m.midpoint, m.width)], p_count, a.numbers, a.face_ids, a.profile_ids
    ) as r
    where m.active
$$;
comment on function automatch.brute_force_search(vector, text, text, uuid[], double precision, integer) is
    'What find_candidates() has to find, without the search copy, its half precision and its indexes.';

create function automatch.is_audited(p_job_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select mod(hashtextextended(p_job_id::text, 0), s.audit_one_in) = 0 from automatch.search_settings as s
$$;

create function automatch.audit_search()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    insert into automatch.search_audits (job_id, school, gender, expected, found)
    select new.id, t.school, t.gender, count(t.profile_id),
        count(t.profile_id) filter (where t.found or t.comes_by_itself)
    from (
        select p.school, g.gender, e.profile_id,
            exists (
                select from public.matches as m
                where (m.face_a_id = new.face_id and m.profile_b_id = e.profile_id)
                   or (m.face_b_id = new.face_id and m.profile_a_id = e.profile_id)
            ) as found,
            -- Somebody who came after the search: their own job finds this one.
            exists (
                select from public.match_jobs as j
                where j.user_id = e.profile_id and j.completed_at is null
            ) as comes_by_itself
        from public.profiles as p
        join public.face_embeddings as f
            on f.model = public.active_embedding_model() and f.face_id = new.face_id
        cross join public.match_settings as s
        cross join lateral (
            select case p.gender when 'male' then 'female' else 'male' end as gender
        ) as g
        left join lateral automatch.brute_force_search(
            coalesce(f.embedding, automatch.read_sharded_embedding(f.model, f.face_id)), p.school, g.gender,
            array(select automatch.excluded_profile_ids(p.id)) || p.id,
            coalesce(new.threshold, s.threshold), s.match_count
        ) as e on true
        where p.id = new.user_id and p.school is not null and p.gender is not null
    ) as t
    group by t.school, t.gender;
    return null;
end
$$;

-- At the commit, when the matches are written. Whichever way a search takes, this looks at what came
-- of it.
create constraint trigger match_jobs_audit
after update of status on public.match_jobs
deferrable initially deferred
for each row
when (new.status = 'completed' and old.status = 'processing' and automatch.is_audited(new.id))
execute function automatch.audit_search();

create function public.get_search_recall(p_since interval default '1 day')
returns table (audits bigint, recall double precision, short_answers bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*), sum(a.found)::double precision / nullif(sum(a.expected), 0),
        count(*) filter (where a.found < a.expected)
    from automatch.search_audits as a
    where a.recorded_at > automatch.now() - p_since
$$;
comment on function public.get_search_recall(interval) is
    'Of the searches that were made again by brute force: how many, the share of people to be found that was '
    'found (null when there was nobody), and how many searches missed somebody.';

create function public.clean_up_search_audits(p_older_than interval default '30 days')
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with deleted as (
        delete from automatch.search_audits as a where a.recorded_at < automatch.now() - p_older_than returning 1
    )
    select count(*)::integer from deleted
$$;
comment on function public.clean_up_search_audits(interval) is 'Delete audits of long ago; the number of them.';

-- 46_photo_searches.sql

-- How many photos of a person are searched for in a day.

create table automatch.photo_searches (
    job_id uuid primary key,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    counted_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_searches is
    'Searches that people began by sending a photo. A row outlives its photo, so that deleting one brings no search '
    'back; searches that the system begins are not counted.';
create index photo_searches_profile_idx on automatch.photo_searches (profile_id, counted_at);
create index photo_searches_counted_idx on automatch.photo_searches (counted_at);

create function automatch.enqueue_upload(p_face_id uuid, p_priority smallint)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.photo_searches as s (job_id, profile_id)
    select j.id, automatch.uid() from public.enqueue_match_job(p_face_id, p_priority) as j (id)
    on conflict (job_id) do update set counted_at = s.counted_at
    returning s.job_id
$$;
comment on function automatch.enqueue_upload(uuid, smallint) is 'Queue a photo that the caller sent, and count its search.';

create function automatch.uncount_search()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- One that waits for a decision is not free: somebody has to look at it.
    delete from automatch.photo_searches as s
    where s.job_id = new.id and not exists (select from automatch.held_faces as h where h.face_id = new.face_id);
    return null;
end
$$;

-- Whoever is asked for a face can still answer.
create trigger match_jobs_uncount_search
after update of status on public.match_jobs
for each row
when (new.status = 'failed' and new.face_boxes is null)
execute function automatch.uncount_search();

create function public.get_search_wait(p_most integer)
returns double precision language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(extract(epoch from max(s.counted_at) + interval '1 day' - automatch.now())::double precision, 0)
    from (
        select c.counted_at from automatch.photo_searches as c
        where c.profile_id = automatch.uid() and c.counted_at > automatch.now() - interval '1 day'
        order by c.counted_at desc
        offset p_most
        limit 1
    ) as s
$$;
comment on function public.get_search_wait(integer) is
    'Seconds until the caller''s searches of the last 24 hours are no more than p_most; 0 when they are now.';

-- 47_likes.sql

-- Who likes whom. One side alone is nobody's to know but theirs: it changes no row, position, count or number that the
-- other could read. Only when both do, both are told.

create table automatch.likes (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    other_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    mutual boolean not null default false,
    told_at timestamptz,
    primary key (profile_id, other_profile_id),
    constraint like_is_of_two_people check (profile_id <> other_profile_id),
    constraint mutual_was_told check (told_at is not null or not mutual)
);
comment on table automatch.likes is
    'profile_id likes other_profile_id. Kept while a block, a dismissal or a pause hides one of the two, and shown to nobody then.';
comment on column automatch.likes.mutual is 'Whether the other likes them too; the same in both rows.';
comment on column automatch.likes.told_at is
    'When this person was last told that both do: what a notification is about. The other cannot untell it by unliking.';
create index likes_other_idx on automatch.likes (other_profile_id);
create index likes_told_idx on automatch.likes (told_at);

create function public.like_profile(p_profile_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    if not automatch.may_see(v_me, p_profile_id) or not exists (
        select from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id and e.match_id is not null
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    -- Or people who hide could find out who likes them, who would not be told.
    if not exists (select from public.profiles as p where p.id = v_me and p.discoverable and p.profile_type = 'user') then
        perform automatch.raise_error('forbidden', 'You''re hidden. Let others find you again, then you can like them.');
    end if;
    perform automatch.lock_both_profiles(v_me, p_profile_id);
    perform automatch.lock_feeds(array[v_me, p_profile_id]);
    insert into automatch.likes (profile_id, other_profile_id) values (v_me, p_profile_id) on conflict do nothing;
    if not found then
        return (select l.mutual from automatch.likes as l where l.profile_id = v_me and l.other_profile_id = p_profile_id);
    end if;
    perform automatch.charge_act('likes', 100, 'You''ve liked very many people today. Try again tomorrow.');
    if not exists (
        select from automatch.likes as l where l.profile_id = p_profile_id and l.other_profile_id = v_me
    ) then
        return false;
    end if;
    update automatch.likes as l set mutual = true, told_at = automatch.now()
    where (l.profile_id, l.other_profile_id) in ((v_me, p_profile_id), (p_profile_id, v_me));
    -- News each time: or who likes, reads and unlikes could go on reading without the other knowing.
    perform automatch.resend_feed_entries(v_me, array[p_profile_id], true);
    perform automatch.resend_feed_entries(p_profile_id, array[v_me], true);
    -- Whoever likes second is answered that both do.
    perform public.mark_matches_seen(array(
        select e.match_id from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id
    ));
    return true;
end
$$;
comment on function public.like_profile(uuid) is
    'Like a person of the caller''s feed. Whether both do: then both are told.';

create function public.unlike_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    perform automatch.lock_both_profiles(v_me, p_profile_id);
    perform automatch.lock_feeds(array[v_me, p_profile_id]);
    delete from automatch.likes as l where l.profile_id = v_me and l.other_profile_id = p_profile_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    update automatch.likes as l set mutual = false
    where l.profile_id = p_profile_id and l.other_profile_id = v_me and l.mutual;
    if found then
        perform automatch.resend_feed_entries(v_me, array[p_profile_id], false);
        perform automatch.resend_feed_entries(p_profile_id, array[v_me], false);
    end if;
end
$$;
comment on function public.unlike_profile(uuid) is
    'Take back a like, seen or not. What either shared with the other disappears again; that both did stays told.';

-- 48_shares.sql

-- What people tell whoever they like and who likes them too: a sentence, and where else to find them.

create table automatch.shares (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    sentence text,
    handle text,
    updated_at timestamptz not null default automatch.now(),
    constraint share_says_something check (sentence is not null or handle is not null),
    constraint sentence_is_short check (sentence = btrim(sentence) and length(sentence) between 1 and 200),
    constraint handle_is_short check (handle = btrim(handle) and length(handle) between 1 and 60)
);
comment on table automatch.shares is 'Plain text that people see of each other once both have liked, and as long as both do.';

-- Whoever hides reads nothing either: the other does not see them.
create view automatch.shown_likes with (security_invoker = true) as
select
    l.profile_id, l.other_profile_id,
    l.mutual and me.discoverable as mutual,
    l.told_at is not null and not l.mutual and me.discoverable as was_mutual,
    s.sentence, s.handle
from automatch.likes as l
join public.profiles as me on me.id = l.profile_id
left join automatch.shares as s on s.profile_id = l.other_profile_id and l.mutual and me.discoverable;
comment on view automatch.shown_likes is
    'What a like of profile_id says on their card of the other, which they have to see: whether both do, whether both '
    'did and the other took it back, and what the other shares while both do.';

create function public.get_share()
returns table (sentence text, handle text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.sentence, s.handle from automatch.shares as s where s.profile_id = (select automatch.uid())
$$;
comment on function public.get_share() is 'What the caller shares, or no row.';

create function public.save_share(p_sentence text default null, p_handle text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_sentence constant text := nullif(btrim(p_sentence), '');
    v_handle constant text := nullif(btrim(p_handle), '');
    v_others uuid[];
begin
    if length(v_sentence) > 200 or length(v_handle) > 60 then
        perform automatch.raise_error('input_invalid', 'Write at most 200 characters, and 60 for where to find you.');
    end if;
    if v_sentence || '' ~ '[[:cntrl:]]' or v_handle || '' ~ '[[:cntrl:]]' then
        perform automatch.raise_error('input_invalid', 'Write it in one line.');
    end if;
    perform from public.profiles as p where p.id = v_me for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    if exists (
        select from (values (v_me)) as me (id) left join automatch.shares as s on s.profile_id = me.id
        where (s.sentence, s.handle) is not distinct from (v_sentence, v_handle)
    ) then
        return;
    end if;
    v_others := array(select l.other_profile_id from automatch.likes as l where l.profile_id = v_me and l.mutual);
    perform automatch.lock_feeds(v_others);
    perform automatch.charge_act('shares', 100, 'You''ve changed this very often today. Try again tomorrow.');
    delete from automatch.shares as s where s.profile_id = v_me;
    if v_sentence is not null or v_handle is not null then
        insert into automatch.shares (profile_id, sentence, handle) values (v_me, v_sentence, v_handle);
    end if;
    perform automatch.resend_feed_entries(o.id, array[v_me], false) from unnest(v_others) as o (id);
end
$$;
comment on function public.save_share(text, text) is
    'Set what the caller shares with people when both like; null or empty takes it back. Open pages of those show it at once.';

create function automatch.tell_of_reader(p_profile_id uuid, p_reader_id uuid, p_since timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if automatch.may_see(p_profile_id, p_reader_id) and automatch.may_see(p_reader_id, p_profile_id) then
        update automatch.likes as l set told_at = automatch.now()
        from automatch.shares as s
        where l.profile_id = p_profile_id and l.other_profile_id = p_reader_id and l.mutual
          and s.profile_id = p_profile_id and s.updated_at > p_since;
        if found then
            perform automatch.resend_feed_entries(p_profile_id, array[p_reader_id], true);
        end if;
    end if;
end
$$;
comment on function automatch.tell_of_reader(uuid, uuid, timestamptz) is
    'Tell a person, whose feed is locked, again that both like each other, if they have changed what they share since a '
    'time: or who hides, comes back, reads and hides could go on reading without the other knowing.';

-- 50_matches.sql

-- Matches, dismissals and blocks, and who may see whom.
--
-- matches has a row for each pair of photos. A feed has an entry for each other person, with their best pair.

-- Subscribers to the table, such as supabase clients, get new rows in this order.
create sequence automatch.match_numbers;
create table public.matches (
    id uuid primary key default gen_random_uuid(),
    face_a_id uuid not null references public.faces (id) on delete cascade,
    face_b_id uuid not null references public.faces (id) on delete cascade,
    profile_a_id uuid not null,
    profile_b_id uuid not null,
    similarity double precision not null,
    created_at timestamptz not null default automatch.now(),
    cosine double precision not null,
    -- No foreign key: its check would lock one row of similarity_scales for every match.
    scale_version integer not null,
    number bigint not null default nextval('automatch.match_numbers'),
    constraint pair_is_ordered check (face_a_id < face_b_id),
    constraint pair_is_of_two_people check (profile_a_id <> profile_b_id),
    constraint similarity_is_0_to_1 check (similarity between 0 and 1),
    constraint cosine_is_a_cosine check (cosine between -1 and 1),
    constraint pair_is_unique unique (face_a_id, face_b_id)
);
comment on table public.matches is 'A pair of similar faces; one row for both people.';
comment on column public.matches.cosine is 'Of the two embeddings; similarity is computed from it.';
comment on column public.matches.scale_version is 'The scale of similarity, and so its model.';
comment on column public.matches.number is
    'Grows in the order in which matches of a person are committed: it is drawn while both feeds are locked.';
create index matches_face_b_idx on public.matches (face_b_id);
-- For matches that are still to be rescored, in the order of the feeds.
create index matches_scale_idx on public.matches (scale_version, created_at);

create table public.match_dismissals (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    other_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, other_profile_id)
);
comment on table public.match_dismissals is 'profile_id said "not a match"; later searches exclude the pair.';
create index match_dismissals_other_idx on public.match_dismissals (other_profile_id);

create table public.profile_blocks (
    profile_id uuid not null references public.profiles (id) on delete cascade,
    blocked_profile_id uuid not null references public.profiles (id) on delete cascade,
    created_at timestamptz not null default automatch.now(),
    primary key (profile_id, blocked_profile_id)
);
comment on table public.profile_blocks is 'Neither of the two sees the other any more.';
create index profile_blocks_blocked_idx on public.profile_blocks (blocked_profile_id);

create function automatch.score_match()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model record;
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    -- From the embeddings, not from the similarity: the scale may have changed since the search.
    select -(
            coalesce(a.embedding, automatch.read_sharded_embedding(m.id, a.face_id))
            <#> coalesce(b.embedding, automatch.read_sharded_embedding(m.id, b.face_id))
        ) as cosine, m.midpoint, m.width, m.scale_version into v_model
    from public.embedding_models as m
    join public.face_embeddings as a on a.model = m.id and a.face_id = new.face_a_id
    join public.face_embeddings as b on b.model = m.id and b.face_id = new.face_b_id
    where m.active;
    if found then
        new.cosine := greatest(least(v_model.cosine, 1), -1);
        new.similarity := automatch.similarity(new.cosine, v_model.midpoint, v_model.width);
    else
        -- A row written by hand for photos without embeddings: the cosine follows from the similarity.
        select m.midpoint, m.width, m.scale_version into v_model from public.embedding_models as m where m.active;
        new.cosine := least(automatch.cosine_bound(new.similarity, v_model.midpoint, v_model.width), 1);
    end if;
    new.scale_version := v_model.scale_version;
    return new;
end
$$;
comment on function automatch.score_match() is
    'Store the cosine of a new match, and its similarity on the scale in use.';

create trigger matches_score before insert on public.matches
for each row when (new.cosine is null) execute function automatch.score_match();

create function public.rescore_matches(p_limit integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
    v_ids uuid[];
    v_profiles uuid[];
    v_others uuid[];
begin
    select s.version into v_version
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model and m.scale_version <> s.version
    where exists (select from public.matches as x where x.scale_version = s.version)
    order by s.version
    limit 1;
    if not found then
        return 0;
    end if;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
        order by x.created_at
        limit p_limit
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    with old as materialized (
        select x.id, x.similarity from public.matches as x
        where x.id = any (v_ids) and x.scale_version = v_version
    ),
    scored as (
        update public.matches as x
        set similarity = automatch.similarity(x.cosine, m.midpoint, m.width), scale_version = m.scale_version
        from old, automatch.similarity_scales as s, public.embedding_models as m
        where x.id = old.id and s.version = v_version and m.id = s.model
        returning x.id, x.profile_a_id, x.profile_b_id,
            automatch.shown_similarity(x.similarity) <> automatch.shown_similarity(old.similarity) as is_shown_otherwise
    ),
    shown as (
        select e.profile_id, e.other_profile_id,
            bool_or(s.is_shown_otherwise) over (partition by e.profile_id) as moves
        from scored as s
        cross join lateral (
            values (s.profile_a_id, s.profile_b_id), (s.profile_b_id, s.profile_a_id)
        ) as side (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = side.profile_id
            and e.other_profile_id = side.other_profile_id
            and e.match_id = s.id
    )
    select array_agg(s.profile_id), array_agg(s.other_profile_id) into v_profiles, v_others
    from shown as s
    where s.moves;
    -- Where the shown number of one entry changes, all rescored entries of the feed move: moved alone, the
    -- changed ones would end up above better and newer ones.
    perform automatch.move_feed_entries(v_profiles, v_others);
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches(integer) is
    'Rescore some matches of an older scale, and update both feeds. How many; call again until it is 0.';

create function automatch.excluded_profile_ids(p_profile_id uuid)
returns setof uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select x.other_profile_id from automatch.excluded_profiles as x where x.profile_id = p_profile_id $$;
comment on function automatch.excluded_profile_ids(uuid) is 'excluded_profiles of one person; of many, ask the view.';

create function automatch.may_see(p_viewer_id uuid, p_other_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from public.profiles as me
        join public.profiles as other
            on other.school = me.school
            and other.gender <> me.gender
            and other.profile_type = 'user'
            and other.discoverable
            and other.admitted
        where me.id = p_viewer_id
          and me.admitted
          and other.id = p_other_id
          and not exists (
              select from automatch.excluded_profiles as x
              where x.profile_id = p_viewer_id and x.other_profile_id = other.id
          )
    )
$$;
comment on function automatch.may_see(uuid, uuid) is 'Whether a search would still find the other person.';

create function automatch.caller_may_see(p_other_id uuid)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select automatch.may_see((select automatch.uid()), p_other_id) $$;

create function automatch.count_shown_matches(p_face_id uuid)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(distinct o.id)::integer
    from public.profiles as me
    join public.faces as f on f.id = p_face_id and f.profile_id = me.id
    join public.matches as m on f.id in (m.face_a_id, m.face_b_id)
    -- The rules of may_see(), once for all.
    join public.profiles as o
        on o.id = case when m.profile_a_id = me.id then m.profile_b_id else m.profile_a_id end
        and o.school = me.school and o.gender <> me.gender and o.profile_type = 'user' and o.discoverable
        and o.admitted
    where me.id = (select automatch.uid()) and me.admitted
      and o.id not in (select automatch.excluded_profile_ids(me.id))
$$;
comment on function automatch.count_shown_matches(uuid) is
    'How many people a photo of the caller matches now, of those whom the caller may see.';

create function automatch.lock_both_profiles(p_profile_id uuid, p_other_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if (
        select count(*)
        from (
            select from public.profiles as p
            where p.id in (p_profile_id, p_other_profile_id)
            for key share
        ) as kept
    ) < 2 then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
end
$$;
comment on function automatch.lock_both_profiles(uuid, uuid) is
    'Prevent that either is erased before this transaction ends; an error if one is already.';

create function public.dismiss_match(p_match_id uuid)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_other uuid;
    v_viewers uuid[];
begin
    select case when m.profile_a_id = automatch.uid() then m.profile_b_id else m.profile_a_id end
    into v_other
    from public.matches as m
    where m.id = p_match_id and automatch.uid() in (m.profile_a_id, m.profile_b_id);
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.lock_both_profiles(automatch.uid(), v_other);
    v_viewers := automatch.list_viewers(automatch.uid(), v_other);
    insert into public.match_dismissals (profile_id, other_profile_id)
    values (automatch.uid(), v_other) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), v_other, v_viewers);
    return v_other;
end
$$;
comment on function public.dismiss_match(uuid) is 'Hide the two of a match from each other; the other person''s id.';

create function public.block_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_viewers uuid[];
begin
    -- Only people of the feed: otherwise this would tell which ids exist.
    if not exists (
        select from automatch.feed_entries as e
        where e.profile_id = automatch.uid() and e.other_profile_id = p_profile_id
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    insert into public.profile_blocks (profile_id, blocked_profile_id)
    values (automatch.uid(), p_profile_id) on conflict do nothing;
    perform automatch.refresh_feeds(automatch.uid(), p_profile_id, v_viewers);
end
$$;

create function automatch.unhide_profile(p_other_profile_id uuid, p_since timestamptz, p_viewers uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.refresh_feeds(automatch.uid(), p_other_profile_id, p_viewers);
    perform automatch.tell_of_reader(p_other_profile_id, automatch.uid(), p_since);
    -- Undone at once, as the page offers it, and nothing was searched for meanwhile: there is nothing to find. The other's
    -- jobs are not asked: whether this searches would tell of them.
    if p_since > automatch.now() - interval '20 seconds' and not exists (
        select from public.match_jobs as j
        where j.user_id = automatch.uid() and (j.completed_at is null or j.completed_at > p_since)
    ) then
        return;
    end if;
    -- Only the caller's photos: jobs of the other person would tell them that something happened. A match is
    -- one row for both, so the other's photos would find nothing else.
    perform automatch.enqueue_profile_searches(automatch.uid());
end
$$;
comment on function automatch.unhide_profile(uuid, timestamptz, uuid[]) is
    'Bring back the matches with a person whom the caller has hidden until now, and search again. p_viewers: those of the '
    'two who saw the other while it was hidden.';

create function public.unblock_profile(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since timestamptz;
    v_viewers uuid[];
begin
    -- For enqueue_searches(); after the feeds it would be out of order.
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    delete from public.profile_blocks
    where profile_id = automatch.uid() and blocked_profile_id = p_profile_id
    returning created_at into v_since;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.unhide_profile(p_profile_id, v_since, v_viewers);
end
$$;
comment on function public.unblock_profile(uuid) is
    'Undo block_profile(). The two see each other again unless the other has blocked or dismissed too.';

create function public.undo_dismissal(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since timestamptz;
    v_viewers uuid[];
begin
    perform from public.profiles as p where p.id = automatch.uid() for no key update;
    perform automatch.lock_both_profiles(automatch.uid(), p_profile_id);
    v_viewers := automatch.list_viewers(automatch.uid(), p_profile_id);
    delete from public.match_dismissals
    where profile_id = automatch.uid() and other_profile_id = p_profile_id
    returning created_at into v_since;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.unhide_profile(p_profile_id, v_since, v_viewers);
end
$$;
comment on function public.undo_dismissal(uuid) is 'Undo dismiss_match(), for all matches with a person.';

create function public.list_hidden_profiles()
returns table (profile_id uuid, name text, is_blocked boolean, is_dismissed boolean, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        h.profile_id,
        -- Only while the feed would show it: hiding somebody must not be a way to follow them.
        case when p.school = me.school and p.gender <> me.gender and p.profile_type = 'user'
                  and p.discoverable and p.admitted and me.admitted and automatch.has_consent(p.id)
             then p.name end,
        bool_or(h.is_block), bool_or(not h.is_block), max(h.created_at)
    from (
        select b.blocked_profile_id as profile_id, true as is_block, b.created_at
        from public.profile_blocks as b where b.profile_id = (select automatch.uid())
        union all
        select d.other_profile_id, false, d.created_at
        from public.match_dismissals as d where d.profile_id = (select automatch.uid())
    ) as h
    join public.profiles as p on p.id = h.profile_id
    join public.profiles as me on me.id = (select automatch.uid())
    group by h.profile_id, p.id, me.id
    order by max(h.created_at) desc, h.profile_id
    limit 100
$$;
comment on function public.list_hidden_profiles() is
    'Whom the caller blocked or dismissed, newest first. Not who blocked or dismissed the caller.';

create function public.last_match_number()
returns bigint language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_match from automatch.feed_counters as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.last_match_number() is 'The highest number of a match of the caller.';

create function public.matches_after(p_number bigint, p_limit integer default 100)
returns table (number bigint, match_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select n.number, n.id
    from automatch.feed_counters as h
    cross join lateral (
        select m.number, m.id
        from public.faces as f
        join public.matches as m on m.face_a_id = f.id
        where f.profile_id = h.profile_id and m.number > p_number
        union all
        select m.number, m.id
        from public.faces as f
        join public.matches as m on m.face_b_id = f.id
        where f.profile_id = h.profile_id and m.number > p_number
    ) as n
    where h.profile_id = (select automatch.uid()) and h.last_match > p_number
    order by n.number
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.matches_after(bigint, integer) is
    'The ids of the caller''s matches with higher numbers, in order. Row level security decides which of them '
    'the caller may read.';

-- 51_feed.sql

-- A feed is a list of people, each at a position. A writer locks the person's row of feed_counters until
-- commit, so positions have no gaps and follow the order of commits: a reader who has seen position n has
-- seen all positions below.

create table automatch.feed_counters (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    last_position bigint not null default 0,
    last_match bigint not null default 0,
    seen_position bigint not null default 0,
    seen_count bigint not null default 0
)
-- Room for the updates of a page's people to stay in it: a third of the log of a job among many people was the
-- primary key, each time a page that was not touched since the last checkpoint.
with (fillfactor = 80);
comment on column automatch.feed_counters.last_match is 'The highest number of a match of this person.';
comment on column automatch.feed_counters.seen_position is
    'No entry up to here is new, so that new ones are found without reading the feed.';
comment on column automatch.feed_counters.seen_count is 'How often an entry was marked as seen: open pages learn of it.';
create table automatch.feed_entries (
    -- Of feed_counters. No foreign key: whoever writes an entry holds the lock of the counter, and checking it for
    -- each entry costs as much as to write one.
    profile_id uuid not null,
    other_profile_id uuid not null,
    position bigint not null,
    place bigint not null,
    match_id uuid,
    last_match_id uuid,
    created_at timestamptz not null default automatch.now(),
    seen_at timestamptz,
    primary key (profile_id, other_profile_id),
    constraint position_is_unique unique (profile_id, position)
);
-- For pages of the feed.
create index feed_entries_place_idx on automatch.feed_entries (profile_id, place);
comment on column automatch.feed_entries.position is 'Grows with every change, so that open pages read what is new to them.';
comment on column automatch.feed_entries.place is
    'Where the card stands: the position of its last news. A card that goes and comes back has the place it had.';
comment on column automatch.feed_entries.match_id is
    'The best match of the two; null when none is left, so that open pages remove the card.';
comment on column automatch.feed_entries.last_match_id is 'The match that a removed card showed.';
comment on column automatch.feed_entries.seen_at is
    'When the person was shown it; null while it is new. A better pair of photos makes it new again.';
comment on column automatch.feed_entries.other_profile_id is
    'Nobody''s id once the other person is erased; open pages know the card by last_match_id then.';

create function automatch.create_feed_counter()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.feed_counters (profile_id) values (new.id) on conflict do nothing;
    return null;
end
$$;

create trigger profiles_create_feed_counter after insert on public.profiles
for each row execute function automatch.create_feed_counter();

create function automatch.feed_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.feed_entries as e where e.profile_id = old.profile_id;
    return null;
end
$$;

create trigger feed_counters_removed after delete on automatch.feed_counters
for each row execute function automatch.feed_removed();

-- The order of locks, which prevents deadlocks: profiles (for update: only one), feed_counters, faces,
-- jobs; each by id.
create function automatch.lock_feeds(p_profile_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select h.profile_id from automatch.feed_counters as h
    where h.profile_id = any (p_profile_ids)
    order by h.profile_id
    for no key update
$$;

create function automatch.notify_feeds(p_profile_ids uuid[])
returns void language sql set search_path = pg_catalog, pg_temp
as $$
    -- A notification carries at most 8,000 bytes; an empty one is for everybody.
    select pg_notify('automatch_feed', string_agg(f.id::text, ',' order by f.id))
    from (
        select p.id, (row_number() over (order by p.id) - 1) / 200 as part
        from (select distinct unnest(p_profile_ids) as id) as p
        where p.id is not null
    ) as f
    group by f.part
$$;
comment on function automatch.notify_feeds(uuid[]) is
    'Notify servers whose feed or jobs change with this transaction. Ids alone: what changed each person reads.';

create function automatch.notify_job_owners(p_job_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.notify_feeds(array(select j.user_id from public.match_jobs as j where j.id = any (p_job_ids)))
$$;
comment on function automatch.notify_job_owners(uuid[]) is 'Notify servers that these jobs change.';

create function automatch.renumber_matches(p_match_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- complete_match_jobs() inserts matches under this lock. After an insert without it, a higher number may
    -- have been read meanwhile, and readers would skip this one.
    update public.matches as m
    set number = nextval('automatch.match_numbers')
    where m.id = any (p_match_ids)
      and exists (
          select from automatch.feed_counters as h
          where h.profile_id in (m.profile_a_id, m.profile_b_id) and h.last_match >= m.number
      )
$$;
comment on function automatch.renumber_matches(uuid[]) is
    'Draw higher numbers for matches that were not inserted under the lock of both feeds.';

create function automatch.publish_new_matches(p_match_ids uuid[], p_now timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with sides as materialized (
        select m.id, m.similarity, m.number, side.profile_id, side.other_profile_id
        from public.matches as m
        cross join lateral (
            values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
        ) as side (profile_id, other_profile_id)
        where m.id = any (p_match_ids)
    ),
    -- The entry of two people shows their best pair of photos; a worse one changes nothing.
    better as (
        select distinct on (s.profile_id, s.other_profile_id) s.*, shown.is_there
        from sides as s
        -- "limit" forces one lookup for each pair: a join that is planned while feeds are small would read all
        -- of them from then on.
        left join lateral (
            select true as is_there, m.similarity
            from automatch.feed_entries as e
            left join public.matches as m on m.id = e.match_id
            where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id
            limit 1
        ) as shown on true
        where shown.similarity is null or shown.similarity < s.similarity
        order by s.profile_id, s.other_profile_id, s.similarity desc, s.id
    ),
    -- The best match gets the highest position, which feeds show first. From the counters as they are locked: joined
    -- with what updates them, each entry would be compared with each counter of a batch.
    placed as materialized (
        select n.*, h.last_position + row_number() over (
            partition by n.profile_id order by n.similarity, n.other_profile_id
        ) as position
        from better as n
        join automatch.feed_counters as h on h.profile_id = n.profile_id
    ),
    -- One update for each counter: a second one would check its foreign key again, and so lock the profile
    -- after the feeds.
    grown as materialized (
        select c.profile_id, max(c.number) as last_match, max(c.position) as last_position
        from (
            select s.profile_id, s.number, 0 as position from sides as s
            union all
            select p.profile_id, p.number, p.position from placed as p
        ) as c
        group by c.profile_id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = greatest(h.last_position, g.last_position), last_match = greatest(h.last_match, g.last_match)
        from grown as g
        where h.profile_id = g.profile_id
    ),
    -- Apart from the others, mostly none: planned while feeds are small, each entry is compared with each of these.
    there as materialized (select p.* from placed as p where p.is_there),
    moved as (
        update automatch.feed_entries as e
        set position = p.position, place = p.position, match_id = p.id, created_at = p_now, seen_at = null
        from there as p
        where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id
    )
    -- Not "on conflict", which writes two records for each row: with both feeds locked nobody else adds one.
    insert into automatch.feed_entries (profile_id, other_profile_id, position, place, match_id, created_at)
    select p.profile_id, p.other_profile_id, p.position, p.position, p.id, p_now
    from placed as p
    where p.is_there is null;
end
$$;
comment on function automatch.publish_new_matches(uuid[], timestamptz) is
    'publish_matches() for matches that were inserted while both feeds were locked; notifies nobody.';

create function automatch.publish_matches(p_match_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile_ids uuid[] := array(
        select unnest(array[m.profile_a_id, m.profile_b_id])
        from public.matches as m where m.id = any (p_match_ids)
    );
begin
    perform automatch.lock_feeds(v_profile_ids);
    perform automatch.renumber_matches(p_match_ids);
    perform automatch.publish_new_matches(p_match_ids, automatch.now());
    perform automatch.notify_feeds(v_profile_ids);
end
$$;
comment on function automatch.publish_matches(uuid[]) is 'Put matches into both feeds.';

create function automatch.move_feed_entries(p_profile_ids uuid[], p_other_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with placed as (
        select e.profile_id, e.other_profile_id,
            row_number() over (partition by e.profile_id order by e.position) as step
        from unnest(p_profile_ids, p_other_profile_ids) as m (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = m.profile_id and e.other_profile_id = m.other_profile_id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = h.last_position + c.entries
        from (select p.profile_id, count(*) as entries from placed as p group by p.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_position - c.entries as before
    )
    update automatch.feed_entries as e
    set position = h.before + p.step, place = h.before + p.step
    from placed as p
    join counters as h on h.profile_id = p.profile_id
    where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform automatch.notify_feeds(p_profile_ids);
    end if;
end
$$;
comment on function automatch.move_feed_entries(uuid[], uuid[]) is
    'Move entries to the top of their feeds, in their old order, so that open pages update them. The feeds are '
    'locked first.';

create function automatch.resend_feed_entries(p_profile_id uuid, p_other_profile_ids uuid[], p_is_news boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    with placed as (
        select e.other_profile_id, row_number() over (order by e.position) as step
        from automatch.feed_entries as e
        where e.profile_id = p_profile_id and e.other_profile_id = any (p_other_profile_ids)
          -- Or whoever is hidden from the other, or hides, would learn that something happened.
          and automatch.may_see(e.profile_id, e.other_profile_id)
          and automatch.may_see(e.other_profile_id, e.profile_id)
    ),
    counter as (
        update automatch.feed_counters as h
        set last_position = h.last_position + (select count(*) from placed)
        where h.profile_id = p_profile_id
        returning h.last_position - (select count(*) from placed) as before
    )
    update automatch.feed_entries as e
    set position = c.before + p.step, place = case when p_is_news then c.before + p.step else e.place end,
        seen_at = case when not p_is_news then e.seen_at end
    from placed as p cross join counter as c
    where e.profile_id = p_profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform automatch.notify_feeds(array[p_profile_id]);
    end if;
end
$$;
comment on function automatch.resend_feed_entries(uuid, uuid[], boolean) is
    'Have open pages read some entries of a feed, which is locked, again, of those where each sees the other; those that '
    'are news go to the top and are new again.';

create function automatch.bump_feed_entries(p_match_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.move_feed_entries(array_agg(e.profile_id), array_agg(e.other_profile_id))
    from public.matches as m
    cross join lateral (
        values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
    ) as side (profile_id, other_profile_id)
    join automatch.feed_entries as e
        on e.profile_id = side.profile_id and e.other_profile_id = side.other_profile_id and e.match_id = m.id
    where m.id = any (p_match_ids)
$$;
comment on function automatch.bump_feed_entries(uuid[]) is 'Move the entries that show these matches to the top.';

create function automatch.list_viewers(p_profile_id uuid, p_other_profile_id uuid)
returns uuid[] language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array[p_profile_id, p_other_profile_id]);
    return array(
        select v.viewer
        from (values (p_profile_id, p_other_profile_id), (p_other_profile_id, p_profile_id)) as v (viewer, other)
        where automatch.may_see(v.viewer, v.other)
    );
end
$$;
comment on function automatch.list_viewers(uuid, uuid) is 'Which of two people see the other; locks both feeds.';

create function automatch.show_best_match(p_profile_id uuid, p_other_profile_id uuid, p_told uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces constant uuid[] := array(
        select f.id from public.faces as f where f.profile_id in (p_profile_id, p_other_profile_id)
    );
    v_match_id uuid;
    v_side uuid;
    v_position bigint;
begin
    -- Two photos of one person are no match. Without an index of its own, which each match would write.
    select m.id into v_match_id
    from public.matches as m
    where m.face_a_id = any (v_faces) and m.face_b_id = any (v_faces)
    order by m.similarity desc, m.id
    limit 1;
    foreach v_side in array array[p_profile_id, p_other_profile_id] loop
        update automatch.feed_counters as h
        set last_position = h.last_position + 1
        where h.profile_id = v_side
          and v_side = any (p_told)
          and exists (
              select from automatch.feed_entries as e
              where e.profile_id = v_side
                and e.other_profile_id in (p_profile_id, p_other_profile_id)
          )
        returning h.last_position into v_position;
        update automatch.feed_entries as e
        set position = coalesce(v_position, e.position), match_id = v_match_id,
            last_match_id = coalesce(e.match_id, e.last_match_id)
        where e.profile_id = v_side
          and e.other_profile_id in (p_profile_id, p_other_profile_id);
        if v_position is not null then
            perform automatch.notify_feeds(array[v_side]);
        end if;
    end loop;
end
$$;
comment on function automatch.show_best_match(uuid, uuid, uuid[]) is
    'Put the best remaining match of two people, or none, in both feeds, which are locked. Only open pages of p_told '
    'read it: whoever does not see the other must not learn that something happened.';

create function automatch.refresh_feeds(p_profile_id uuid, p_other_profile_id uuid, p_viewers uuid[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_both constant uuid[] := array[p_profile_id, p_other_profile_id];
    v_viewers constant uuid[] := automatch.list_viewers(p_profile_id, p_other_profile_id);
begin
    perform automatch.show_best_match(p_profile_id, p_other_profile_id, array(
        select s.id from unnest(v_both) as s (id)
        where p_viewers is null or (s.id = any (p_viewers)) <> (s.id = any (v_viewers))
    ));
end
$$;
comment on function automatch.refresh_feeds(uuid, uuid, uuid[]) is
    'Show the best remaining match of two people in both feeds, or remove the card. Given those who saw the other before, '
    'only where that has changed: nobody is told of what changes nothing for them.';

create function automatch.matches_deleted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_feeds(array(
        select unnest(array[g.profile_a_id, g.profile_b_id]) from deleted_matches as g
    ));
    perform automatch.show_best_match(pair.low, pair.high, automatch.list_viewers(pair.low, pair.high))
    from (
        select distinct
            least(g.profile_a_id, g.profile_b_id) as low,
            greatest(g.profile_a_id, g.profile_b_id) as high
        from deleted_matches as g
        -- A card that shows another pair of photos does not change.
        where exists (
            select from automatch.feed_entries as e
            where e.match_id = g.id
              and e.profile_id in (g.profile_a_id, g.profile_b_id)
              and e.other_profile_id in (g.profile_a_id, g.profile_b_id)
        )
    ) as pair;
    return null;
end
$$;

create trigger matches_deleted
after delete on public.matches
referencing old table as deleted_matches
for each statement execute function automatch.matches_deleted();

create function public.feed_page(
    p_before bigint default null, p_after bigint default null, p_limit integer default 20
)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        e.position, m.id, e.other_profile_id, p.name, p.school,
        case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end,
        case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end,
        automatch.shown_similarity(m.similarity),
        p.simulated, e.created_at, coalesce(e.match_id, e.last_match_id), e.place,
        l.profile_id is not null, coalesce(l.mutual, false), coalesce(l.was_mutual and e.seen_at is null, false),
        l.sentence, l.handle,
        m.id is not null and e.seen_at is null
    from automatch.feed_entries as e
    left join public.matches as m
        on m.id = e.match_id and automatch.may_see(e.profile_id, e.other_profile_id)
    left join public.profiles as p on p.id = e.other_profile_id and m.id is not null
    left join automatch.shown_likes as l
        on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id and m.id is not null
    where e.profile_id = (select automatch.uid())
      and (p_before is null or e.place < p_before)
      and (p_after is null or e.position > p_after)
      -- Removed cards only matter to pages that are open.
      and (m.id is not null or p_after is not null)
    order by
        case when p_after is null then e.place end desc,
        case when p_after is not null then e.position end
    limit least(greatest(p_limit, 1), 100)
$$;
comment on function public.feed_page(bigint, bigint, integer) is
    'The caller''s feed: newest first before a place, or what changed after a position, oldest change first, there '
    'with a null match_id for removed cards. sentence and handle: what the other shares, once both have liked. '
    'was_mutual: that both did and the other took it back, until the caller has seen it.';

create function public.feed_position()
returns bigint language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select h.last_position from automatch.feed_counters as h
                     where h.profile_id = (select automatch.uid())), 0)
$$;
comment on function public.feed_position() is 'The last position of the caller''s feed.';

-- Many people are read for at once, each as himself: the role and the claims change inside of one statement. So the
-- policies say what each sees, and nobody has to say it again for many.
create function public.take_role_of(p_claims jsonb)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if p_claims ->> 'role' is distinct from 'authenticated' or not public.is_session_live(p_claims) then
        return false;
    end if;
    perform set_config('request.jwt.claims', p_claims::text, true), set_config('role', 'authenticated', true);
    return true;
end
$$;
comment on function public.take_role_of(jsonb) is
    'Take the role and the claims of a person until the role is set to none, unless their session has ended.';

create function public.read_feed_positions(p_claims jsonb[])
returns table (reader integer, "position" bigint)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, public.feed_position();
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_feed_positions(jsonb[]) is
    'feed_position() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.read_feeds(p_claims jsonb[], p_after bigint[], p_limit integer default 100)
returns table (
    reader integer, "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid,
    own_face_id uuid, similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid,
    place bigint, liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, f.*
                from public.feed_page(p_after => p_after[v_reader], p_limit => p_limit) as f;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_feeds(jsonb[], bigint[], integer) is
    'feed_page() after a position as each of many people, under row level security as that person; nothing of ended '
    'sessions.';

create function public.read_own_jobs(p_claims jsonb[], p_limit integer default 20)
returns table (
    reader integer, id uuid, face_id uuid, status text, attempts smallint, max_attempts smallint, error_code text,
    error_message text, created_at timestamptz, started_at timestamptz, completed_at timestamptz, match_count integer,
    timings jsonb, face_boxes jsonb, refused_picture jsonb, request_id uuid, matches_now integer
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, j.id, j.face_id, j.status, j.attempts, j.max_attempts, j.error_code, j.error_message,
                    j.created_at, j.started_at, j.completed_at, j.match_count, j.timings, j.face_boxes, j.refused_picture,
                    j.request_id,
                    case when j.status = 'completed' then automatch.count_shown_matches(j.face_id) end
                from public.match_jobs as j
                where j.user_id = automatch.uid()
                order by j.created_at desc, j.id
                limit p_limit;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_own_jobs(jsonb[], integer) is
    'The newest jobs of each of many people, under row level security as that person; nothing of ended sessions.';

create function public.read_new_matches(p_claims jsonb[], p_after bigint[], p_limit integer default 100)
returns table (
    reader integer, number bigint, id uuid, face_a_id uuid, face_b_id uuid, created_at timestamptz
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query
                select v_reader, n.number, m.id, m.face_a_id, m.face_b_id, m.created_at
                from public.matches_after(p_after[v_reader], p_limit) as n
                left join public.matches as m on m.id = n.match_id
                order by n.number;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_new_matches(jsonb[], bigint[], integer) is
    'New matches of each of many people, in order, under row level security as that person, with a null id where a '
    'match is deleted or may not be read; nothing of ended sessions.';

create function public.feed_versions(p_profile_ids uuid[])
returns table (profile_id uuid, last_position bigint, jobs_version bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- With the number of the last match: a subscriber also gets matches that the feed does not show. And with what
    -- was seen, which the person's other pages show too.
    select h.profile_id, h.last_position, coalesce(jobs.version, 0) + h.last_match + h.seen_count
    from automatch.feed_counters as h
    cross join lateral (
        -- The token changes with every claim, even if a job fails twice in the same way between two calls.
        select sum(
            pg_catalog.hashtextextended(j.id::text || j.status || j.attempts::text || j.lease_token::text, 0) >> 8
        )::bigint as version
        from (
            select m.id, m.status, m.attempts, m.lease_token from public.match_jobs as m
            where m.user_id = h.profile_id
            order by m.created_at desc
            limit 20
        ) as j
    ) as jobs
    where h.profile_id = any (p_profile_ids)
$$;
comment on function public.feed_versions(uuid[]) is
    'Numbers that change whenever the feed or the newest jobs of a person change, so that a server knows whom '
    'to notify.';

-- 52_realtime_publication.sql

-- New matches over Supabase Realtime, where a project has it.

create function automatch.add_matches_to_realtime()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from pg_catalog.pg_publication as p
        where p.pubname = 'supabase_realtime' and not p.puballtables
    ) or exists (
        select from pg_catalog.pg_publication_tables as t
        where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'matches'
    ) then
        return;
    end if;
    -- The columns that a person may select; the policy of matches decides who gets a row.
    alter publication supabase_realtime add table public.matches (id, face_a_id, face_b_id, created_at);
exception
    when insufficient_privilege then
        raise warning 'matches is not published: % does not own the publication supabase_realtime', current_user
            using hint = 'Its owner can run: select automatch.add_matches_to_realtime()';
end
$$;
comment on function automatch.add_matches_to_realtime() is
    'Add matches to the publication of Supabase Realtime, where there is one. May be called again.';

select automatch.add_matches_to_realtime();

-- 53_profile_changes.sql

-- Consequences of changing, pausing and erasing a profile.

create function automatch.lock_related_feeds(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    loop
        v_others := array(
            select distinct e.other_profile_id from automatch.feed_entries as e
            where e.profile_id = any (p_profile_ids) and e.match_id is not null
        );
        begin
            perform automatch.lock_feeds(v_others || p_profile_ids);
            -- Somebody new may have come into a feed just before it was locked, and locking their feed now
            -- would be out of order. The error releases all these locks.
            exit when not exists (
                select from automatch.feed_entries as e
                where e.profile_id = any (p_profile_ids)
                  and e.match_id is not null
                  -- Hashed: of many people this is tens of thousands.
                  and e.other_profile_id not in (select unnest(v_others))
            );
            raise exception using errcode = 'AM002', message = 'the feed has grown';
        exception when sqlstate 'AM002' then
            null;
        end;
    end loop;
end
$$;
comment on function automatch.lock_related_feeds(uuid[]) is
    'Lock the feeds of people and all feeds that show them, at once, after their profiles.';

create function automatch.lock_for_erasing(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_profile_id for update;
    perform automatch.lock_related_feeds(array[p_profile_id]);
    perform from public.faces as f where f.profile_id = p_profile_id order by f.id for update;
    perform from public.match_jobs as j where j.user_id = p_profile_id order by j.id for update;
end
$$;
comment on function automatch.lock_for_erasing(uuid) is
    'Lock everything that changes when a face of this person, or the person, is erased.';

create function automatch.profile_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_others uuid[];
begin
    perform automatch.lock_for_erasing(old.id);
    insert into automatch.erasures default values on conflict do nothing;
    -- What is in a feed is in the other one too, so an index finds the entries that name this person.
    with others as (
        select e.profile_id,
            -- Or whoever is hidden from the other would learn that something happened.
            e.match_id is not null and automatch.may_see(e.profile_id, old.id) as is_told
        from automatch.feed_entries as own
        join automatch.feed_entries as e on e.profile_id = own.other_profile_id and e.other_profile_id = old.id
        where own.profile_id = old.id
    ),
    counters as (
        update automatch.feed_counters as h
        set last_position = h.last_position + 1
        from others as o
        where h.profile_id = o.profile_id and o.is_told
        returning h.profile_id, h.last_position
    ),
    removed as (
        update automatch.feed_entries as e
        set other_profile_id = gen_random_uuid(), match_id = null, position = coalesce(c.last_position, e.position),
            last_match_id = coalesce(e.match_id, e.last_match_id)
        from others as o
        left join counters as c on c.profile_id = o.profile_id
        where e.profile_id = o.profile_id and e.other_profile_id = old.id
        returning e.profile_id
    )
    select array_agg(r.profile_id) into v_others from removed as r;
    perform automatch.notify_feeds(v_others);
    return old;
end
$$;

create trigger profiles_erased before delete on public.profiles
for each row execute function automatch.profile_erased();

create function automatch.enqueue_searches(p_face_ids uuid[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
    v_open uuid[];
begin
    -- Without photos that have no embedding yet, which will be searched for by the new rules; without people
    -- whose search would fail; and without simulated people, whose feeds have no reader.
    v_faces := array(
        select f.id
        from public.faces as f
        join public.embedding_models as m on m.active
        join public.face_embeddings as e on e.model = m.id and e.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        where f.id = any (p_face_ids)
          and p.school is not null and p.gender is not null and p.admitted and not p.simulated
          and automatch.has_consent(p.id)
          and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by f.id
    );
    perform automatch.lock_pauses_shared();
    -- Locked here by id, as complete_match_jobs() does: enqueuing would lock them in the order of the photos.
    v_open := array(
        select j.id from public.match_jobs as j
        where j.face_id = any (v_faces) and j.completed_at is null
        order by j.id
        for no key update
    );
    -- Jobs in progress may have searched by the old rules: their leases end, as if they were released.
    update public.match_jobs as j
    set status = 'pending', attempts = j.attempts - 1, lease_token = j.lease_token + 1,
        scheduled = exists (select from automatch.paused_schools as s where s.school = j.school),
        run_at = automatch.now(), lease_expires_at = null, worker_id = null
    where j.id = any (v_open) and j.status = 'processing';
    if found then
        perform automatch.wake_workers();
    end if;
    -- Priority 3: uploads, for which somebody waits, go first. Open jobs will search by the new rules; one that is
    -- queued only now is not locked, which would be out of order.
    insert into public.match_jobs (face_id, user_id, school, priority)
    select f.id, p.id, p.school, 3
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where f.id = any (v_faces) and not exists (
        select from public.match_jobs as j
        where j.face_id = f.id and j.completed_at is null
    )
    order by f.id
    on conflict do nothing;
    return cardinality(v_faces);
end
$$;
comment on function automatch.enqueue_searches(uuid[]) is
    'Search for photos again, after all uploads; searches in progress start over. The number of photos. The caller has '
    'locked their people so that nobody else does this for the same people at once: two would wait in a circle.';

create function automatch.enqueue_profile_searches(p_profile_id uuid)
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.enqueue_searches(array(
        select f.id from public.faces as f
        where f.profile_id = p_profile_id
          and exists (select from public.face_embeddings as e where e.face_id = f.id)
        order by f.created_at desc
        limit 100
    ))
$$;
comment on function automatch.enqueue_profile_searches(uuid) is
    'Search for the photos of a person again, after locking the profile and its feed.';

create function automatch.profile_moves()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Before the update: its cascades lock faces, which come after the feeds.
    perform automatch.lock_related_feeds(array[new.id]);
    return new;
end
$$;

create trigger profiles_lock_feeds
before update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_moves();

create function automatch.profile_moved()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profiles uuid[];
    v_others uuid[];
begin
    -- Each direction by itself, as in may_see(): a person who pauses still sees others.
    with pairs as materialized (
        select e.other_profile_id as other_id,
            coalesce(o.school = old.school and o.gender <> old.gender, false) and old.admitted and o.admitted as was_pair,
            coalesce(o.school = new.school and o.gender <> new.gender, false) and new.admitted and o.admitted as is_pair,
            o.profile_type = 'user' and o.discoverable as other_is_shown,
            old.profile_type = 'user' and old.discoverable as was_shown,
            new.profile_type = 'user' and new.discoverable as is_shown
        from automatch.feed_entries as e
        join public.profiles as o on o.id = e.other_profile_id
        where e.profile_id = new.id
          and e.match_id is not null
          and e.other_profile_id not in (select automatch.excluded_profile_ids(new.id))
    ),
    changed as (
        select new.id as profile_id, p.other_id as other_profile_id from pairs as p
        where p.other_is_shown and p.was_pair <> p.is_pair
        union all
        select p.other_id, new.id from pairs as p
        where (p.was_pair and p.was_shown) <> (p.is_pair and p.is_shown)
    )
    select array_agg(c.profile_id), array_agg(c.other_profile_id) into v_profiles, v_others from changed as c;
    perform automatch.move_feed_entries(v_profiles, v_others);
    perform automatch.tell_of_reader(l.profile_id, new.id, l.told_at)
    from automatch.likes as l where l.other_profile_id = new.id and l.mutual;

    if new.school is distinct from old.school
        or new.gender is distinct from old.gender
        or (new.discoverable and not old.discoverable)
        or (new.admitted and not old.admitted)
        or (new.profile_type = 'user' and old.profile_type <> 'user')
    then
        perform automatch.enqueue_profile_searches(new.id);
    end if;
    return null;
end
$$;
comment on function automatch.profile_moved() is
    'Remove cards that are no longer allowed from both feeds, bring back those that are allowed again, and '
    'search again.';

-- Triggers run in the order of their names: profiles_changed has updated face_index before.
create trigger profiles_moved
after update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_moved();

-- 54_holds.sql

-- Freezing people and holding photos: nothing is erased, and everything comes back.

create function public.freeze_person(p_id uuid, p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_id for no key update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
    insert into automatch.frozen_profiles as f (profile_id, reason) values (p_id, p_reason)
    on conflict (profile_id) do update set reason = excluded.reason;
end
$$;
comment on function public.freeze_person(uuid, text) is
    'From now on the person finds nobody and nobody finds them; nothing is erased.';

create function public.unfreeze_person(p_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.profiles as p where p.id = p_id for no key update;
    delete from automatch.frozen_profiles as f where f.profile_id = p_id;
    return found;
end
$$;
comment on function public.unfreeze_person(uuid) is 'Undo freeze_person(). Whether the person was frozen.';

create function automatch.standing_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.notify_feeds(array[new.id]);
    return null;
end
$$;
comment on function automatch.standing_changed() is 'Wake the open pages of a person who takes part from now on, or no more.';

create trigger profiles_standing_changed after update of admitted, discoverable on public.profiles
for each row
when (old.admitted is distinct from new.admitted or old.discoverable is distinct from new.discoverable)
execute function automatch.standing_changed();

create function automatch.lock_for_holding(p_face_id uuid)
returns public.profiles language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles;
begin
    select p.* into v_profile
    from public.faces as f join public.profiles as p on p.id = f.profile_id
    where f.id = p_face_id
    for no key update of p;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such photo.');
    end if;
    perform automatch.lock_related_feeds(array[v_profile.id]);
    return v_profile;
end
$$;
comment on function automatch.lock_for_holding(uuid) is
    'Lock what changes when a photo is held or released; its person.';

create function automatch.hold_face(p_face_id uuid, p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles := automatch.lock_for_holding(p_face_id);
begin
    insert into automatch.held_faces as h (face_id, reason) values (p_face_id, p_reason)
    on conflict (face_id) do update set reason = excluded.reason;
    if v_profile.school is not null and v_profile.gender is not null then
        perform automatch.unindex_faces(v_profile.school, v_profile.gender, array[p_face_id]);
    end if;
    delete from public.matches as m where p_face_id in (m.face_a_id, m.face_b_id);
end
$$;
comment on function automatch.hold_face(uuid, text) is
    'Keep a photo from being found or searched for until it is released, and remove its matches from both feeds.';

create function automatch.release_face(p_face_id uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.lock_for_holding(p_face_id);
    delete from automatch.held_faces as h where h.face_id = p_face_id;
    if not found then
        return false;
    end if;
    perform automatch.index_faces(array[p_face_id]);
    perform automatch.enqueue_searches(array[p_face_id]);
    return true;
end
$$;
comment on function automatch.release_face(uuid) is 'Undo hold_face(), and search for the photo. Whether it was held.';

-- 55_deliveries.sql

-- When matches reached the open pages of their people: the last stage of a job. A table of its own, because a change
-- of a job or a match would be news for open pages again.

create table automatch.deliveries (
    job_id uuid not null references public.match_jobs (id) on delete cascade,
    profile_id uuid not null references public.profiles (id) on delete cascade,
    delivered_at timestamptz not null,
    was_open boolean not null,
    primary key (job_id, profile_id)
);
comment on table automatch.deliveries is
    'When the first match of a job was written to a page of one of its people: the uploader, or who was found.';
comment on column automatch.deliveries.was_open is
    'Whether the page was open when the match was made; of one that came later the time says nothing about us.';
create index deliveries_profile_idx on automatch.deliveries (profile_id);
-- For the numbers of the last minutes (56_history.sql).
create index deliveries_delivered_idx on automatch.deliveries using brin (delivered_at) with (pages_per_range = 32);

create function public.record_deliveries(
    p_profile_ids uuid[], p_match_ids uuid[], p_written_ago double precision[], p_opened_ago double precision[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := automatch.now();
begin
    -- In the order of all locks, before the foreign keys take them in the order of the rows; whoever is being erased is
    -- waited for, and is gone then.
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for key share;
    with written as materialized (
        select j.id as job_id, w.profile_id, v_now - make_interval(secs => w.written_ago) as written_at,
            m.created_at >= v_now - make_interval(secs => w.opened_ago) as was_open
        from unnest(p_profile_ids, p_match_ids, p_written_ago, p_opened_ago)
            as w (profile_id, match_id, written_ago, opened_ago)
        join public.profiles as p on p.id = w.profile_id
        join public.matches as m on m.id = w.match_id and w.profile_id in (m.profile_a_id, m.profile_b_id)
        -- complete_jobs() gives a job and its matches one time. Two jobs of a batch may have found each other.
        join public.match_jobs as j
            on j.face_id = any (array[m.face_a_id, m.face_b_id]) and j.completed_at = m.created_at
        order by j.id
        for key share of j
    )
    insert into automatch.deliveries as d (job_id, profile_id, delivered_at, was_open)
    select distinct on (w.job_id, w.profile_id) w.job_id, w.profile_id, w.written_at, w.was_open
    from written as w
    order by w.job_id, w.profile_id, w.written_at
    -- Another page of the person, perhaps of another server, may have been earlier.
    on conflict (job_id, profile_id) do update
        set delivered_at = excluded.delivered_at, was_open = excluded.was_open
        where excluded.delivered_at < d.delivered_at;
end
$$;
comment on function public.record_deliveries(uuid[], uuid[], double precision[], double precision[]) is
    'Record which matches were written to pages of whom, how many seconds ago, and how long ago each page had opened: '
    'ages, because the clocks of servers differ.';

create function automatch.delivery_times(p_job_ids uuid[])
returns table (job_id uuid, timings jsonb, reached bigint, seen_later bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        j.id,
        jsonb_strip_nulls(jsonb_build_object(
            'delivered_ms', max(t.ms) filter (where d.profile_id = j.user_id),
            'others_delivered_ms', max(t.ms) filter (where d.profile_id <> j.user_id)
        )),
        count(*) filter (where d.was_open),
        count(*) filter (where not d.was_open)
    from public.match_jobs as j
    join automatch.deliveries as d on d.job_id = j.id
    left join lateral (
        select round(1000 * extract(epoch from d.delivered_at - j.created_at), 1) as ms where d.was_open
    ) as t on true
    where j.id = any (p_job_ids)
    group by j.id
$$;
comment on function automatch.delivery_times(uuid[]) is
    'Milliseconds from created_at until the uploader had the first match, and the last of the others theirs; how many '
    'people had a page open, and how many saw a match later.';

-- 56_history.sql

-- What happened, every five minutes of the last 30 days: numbers that outlive the jobs, with nobody in them.

create table automatch.history (
    starts_at timestamptz primary key,
    queued integer not null,
    completed integer not null,
    background integer not null,
    matches bigint not null,
    seen_later integer not null,
    failures jsonb not null,
    stages jsonb not null,
    open_jobs integer not null,
    oldest_s double precision
);
comment on table automatch.history is 'Jobs of five minutes each; measure_history() says how the numbers are made.';
comment on column automatch.history.completed is 'Jobs that ended with a search, those of background included.';
comment on column automatch.history.background is 'Completed jobs that nobody waited for.';
comment on column automatch.history.seen_later is 'Times that somebody saw matches of a job on a page that was not open when they were made.';
comment on column automatch.history.failures is 'Failed jobs by error_code.';
comment on column automatch.history.stages is
    'Of completed jobs that somebody waited for: by stage the sum of its milliseconds (`ms`), and how many took how '
    'long (`counts`): n counts those of up to 2^(n/2) ms that n - 1 does not.';
comment on column automatch.history.open_jobs is 'Pending or processing at the end.';
comment on column automatch.history.oldest_s is 'Age of the oldest of them that does not wait for a set time.';

create function automatch.stage_times(p_from timestamptz, p_until timestamptz)
returns table (stage text, ms double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- As in measure_history().
set enable_seqscan = off
as $$
    with jobs as materialized (
        select j.id, j.user_id, j.created_at, j.completed_at, t.*
        from public.match_jobs as j
        cross join lateral jsonb_to_record(j.timings) as t (
            claimed_ms double precision, embedded_ms double precision, searched_ms double precision,
            written_ms double precision, decode_ms double precision, detect_ms double precision,
            embed_ms double precision
        )
        where j.completed_at >= p_from and j.completed_at < p_until and j.status = 'completed' and j.priority < 3
    )
    select s.stage, greatest(s.ms, 0)
    from jobs as j
    cross join lateral (values
        ('wait', j.claimed_ms),
        ('decode', j.decode_ms),
        ('detect', j.detect_ms),
        ('embed', j.embed_ms),
        ('store', j.embedded_ms - j.claimed_ms
            - coalesce(j.decode_ms, 0) - coalesce(j.detect_ms, 0) - coalesce(j.embed_ms, 0)),
        ('search', j.searched_ms - coalesce(j.embedded_ms, j.claimed_ms)),
        ('publish', j.written_ms - j.searched_ms),
        ('to_end', j.written_ms)
    ) as s (stage, ms)
    where s.ms is not null
    union all
    select s.stage, 1000 * extract(epoch from s.took)::double precision
    from jobs as j
    join automatch.deliveries as d on d.job_id = j.id and d.was_open
    cross join lateral (values
        (case when d.profile_id = j.user_id then 'deliver' else 'deliver_to_others' end, d.delivered_at - j.completed_at),
        (case when d.profile_id = j.user_id then 'to_screen' end, d.delivered_at - j.created_at)
    ) as s (stage, took)
    where s.stage is not null
$$;
comment on function automatch.stage_times(timestamptz, timestamptz) is
    'How long each stage of each job took that was completed in that time and that somebody waited for. to_end and '
    'to_screen are whole ways, the latter of uploaders whose page was open.';

create function automatch.measure_history(p_starts_at timestamptz)
returns automatch.history language sql stable security definer set search_path = pg_catalog, pg_temp
-- For the BRIN indexes of times, whatever the statistics say.
set enable_seqscan = off
as $$
    with span as (
        select p_starts_at as starts_at, p_starts_at + interval '5 minutes' as ends_at
    ),
    ended as materialized (
        select j.id, j.status, j.priority, j.match_count, j.error_code
        from span as s
        join public.match_jobs as j on j.completed_at >= s.starts_at and j.completed_at < s.ends_at
    ),
    -- Jobs that ended since were open then.
    open as (
        select count(*) as jobs, min(o.created_at) filter (where not o.scheduled) as oldest_at
        from span as s
        cross join lateral (
            select j.created_at, j.scheduled from public.match_jobs as j
            where j.completed_at is null and j.created_at < s.ends_at
            union all
            select j.created_at, j.scheduled from public.match_jobs as j
            where j.completed_at >= s.ends_at and j.created_at < s.ends_at
        ) as o
    ),
    times as (
        select t.stage, least(greatest(ceil(2 * log(2, greatest(t.ms, 1)::numeric)), 0), 48) as step,
            count(*) as jobs, sum(t.ms) as ms
        from span as s cross join lateral automatch.stage_times(s.starts_at, s.ends_at) as t
        group by 1, 2
    ),
    stages as (
        select t.stage, jsonb_build_object(
            'ms', round(sum(t.ms)::numeric, 1), 'counts', jsonb_object_agg(t.step::text, t.jobs)
        ) as numbers
        from times as t group by t.stage
    )
    select
        s.starts_at,
        (select count(*)::integer from public.match_jobs as j
            where j.created_at >= s.starts_at and j.created_at < s.ends_at),
        (select count(*)::integer from ended as e where e.status = 'completed'),
        (select count(*)::integer from ended as e where e.status = 'completed' and e.priority = 3),
        (select coalesce(sum(e.match_count), 0) from ended as e),
        (select count(*)::integer from automatch.deliveries as d
            where d.delivered_at >= s.starts_at and d.delivered_at < s.ends_at and not d.was_open),
        (select coalesce(jsonb_object_agg(f.code, f.jobs), '{}') from (
            select e.error_code as code, count(*) as jobs from ended as e where e.status = 'failed' group by 1
        ) as f),
        (select coalesce(jsonb_object_agg(g.stage, g.numbers), '{}') from stages as g),
        open.jobs::integer,
        extract(epoch from least(s.ends_at, automatch.now()) - open.oldest_at)::double precision
    from span as s cross join open
$$;
comment on function automatch.measure_history(timestamptz) is
    'The numbers of the five minutes from then on, so far, from the jobs that are kept.';

create function automatch.next_history()
returns timestamptz language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select greatest(
        coalesce(
            (select max(h.starts_at) from automatch.history as h) + interval '5 minutes',
            date_bin('5 minutes', (select min(j.created_at) from public.match_jobs as j), 'epoch'),
            date_bin('5 minutes', automatch.now(), 'epoch')
        ),
        date_bin('5 minutes', automatch.now() - interval '7 days', 'epoch')
    )
$$;
comment on function automatch.next_history() is
    'The first five minutes that history lacks, none older than a week: the jobs of that time are gone.';

create function public.record_history()
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    -- Whoever else is at it does the same.
    if not pg_try_advisory_xact_lock(automatch.lock_key('history')) then
        return 0;
    end if;
    insert into automatch.history
    select m.*
    -- Half a minute later, when servers have told what they delivered.
    from generate_series(
        automatch.next_history(), automatch.now() - interval '5 minutes 30 seconds', interval '5 minutes'
    ) with ordinality as due (starts_at, place)
    cross join lateral automatch.measure_history(due.starts_at) as m
    where due.place <= 100
    on conflict (starts_at) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.record_history() is
    'Write the numbers of the five minutes that are over, at most a hundred of them; how many. Call again until it is 0.';

create function public.get_history(p_age interval, p_step interval)
returns table (
    starts_at timestamptz, queued bigint, completed bigint, background bigint, matches bigint, seen_later bigint,
    failures jsonb, refusals jsonb, stages jsonb, open_jobs integer, oldest_s double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with kept as materialized (
        select date_bin(p_step, h.starts_at, 'epoch') as step, h.*
        from (
            select k.* from automatch.history as k
            union all
            -- What is not recorded yet, of two hours at most.
            select m.*
            from generate_series(
                greatest(automatch.next_history(), date_bin('5 minutes', automatch.now() - interval '2 hours', 'epoch')),
                automatch.now(), interval '5 minutes'
            ) as late (starts_at)
            cross join lateral automatch.measure_history(late.starts_at) as m
        ) as h
        where h.starts_at > automatch.now() - p_age - interval '5 minutes'
    ),
    failures as (
        select f.step, jsonb_object_agg(f.code, f.jobs) as jobs
        from (
            select k.step, c.key as code, sum(c.value::bigint) as jobs
            from kept as k cross join lateral jsonb_each_text(k.failures) as c group by 1, 2
        ) as f
        group by f.step
    ),
    refusals as (
        select f.step, jsonb_object_agg(f.code, f.uploads) as uploads
        from (
            select date_bin(p_step, r.starts_at, 'epoch') as step, r.code, sum(r.uploads) as uploads
            from automatch.upload_refusals as r
            where r.starts_at > automatch.now() - p_age - interval '5 minutes'
            group by 1, 2
        ) as f
        group by f.step
    ),
    counts as (
        select c.step, c.stage, jsonb_object_agg(c.bucket, c.jobs) as counts
        from (
            select k.step, s.key as stage, b.key as bucket, sum(b.value::bigint) as jobs
            from kept as k
            cross join lateral jsonb_each(k.stages) as s
            cross join lateral jsonb_each_text(s.value -> 'counts') as b
            group by 1, 2, 3
        ) as c
        group by 1, 2
    ),
    sums as (
        select k.step, s.key as stage, sum((s.value ->> 'ms')::double precision) as ms
        from kept as k cross join lateral jsonb_each(k.stages) as s group by 1, 2
    ),
    stages as (
        select c.step, jsonb_object_agg(c.stage, jsonb_build_object('ms', t.ms, 'counts', c.counts)) as numbers
        from counts as c join sums as t on t.step = c.step and t.stage = c.stage group by c.step
    )
    select k.step, sum(k.queued), sum(k.completed), sum(k.background), sum(k.matches)::bigint, sum(k.seen_later),
        coalesce(f.jobs, '{}'), coalesce(r.uploads, '{}'), coalesce(s.numbers, '{}'), max(k.open_jobs), max(k.oldest_s)
    from kept as k
    left join failures as f on f.step = k.step
    left join refusals as r on r.step = k.step
    left join stages as s on s.step = k.step
    group by k.step, f.jobs, r.uploads, s.numbers
    order by k.step
$$;
comment on function public.get_history(interval, interval) is
    'History from so long ago until now, added up in steps; open_jobs and oldest_s are the most of each step.';

-- 57_servers.sql

-- Which servers run, and how many pages each keeps up to date.

create table automatch.servers (
    id uuid primary key,
    host text not null,
    version text not null,
    started_at timestamptz not null default automatch.now(),
    seen_at timestamptz not null default automatch.now(),
    streams integer not null,
    channels integer not null,
    keys jsonb not null default '{}'
)
-- So that a sign of life touches no index.
with (fillfactor = 50);
comment on table automatch.servers is 'Servers that have shown a sign of life; a stop takes the row away.';
comment on column automatch.servers.streams is 'Open feeds of pages and apps.';
comment on column automatch.servers.channels is 'Channels of supabase clients.';
comment on column automatch.servers.keys is
    'What its host has in its data folder, by name: fingerprints, which are the same on all hosts.';

create table automatch.upload_refusals (
    starts_at timestamptz not null,
    code text not null,
    uploads integer not null,
    primary key (starts_at, code)
);
comment on table automatch.upload_refusals is
    'Uploads that were refused in five minutes, by error code: they made no job, so nothing else tells of them.';

create function public.report_server(
    p_server_id uuid, p_host text, p_version text, p_streams integer, p_channels integer, p_refusals jsonb default '{}',
    p_keys jsonb default '{}'
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.servers as s
    set seen_at = automatch.now(), streams = p_streams, channels = p_channels, keys = p_keys
    where s.id = p_server_id;
    if not found then
        -- Those that were killed.
        delete from automatch.servers as s where s.seen_at < automatch.now() - interval '1 hour';
        insert into automatch.servers (id, host, version, streams, channels, keys)
        values (p_server_id, p_host, p_version, p_streams, p_channels, p_keys);
    end if;
    insert into automatch.upload_refusals as r (starts_at, code, uploads)
    select date_bin('5 minutes', automatch.now(), 'epoch'), n.key, n.value::integer
    from jsonb_each_text(p_refusals) as n
    -- So that two servers lock the rows in one order.
    order by n.key
    on conflict (starts_at, code) do update set uploads = r.uploads + excluded.uploads;
end
$$;
comment on function public.report_server(uuid, text, text, integer, integer, jsonb, jsonb) is
    'Show a sign of life, every ten seconds, and tell how many uploads were refused since the last one, by error code.';

create function public.forget_server(p_server_id uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ delete from automatch.servers as s where s.id = p_server_id $$;
comment on function public.forget_server(uuid) is 'Say that a server stops.';

create function public.list_servers()
returns table (
    id uuid, host text, version text, started_at timestamptz, seen_at timestamptz, streams integer, channels integer,
    keys jsonb, alive boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.host, s.version, s.started_at, s.seen_at, s.streams, s.channels, s.keys,
        s.seen_at > automatch.now() - interval '30 seconds'
    from automatch.servers as s
    order by s.started_at, s.id
$$;
comment on function public.list_servers() is
    'The servers; one that was silent for half a minute is not alive, and forgotten after an hour.';

-- 58_overview.sql

-- What operators see at a glance, for the server's login. The queue itself is in 36_queue_admin.sql.

create function public.get_job_rates()
returns table (queued_minute bigint, ended_minute bigint, queued_hour bigint, ended_hour bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- For match_jobs_created_idx and match_jobs_completed_idx, whatever the statistics say.
set enable_seqscan = off
as $$
    select
        count(*) filter (where t.queued_at > t.now - interval '1 minute'),
        count(*) filter (where t.ended_at > t.now - interval '1 minute'),
        count(t.queued_at),
        count(t.ended_at)
    from (
        select n.now, j.created_at as queued_at, null as ended_at
        from (select automatch.now() as now) as n
        join public.match_jobs as j on j.created_at > n.now - interval '1 hour'
        union all
        select n.now, null, j.completed_at
        from (select automatch.now() as now) as n
        join public.match_jobs as j on j.completed_at > n.now - interval '1 hour'
    ) as t
$$;
comment on function public.get_job_rates() is 'Jobs that were queued and that ended in the last minute and hour.';

create function public.list_failure_reasons(p_age interval)
returns table (code text, jobs bigint, last_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    select j.error_code, count(*), max(j.completed_at)
    from public.match_jobs as j
    where j.completed_at > (select automatch.now() - p_age) and j.status = 'failed'
    group by j.error_code
    order by count(*) desc, j.error_code
$$;
comment on function public.list_failure_reasons(interval) is
    'Why jobs failed since then, of those that are kept and have not been retried.';

create function public.count_workers()
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- By what they hold, whatever a pooler makes of the names of sessions: a lock each, and the leases of their jobs.
    select greatest(
        (
            select count(*) from pg_locks as l
            join pg_database as d on d.oid = l.database and d.datname = current_database()
            where l.locktype = 'advisory' and l.objsubid = 1 and l.mode = 'ShareLock' and l.granted
              and (l.classid::bigint << 32) | l.objid::bigint = automatch.lock_key('worker')
        ),
        (
            select count(distinct j.worker_id) from automatch.held_jobs as j where j.lease_expires_at > automatch.now()
        )
    )::integer
$$;
comment on function public.count_workers() is 'How many workers are connected, busy or idle.';

create function public.list_worker_faults()
returns table (message text, workers bigint, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- A pause is no longer than a minute, and a worker reports at each.
    select f.message, count(*), min(f.since)
    from automatch.worker_faults as f
    where f.seen_at > automatch.now() - interval '3 minutes'
    group by f.message
    order by count(*) desc, f.message
$$;
comment on function public.list_worker_faults() is 'Why workers have paused, what most of them met first.';

create function public.list_schedule()
returns table (
    name text, schedule text, active boolean, last_run_at timestamptz, status text, message text,
    took_s double precision
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    -- Where the owner may not use the schema, to_regclass() would be an error.
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    -- By its oid, or a linter looks for the schema in databases that do without it.
    for name, schedule, active, last_run_at, status, message, took_s in execute format($query$
        select coalesce(j.jobname::text, j.jobid::text), j.schedule, j.active, d.start_time, d.status, d.return_message,
            extract(epoch from d.end_time - d.start_time)::double precision
        from %1$s.job as j
        left join lateral (
            select r.* from %1$s.job_run_details as r where r.jobid = j.jobid order by r.runid desc limit 1
        ) as d on true
        order by j.jobid
    $query$, v_cron::regnamespace) loop
        return next;
    end loop;
end
$$;
comment on function public.list_schedule() is
    'The entries of the cron schedule with their last runs, without their commands; none without pg_cron.';

-- 60_duplicates.sql

-- Accounts that may belong to the same person.

create table automatch.suspected_duplicates (
    id uuid primary key default gen_random_uuid(),
    profile_a_id uuid not null references public.profiles (id) on delete cascade,
    profile_b_id uuid not null references public.profiles (id) on delete cascade,
    u double precision not null,
    model text not null references public.embedding_models (id) on delete cascade,
    found_at timestamptz not null default automatch.now(),
    state text not null default 'open',
    decided_at timestamptz,
    decided_by text,
    constraint pair_is_ordered check (profile_a_id < profile_b_id),
    constraint pair_is_unique unique (profile_a_id, profile_b_id),
    constraint u_is_a_distance check (u between 0 and 2),
    constraint state_is_known check (state in ('open', 'dismissed', 'confirmed')),
    constraint decided_by_somebody check (
        (state = 'open') = (decided_at is null) and (state = 'open') = (decided_by is null)
    )
);
comment on table automatch.suspected_duplicates is
    'Pairs of accounts with photos that look like the same person: open until an operator confirms or dismisses '
    'them. Deleted with either account, and with the last photo of either.';
create index suspected_duplicates_b_idx on automatch.suspected_duplicates (profile_b_id);
create index suspected_duplicates_model_idx on automatch.suspected_duplicates (model);
create index suspected_duplicates_state_idx on automatch.suspected_duplicates (state, u);

create view automatch.excluded_profiles with (security_invoker = true) as
select d.profile_id, d.other_profile_id from public.match_dismissals as d
union
select d.other_profile_id, d.profile_id from public.match_dismissals as d
union
select b.profile_id, b.blocked_profile_id from public.profile_blocks as b
union
select b.blocked_profile_id, b.profile_id from public.profile_blocks as b
union
select s.profile_a_id, s.profile_b_id from automatch.suspected_duplicates as s
where s.state <> 'dismissed' and not (select m.match_same_person from public.match_settings as m)
union
select s.profile_b_id, s.profile_a_id from automatch.suspected_duplicates as s
where s.state <> 'dismissed' and not (select m.match_same_person from public.match_settings as m);
comment on view automatch.excluded_profiles is
    'People whom a person neither sees nor is shown to: dismissed or blocked by either of the two, or '
    'suspected to be the same person, where match_settings excludes those.';

create table automatch.duplicate_checks (
    face_id uuid primary key references public.faces (id) on delete cascade,
    queued_at timestamptz not null default automatch.now()
);
comment on table automatch.duplicate_checks is 'Photos that are still to be compared with the other accounts of their school.';
create index duplicate_checks_queued_idx on automatch.duplicate_checks (queued_at);

create function automatch.last_photo_deleted()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- A suspicion is personal data, derived from the photos.
    if not exists (select from public.faces as f where f.profile_id = old.profile_id) then
        delete from automatch.suspected_duplicates
        where profile_a_id = old.profile_id or profile_b_id = old.profile_id;
    end if;
    return null;
end
$$;

create trigger faces_last_deleted after delete on public.faces
for each row execute function automatch.last_photo_deleted();

create function automatch.find_lookalike_accounts(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text, p_count integer
)
returns table (profile_id uuid, u double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
declare
    v_half halfvec := p_embedding::halfvec;
    v_far double precision;
    v_near double precision;
    v_limit double precision;
begin
    select m.same_person_u, coalesce(m.same_person_same_gender_u, m.same_person_u) into v_far, v_near
    from public.embedding_models as m where m.id = p_model;
    v_limit := 2 * automatch.half_error() - (1 - v_far ^ 2 / 2);
    return query
    with close as materialized (
        -- "+ 0" keeps any vector index out.
        select i.face_id, i.profile_id, i.gender
        from public.face_index as i
        where i.model = p_model
          and i.school = p_school
          and i.gender = any (array['male', 'female'])
          and (i.embedding <#> v_half) + 0 <= v_limit
          and i.profile_id <> p_profile_id
    ),
    exact as (
        select c.profile_id, c.gender, sqrt(greatest(2 + 2 * (
                coalesce(f.embedding, automatch.read_sharded_embedding(p_model, c.face_id)) <#> p_embedding
            ), 0)) as u
        from close as c
        join public.face_embeddings as f on f.model = p_model and f.face_id = c.face_id
        join public.profiles as p on p.id = c.profile_id and not p.simulated
    )
    select e.profile_id, min(e.u)
    from exact as e
    where e.u <= case when e.gender = p_gender then v_near else v_far end
    group by e.profile_id
    order by min(e.u), e.profile_id
    limit p_count;
end
$$;
comment on function automatch.find_lookalike_accounts(text, vector, uuid, text, text, integer) is
    'Other accounts of a school that look like the person of an embedding, closest first. Without simulated people.';

create function automatch.find_absent_lookalikes(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text
)
returns table (profile_id uuid, u double precision)
language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
    with people as materialized (
        select p.id from public.profiles as p where p.school = p_school and not p.discoverable
        union
        select f.profile_id from automatch.frozen_profiles as f
        union
        select c.profile_id from automatch.settling_profiles as c
        union
        select f.profile_id
        from automatch.held_faces as h join public.faces as f on f.id = h.face_id
        where h.reason in ('reported', 'hidden')
    ),
    stored as materialized (
        select p.id, p.gender, f.id as face_id, e.embedding
        from people as o
        join public.profiles as p on p.id = o.id
        join public.faces as f on f.profile_id = p.id
        join public.face_embeddings as e on e.model = p_model and e.face_id = f.id
        where p.school = p_school and p.profile_type = 'user' and not p.simulated and p.id <> p_profile_id
          -- Whoever has no proof keeps nobody waiting, nor does a photo that nobody has let pass yet.
          and exists (
              select from automatch.schools as s
              where s.name = p.school and (s.is_open or exists (
                  select from automatch.memberships as m where m.profile_id = p.id and m.school_id = s.id
              ))
          )
          and not exists (
              select from automatch.held_faces as h
              where h.face_id = f.id and h.reason not in ('reported', 'hidden')
          )
    ),
    sharded as materialized (
        select s.face_id, s.embedding
        from automatch.read_sharded_embeddings(
            p_model, array(select e.face_id from stored as e where e.embedding is null)
        ) as s
    ),
    seen as (
        select e.id, e.gender, sqrt(greatest(2 + 2 * (coalesce(e.embedding, s.embedding) <#> p_embedding), 0)) as u
        from stored as e
        left join sharded as s on s.face_id = e.face_id
    )
    select s.id, min(s.u)
    from seen as s
    join public.embedding_models as m on m.id = p_model
    where s.u <= case
        when s.gender = p_gender then coalesce(m.same_person_same_gender_u, m.same_person_u) else m.same_person_u
    end
    group by s.id
$$;
comment on function automatch.find_absent_lookalikes(text, vector, uuid, text, text) is
    'Other accounts of a school that look like the person of an embedding and may come back: paused, frozen, settling, '
    'or with a photo that is hidden.';

create function automatch.find_duplicate_accounts(p_face_id uuid, p_count integer)
returns table (profile_id uuid, u double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_asked record;
begin
    select f.model, coalesce(f.embedding, automatch.read_sharded_embedding(m.id, p_face_id)) as embedding, p.id,
        p.school, p.gender into v_asked
    from public.embedding_models as m
    join public.face_embeddings as f on f.model = m.id and f.face_id = p_face_id
    join public.faces as o on o.id = f.face_id
    join public.profiles as p on p.id = o.profile_id and not p.simulated
    where m.active;
    if not exists (
        select from public.face_index as i
        where i.model = v_asked.model and i.school = v_asked.school and i.gender = v_asked.gender
          and i.face_id = p_face_id
    ) then
        return;
    end if;
    return query
        select d.profile_id, d.u
        from automatch.find_lookalike_accounts(
            v_asked.model, v_asked.embedding, v_asked.id, v_asked.school, v_asked.gender, p_count
        ) as d;
end
$$;
comment on function automatch.find_duplicate_accounts(uuid, integer) is
    'Other accounts of the school that look like the person on a photo that can be found, closest first.';

create function automatch.exclude_duplicates(p_found automatch.found_face[])
returns automatch.found_face[] language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Without waiting for detect_duplicates(): the similarity of what was found is enough.
    select coalesce(array_agg(row(f.job_id, f.face_id, f.profile_id, f.similarity)::automatch.found_face
        order by f.place), '{}')
    from unnest(p_found) with ordinality as f (job_id, face_id, profile_id, similarity, place)
    join public.match_jobs as j on j.id = f.job_id
    cross join public.embedding_models as m
    where m.active
      and (
          f.similarity < automatch.similarity(1 - m.same_person_u ^ 2 / 2, m.midpoint, m.width)
          or exists (
              select from automatch.suspected_duplicates as s
              where s.profile_a_id = least(f.profile_id, j.user_id)
                and s.profile_b_id = greatest(f.profile_id, j.user_id)
                and s.state = 'dismissed'
          )
      )
$$;
comment on function automatch.exclude_duplicates(automatch.found_face[]) is
    'What searches found, without people who look like the searching person, unless an operator dismissed that.';

create function automatch.apply_duplicate_decisions(p_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_pair record;
begin
    for v_pair in
        select s.profile_a_id, s.profile_b_id from automatch.suspected_duplicates as s
        where s.id = any (p_ids)
        order by s.profile_a_id, s.profile_b_id
    loop
        perform automatch.refresh_feeds(v_pair.profile_a_id, v_pair.profile_b_id);
    end loop;
    -- For one of the two: a match is one row for both.
    perform automatch.enqueue_searches(array(
        select f.id
        from automatch.suspected_duplicates as s
        join public.faces as f on f.profile_id = s.profile_a_id
        where s.id = any (p_ids) and automatch.may_see(s.profile_a_id, s.profile_b_id)
        order by f.id
    ));
end
$$;
comment on function automatch.apply_duplicate_decisions(uuid[]) is
    'Remove the cards of suspected pairs from both feeds or bring them back, and search again for those who may '
    'match again. After lock_duplicate_pairs().';

create function automatch.lock_duplicate_pairs(p_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_people uuid[] := array(
        select distinct unnest(array[s.profile_a_id, s.profile_b_id])
        from automatch.suspected_duplicates as s where s.id = any (p_ids)
    );
begin
    perform from public.profiles as p where p.id = any (v_people) order by p.id for no key update;
    perform automatch.lock_feeds(v_people);
end
$$;
comment on function automatch.lock_duplicate_pairs(uuid[]) is
    'Lock the profiles of suspected pairs and their feeds, before the pairs.';

create function automatch.claim_duplicate_checks(p_limit integer)
returns uuid[] language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select array(
        select due.face_id
        from (
            select c.face_id
            from automatch.duplicate_checks as c
            join public.faces as f on f.id = c.face_id
            join public.profiles as p on p.id = f.profile_id
            order by c.queued_at, c.face_id
            limit p_limit
            -- Skips profiles that are being changed or erased: those transactions lock the check after the
            -- profile, so waiting for them could be a deadlock.
            for update of c skip locked
            for share of p skip locked
        ) as due
    )
$$;
comment on function automatch.claim_duplicate_checks(integer) is 'Lock the next photos to check, and their profiles.';

create function public.detect_duplicates(p_limit integer default 20, out checked integer, out flagged integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
    v_pairs jsonb;
    v_people uuid[];
    v_new uuid[];
    v_matches boolean;
begin
    checked := 0;
    flagged := 0;
    -- Only while no job waits.
    if exists (
        select from public.match_jobs as j where j.completed_at is null and j.status = 'pending' and not j.scheduled
    ) then
        return;
    end if;
    v_faces := automatch.claim_duplicate_checks(p_limit);
    checked := cardinality(v_faces);
    if checked = 0 then
        return;
    end if;

    -- Read first, then locked in the common order: profiles, feeds, pairs.
    select jsonb_agg(jsonb_build_object('a', near.a, 'b', near.b, 'u', near.u, 'model', near.model))
    into v_pairs
    from (
        select distinct on (least(f.profile_id, s.profile_id), greatest(f.profile_id, s.profile_id))
            least(f.profile_id, s.profile_id) as a, greatest(f.profile_id, s.profile_id) as b, s.u,
            public.active_embedding_model() as model
        from unnest(v_faces) as face (id)
        join public.faces as f on f.id = face.id
        cross join lateral automatch.find_duplicate_accounts(f.id, 5) as s
        order by least(f.profile_id, s.profile_id), greatest(f.profile_id, s.profile_id), s.u
    ) as near;
    delete from automatch.duplicate_checks as c where c.face_id = any (v_faces);
    if v_pairs is null then
        return;
    end if;
    v_people := array(
        select distinct unnest(array[(p.value ->> 'a')::uuid, (p.value ->> 'b')::uuid])
        from jsonb_array_elements(v_pairs) as p (value)
    );
    perform from public.profiles as p where p.id = any (v_people) order by p.id for share;
    select s.match_same_person into v_matches from public.match_settings as s;
    if not v_matches then
        perform automatch.lock_feeds(v_people);
    end if;
    with pairs as (
        select (p.value ->> 'a')::uuid as a, (p.value ->> 'b')::uuid as b,
            (p.value ->> 'u')::double precision as u, p.value ->> 'model' as model
        from jsonb_array_elements(v_pairs) as p (value)
    ),
    written as (
        insert into automatch.suspected_duplicates as s (profile_a_id, profile_b_id, u, model)
        select p.a, p.b, p.u, p.model
        from pairs as p
        -- Checked again behind the locks: an account or its last photo may be gone.
        where exists (
            select from public.faces as f join public.face_embeddings as e on e.face_id = f.id where f.profile_id = p.a
        )
          and exists (
              select from public.faces as f join public.face_embeddings as e on e.face_id = f.id
              where f.profile_id = p.b
          )
        order by p.a, p.b
        on conflict (profile_a_id, profile_b_id) do update set u = excluded.u, model = excluded.model
            -- Decided pairs do not change.
            where s.state = 'open' and (excluded.u < s.u or excluded.model <> s.model)
        returning s.id, s.xmax = 0 as is_new
    )
    select array_agg(w.id) filter (where w.is_new) into v_new from written as w;
    flagged := coalesce(cardinality(v_new), 0);
    if flagged > 0 and not v_matches then
        perform automatch.apply_duplicate_decisions(v_new);
    end if;
end
$$;
comment on function public.detect_duplicates(integer) is
    'Compare some photos with the other accounts of their school and store pairs that look like the same person; '
    'nothing while a job waits. How many photos were compared, and how many pairs are new.';

create function public.list_suspected_duplicates(
    p_state text default 'open', p_limit integer default 50, p_id uuid default null
)
returns table (
    id uuid, profile_a_id uuid, profile_b_id uuid, same_gender boolean, u double precision, model text, state text,
    found_at timestamptz, decided_at timestamptz, decided_by text, held_face_ids uuid[]
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.profile_a_id, s.profile_b_id, a.gender is not distinct from b.gender, s.u, s.model,
        s.state, s.found_at, s.decided_at, s.decided_by,
        array(
            select h.face_id from automatch.held_faces as h
            join public.faces as f on f.id = h.face_id
            where h.reason = 'another_account' and f.profile_id in (s.profile_a_id, s.profile_b_id)
            order by h.face_id
        )
    from automatch.suspected_duplicates as s
    join public.profiles as a on a.id = s.profile_a_id
    join public.profiles as b on b.id = s.profile_b_id
    where (p_state is null or s.state = p_state) and (p_id is null or s.id = p_id)
    order by s.u, s.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_suspected_duplicates(text, integer, uuid) is
    'Pairs of accounts, closest first, with the photos that wait for a decision about them; of one state, or (null) '
    'of all; or one pair.';

create function public.decide_suspected_duplicate(p_id uuid, p_state text, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before text;
    v_actor text := left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200);
begin
    if p_state is null or p_state not in ('open', 'dismissed', 'confirmed') then
        perform automatch.raise_error('input_invalid', 'A suspicion is open, dismissed or confirmed.');
    end if;
    perform automatch.lock_duplicate_pairs(array[p_id]);
    select s.state into v_before from automatch.suspected_duplicates as s where s.id = p_id for update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such pair; one of the two may have left.');
    end if;
    if v_before = p_state then
        return;
    end if;
    update automatch.suspected_duplicates
    set state = p_state,
        decided_at = case when p_state <> 'open' then automatch.now() end,
        decided_by = case when p_state <> 'open' then v_actor end
    where id = p_id;
    if not (select s.match_same_person from public.match_settings as s) then
        perform automatch.apply_duplicate_decisions(array[p_id]);
    end if;
    perform automatch.release_settled_faces(array[s.profile_a_id, s.profile_b_id])
    from automatch.suspected_duplicates as s where s.id = p_id;
    perform automatch.audit(p_actor, 'same_person', (
        select jsonb_build_object(
            'pair', p_id, 'state', p_state, 'before', v_before,
            'people', jsonb_build_array(s.profile_a_id, s.profile_b_id)
        )
        from automatch.suspected_duplicates as s where s.id = p_id
    ));
end
$$;
comment on function public.decide_suspected_duplicate(uuid, text, text) is
    'Decide whether a pair is the same person (confirmed) or not (dismissed), or reopen it (open).';

create function public.get_match_same_person()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select s.match_same_person from public.match_settings as s $$;
comment on function public.get_match_same_person() is 'Whether accounts that look like the same person can match.';

create function public.set_match_same_person(p_match boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before boolean;
    v_ids uuid[];
begin
    if p_match is null then
        perform automatch.raise_error('input_invalid', 'Say true or false: whether two accounts of one person match.');
    end if;
    select s.match_same_person into v_before from public.match_settings as s for update;
    if v_before = p_match then
        return;
    end if;
    -- Only opposite genders match.
    v_ids := array(
        select s.id
        from automatch.suspected_duplicates as s
        join public.profiles as a on a.id = s.profile_a_id
        join public.profiles as b on b.id = s.profile_b_id and b.gender <> a.gender
        where s.state <> 'dismissed'
    );
    perform automatch.lock_duplicate_pairs(v_ids);
    update public.match_settings set match_same_person = p_match;
    perform automatch.apply_duplicate_decisions(v_ids);
    perform automatch.audit(p_actor, 'match_same_person', jsonb_build_object('match', p_match));
end
$$;
comment on function public.set_match_same_person(boolean, text) is
    'Set whether accounts that look like the same person can match (the default), and update the feeds.';

-- 61_imports.sql

-- The bulk import of people whom an operator has on a list: `automatch import`.
--
-- People who used their account themselves are not changed, people who withdrew their consent stay out,
-- and people who erased their account are not imported again.
create table automatch.imported_people (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    email_sha256 text not null,
    imported_at timestamptz not null default automatch.now()
);
comment on table automatch.imported_people is 'Accounts that an import created or filled in.';
create table automatch.imported_photos (
    face_id uuid primary key references public.faces (id) on delete cascade,
    import_id uuid not null,
    row_number integer not null
);
comment on table automatch.imported_photos is 'The last run and row that a photo came from; not its file name.';
create index imported_photos_run_idx on automatch.imported_photos (import_id, row_number);
create table automatch.import_erasures (
    email_sha256 text primary key,
    erased_at timestamptz not null default automatch.now()
);
comment on table automatch.import_erasures is 'Imported people who erased their account, and are not imported again.';

create function automatch.imported_person_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.import_erasures (email_sha256) values (old.email_sha256) on conflict do nothing;
    return null;
end
$$;

create trigger imported_people_erased after delete on automatch.imported_people
for each row execute function automatch.imported_person_erased();

create function automatch.import_account(p_email text)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := public.find_person_by_email(p_email);
    v_email_sha256 text := automatch.text_sha256(lower(p_email));
begin
    if exists (select from automatch.imported_people as i where i.profile_id = v_id) then
        return v_id;
    end if;
    if v_id is null then
        if exists (select from automatch.import_erasures as e where e.email_sha256 = v_email_sha256) then
            perform automatch.raise_error(
                'consent_required', 'This person erased their account after an import; only they can come back.'
            );
        end if;
        v_id := public.create_person(p_email);
    elsif exists (select from public.biometric_consents as c where c.profile_id = v_id)
        or exists (
            select from public.profiles as p
            where p.id = v_id and (p.name, p.school, p.gender, p.birth_date) is distinct from (null, null, null, null)
        )
    then
        perform automatch.raise_error(
            'email_taken', 'This person has an account of their own; they add their photos themselves.'
        );
    end if;
    if to_regprocedure('auth.sign_up(text, text, jsonb)') is not null then
        -- Whoever signed up with this address has not shown that it is theirs.
        update auth.users set confirm_by = null, encrypted_password = '!' where id = v_id and confirm_by is not null;
    end if;
    insert into automatch.imported_people (profile_id, email_sha256) values (v_id, v_email_sha256);
    return v_id;
end
$$;
comment on function automatch.import_account(text) is
    'The account that an import may fill in: an imported, an unused or a new one.';

create function public.find_imported_photo(p_import_id uuid, p_row integer, p_email text, p_image_sha256 text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_face public.faces;
begin
    select f.* into v_face
    from public.faces as f
    join automatch.imported_people as i on i.profile_id = f.profile_id
    where f.profile_id = public.find_person_by_email(p_email) and f.image_sha256 = p_image_sha256;
    if not found then
        return false;
    end if;
    insert into automatch.imported_photos (face_id, import_id, row_number)
    values (v_face.id, p_import_id, p_row)
    on conflict (face_id) do update set import_id = excluded.import_id, row_number = excluded.row_number;
    -- The failed job of the photo has been cleaned up: analyze it again.
    if not exists (select from public.face_embeddings as e where e.face_id = v_face.id)
        and not exists (select from public.match_jobs as j where j.face_id = v_face.id)
    then
        perform public.enqueue_match_job(v_face.id, 3::smallint);
    end if;
    return true;
end
$$;
comment on function public.find_imported_photo(uuid, integer, text, text) is
    'Whether an earlier run imported this photo of this person; if so, this run counts it too.';

create function public.import_photo(
    p_import_id uuid, p_row integer, p_email text, p_name text, p_school text, p_gender text,
    p_birth_date date, p_consent_version text, p_consent_at timestamptz, p_consent_evidence text,
    p_face_id uuid, p_image_path text, p_image_sha256 text
)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_claims text := coalesce(current_setting('request.jwt.claims', true), '');
    v_text public.consent_texts;
    v_profile public.profiles;
    v_last_action text;
    v_id uuid;
    v_face_id uuid;
begin
    select t.* into v_text from public.consent_texts as t where t.version = p_consent_version;
    if not found then
        perform automatch.raise_error('input_invalid', 'consent_version names no consent text of this installation.');
    end if;
    if p_consent_at is null or p_consent_at > automatch.now() or coalesce(btrim(p_consent_evidence), '') = '' then
        perform automatch.raise_error(
            'consent_required', 'Tell when this person consented (consent_at) and where the proof lies (consent_evidence).'
        );
    end if;
    -- Rows of one person are imported one after the other.
    perform pg_advisory_xact_lock(hashtextextended('automatch import ' || lower(p_email), 0));
    v_id := automatch.import_account(p_email);
    if exists (select from public.profiles as p where p.id = v_id and p.school is null) then
        perform set_config('request.jwt.claims', jsonb_build_object('sub', v_id, 'role', 'authenticated')::text, true);
        perform public.save_profile(p_name, p_school, p_gender, p_birth_date);
        perform set_config('request.jwt.claims', v_claims, true);
        -- The list is the proof.
        insert into automatch.memberships (profile_id, school_id, proof)
        values (v_id, (automatch.require_school(p_school)).id, 'import')
        on conflict do nothing;
    end if;
    select p.* into v_profile from public.profiles as p where p.id = v_id for update;
    if (v_profile.gender, v_profile.birth_date) is distinct from (p_gender, p_birth_date)
        or lower(v_profile.name) is distinct from lower(btrim(p_name))
    then
        perform automatch.raise_error(
            'email_taken', 'This address was imported with another name, gender or birth date: it is somebody else''s.'
        );
    end if;
    select c.action into v_last_action
    from public.biometric_consents as c where c.profile_id = v_id order by c.id desc limit 1;
    if v_last_action = 'withdrawn' then
        perform automatch.raise_error(
            'consent_required', 'This person withdrew their consent; only they can give it again.'
        );
    elsif v_last_action is null then
        insert into public.biometric_consents (profile_id, action, text_version, source, given_at, evidence)
        values (v_id, 'granted', v_text.version, 'import', p_consent_at, btrim(p_consent_evidence));
    end if;
    -- Any other path could be somebody else's photo, which would be shown and erased as one's own.
    if p_image_path is distinct from left(p_face_id::text, 2) || '/' || p_face_id then
        perform automatch.raise_error('input_invalid', 'A photo lies where the id of its face says.');
    end if;
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (p_face_id, v_id, p_image_path, p_image_sha256)
    on conflict (profile_id, image_sha256) do nothing
    returning id into v_face_id;
    if v_face_id is null then
        perform public.find_imported_photo(p_import_id, p_row, p_email, p_image_sha256);
        return false;
    end if;
    insert into automatch.imported_photos (face_id, import_id, row_number)
    values (v_face_id, p_import_id, p_row);
    -- Priority 3: uploads go first.
    perform public.enqueue_match_job(v_face_id, 3::smallint);
    return true;
end
$$;
comment on function public.import_photo(
    uuid, integer, text, text, text, text, date, text, timestamptz, text, uuid, text, text
) is 'Import a person with a photo; the same row again changes nothing. False when the photo was there.';

create function public.count_import_jobs(p_import_id uuid)
returns table (photos bigint, open_jobs bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*), count(j.id)
    from automatch.imported_photos as i
    left join public.match_jobs as j on j.face_id = i.face_id and j.completed_at is null
    where i.import_id = p_import_id
$$;
comment on function public.count_import_jobs(uuid) is 'The photos of a run, and how many of their jobs are open.';

create function public.list_import_failures(p_import_id uuid, p_after_row integer, p_limit integer)
returns table (row_number integer, code text, message text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select i.row_number, j.error_code, j.error_message
    from automatch.imported_photos as i
    cross join lateral (
        select n.status, n.error_code, n.error_message
        from public.match_jobs as n
        where n.face_id = i.face_id
        order by n.created_at desc
        limit 1
    ) as j
    where i.import_id = p_import_id and i.row_number > p_after_row and j.status = 'failed'
    order by i.row_number
    limit p_limit
$$;
comment on function public.list_import_failures(uuid, integer, integer) is
    'A page of the rows whose photo could not be used, in order.';

create function public.finish_import(p_import_id uuid, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.audit(
        p_actor, 'import',
        jsonb_build_object(
            'import', p_import_id,
            'photos', (select count(*) from automatch.imported_photos as i where i.import_id = p_import_id)
        )
    );
end
$$;
comment on function public.finish_import(uuid, text) is 'Write a run to the audit log.';

-- 62_match_generator.sql

-- The schedule of the deployment guide: a cron job calls POST /functions/v1/match-generator over HTTP.
-- Its key can start matching and nothing else. The key is in the Vault, where only the owner can read it and
-- the login of the schedule can ask for it; the server knows its hash.
create table automatch.trigger_key (
    only_row boolean primary key default true,
    sha256 bytea not null,
    made_at timestamptz not null default automatch.now(),
    constraint there_is_one_key check (only_row)
);
comment on table automatch.trigger_key is 'The hash of the key.';

create table automatch.kept_cron_jobs (
    name text primary key,
    schedule text not null,
    command text not null,
    active boolean not null default true,
    seen_in oid
);
comment on table automatch.kept_cron_jobs is
    'Our two cron jobs as they stood in the schema cron with the oid seen_in. When pg_cron takes the place of its '
    'stand-in, or gives it back, they are made again.';

create function public.is_trigger_key(p_sha256 bytea)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from automatch.trigger_key as k where k.sha256 = p_sha256) $$;
comment on function public.is_trigger_key(bytea) is 'Whether this is the hash of the key.';

create function automatch.rotate_trigger_key()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    -- Two random UUIDs: 244 strong random bits, without an extension.
    v_key text := 'amt_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
    v_id uuid;
begin
    lock table automatch.trigger_key in exclusive mode;
    select s.id into v_id from vault.secrets as s where s.name = 'automatch_trigger_key';
    if found then
        perform vault.update_secret(v_id, v_key);
    else
        perform vault.create_secret(
            v_key, 'automatch_trigger_key', 'Starts matching: POST /functions/v1/match-generator. Made by Auto-Match.'
        );
    end if;
    insert into automatch.trigger_key (sha256) values (sha256(convert_to(v_key, 'UTF8')))
    on conflict (only_row) do update set sha256 = excluded.sha256, made_at = automatch.now();
end
$$;
comment on function automatch.rotate_trigger_key() is
    'Make a new key, which the schedule reads from the Vault at its next run. For the owner.';

create function automatch.read_trigger_key()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select s.decrypted_secret from vault.decrypted_secrets as s where s.name = 'automatch_trigger_key' $$;
comment on function automatch.read_trigger_key() is
    'The key, and no other secret of the Vault, for the login that runs the cron job.';

create function automatch.match_generator_command(p_url text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $function$
    select format($command$select net.http_post(
    url := %L,
    headers := jsonb_build_object(
        'Content-Type', 'application/json',
        'Authorization', 'Bearer ' || automatch.read_trigger_key()
    ),
    body := jsonb_build_object('source', 'pg_cron', 'triggered_at', now()),
    timeout_milliseconds := 30000
) as request_id$command$, p_url)
$function$;
comment on function automatch.match_generator_command(text) is
    'The command of the cron job process-match-jobs, for the URL of the match generator.';

create function automatch.read_cron_jobs(p_cron oid)
returns setof automatch.kept_cron_jobs language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- By its oid, or a linter looks for the schema in databases that do without it.
    return query execute format(
        'select j.jobname::text, j.schedule, j.command, j.active, $1 from %s.job as j where j.username = current_user',
        p_cron::regnamespace
    ) using p_cron;
end
$$;
comment on function automatch.read_cron_jobs(oid) is 'The cron jobs of the caller as they stand.';

create function automatch.record_cron_jobs(p_url text)
returns oid language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if to_regnamespace('net') is null or to_regnamespace('vault') is null
       or not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return null;
    end if;
    -- Two servers that start at once make one schedule.
    perform pg_advisory_xact_lock(automatch.lock_key('schedule'));
    if not exists (select from automatch.trigger_key)
       or not exists (select from vault.secrets as s where s.name = 'automatch_trigger_key') then
        perform automatch.rotate_trigger_key();
    end if;
    if p_url is not null then
        insert into automatch.kept_cron_jobs (name, schedule, command)
        values
            ('process-match-jobs', '* * * * *', automatch.match_generator_command(p_url)),
            ('cleanup-match-jobs', '0 3 * * *', 'select public.cleanup_old_match_jobs()')
        on conflict (name) do nothing;
    end if;
    update automatch.kept_cron_jobs as k
    set schedule = j.schedule, command = j.command, active = j.active, seen_in = v_cron
    from automatch.read_cron_jobs(v_cron) as j
    where j.name = k.name;
    -- Unscheduled by an operator, unless the whole schema is another one.
    update automatch.kept_cron_jobs as k
    set active = false
    where k.seen_in = v_cron
      and not exists (select from automatch.read_cron_jobs(v_cron) as j where j.name = k.name);
    return v_cron;
end
$$;
comment on function automatch.record_cron_jobs(text) is
    'Record how our cron jobs stand, or how they are to be made; return the schema, null without pg_cron, pg_net and Vault.';

create function automatch.restore_cron_jobs(p_cron oid, p_exactly boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job automatch.kept_cron_jobs;
    v_schedule text := format('select %s.schedule($1, $2, $3)', p_cron::regnamespace);
begin
    for v_job in
        select * from automatch.kept_cron_jobs as k
        where k.active and not exists (
            select from automatch.read_cron_jobs(p_cron) as j
            where j.name = k.name and j.active and (j.schedule, j.command) = (k.schedule, k.command)
        )
    loop
        -- cron.alter_job(), which would make it active, is not for everybody.
        if exists (select from automatch.read_cron_jobs(p_cron) as j where j.name = v_job.name and not j.active) then
            execute format('select %s.unschedule($1)', p_cron::regnamespace) using v_job.name;
        end if;
        begin
            execute v_schedule using v_job.name, v_job.schedule, v_job.command;
        exception when invalid_parameter_value then
            if p_exactly then
                raise;
            end if;
            -- pg_cron before 1.5 knows no seconds.
            execute v_schedule using v_job.name, '* * * * *', v_job.command;
        end;
    end loop;
    update automatch.kept_cron_jobs as k set seen_in = p_cron where k.seen_in is distinct from p_cron;
end
$$;
comment on function automatch.restore_cron_jobs(oid, boolean) is
    'Schedule our recorded cron jobs. Where pg_cron refuses a schedule, raise if p_exactly, else run each minute.';

create function automatch.ensure_match_schedule(p_url text)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_outcome text := 'kept';
    v_cron oid := automatch.record_cron_jobs(p_url);
begin
    if v_cron is null then
        return 'unavailable';
    end if;
    -- A command that an operator wrote is not changed.
    update automatch.kept_cron_jobs as k
    set command = automatch.match_generator_command(p_url)
    where k.name = 'process-match-jobs' and k.command <> automatch.match_generator_command(p_url)
      and k.command = automatch.match_generator_command(substring(k.command from 'url := ''([^'']+)'''));
    if found then
        v_outcome := 'moved';
    end if;
    if exists (select from automatch.kept_cron_jobs as k where k.seen_in is distinct from v_cron) then
        v_outcome := 'made';
    end if;
    perform automatch.restore_cron_jobs(v_cron, false);
    return v_outcome;
end
$$;
comment on function automatch.ensure_match_schedule(text) is
    'Make the two cron jobs of the guide, once in each schema cron; later only update the URL of our own command. '
    'Returns made, moved, kept, or unavailable without pg_cron, pg_net and Vault.';

create function automatch.change_cron_job(p_cron oid, p_name text, p_schedule text, p_active boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.kept_cron_jobs as k
    set schedule = coalesce(p_schedule, k.schedule), active = coalesce(p_active, k.active)
    where k.name = p_name;
    if not p_active and exists (select from automatch.read_cron_jobs(p_cron) as j where j.name = p_name) then
        execute format('select %s.unschedule($1)', p_cron::regnamespace) using p_name;
    end if;
    perform automatch.restore_cron_jobs(p_cron, true);
end
$$;
comment on function automatch.change_cron_job(oid, text, text, boolean) is
    'Change a recorded cron job in the schema cron; what is null stays.';

create function automatch.set_match_schedule(p_schedule text, p_url text, p_replace boolean default false)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := automatch.record_cron_jobs(p_url);
begin
    update automatch.kept_cron_jobs as k
    set command = case when p_replace then automatch.match_generator_command(p_url) else k.command end
    where k.name = 'process-match-jobs' and v_cron is not null;
    if not found then
        return false;
    end if;
    perform automatch.change_cron_job(v_cron, 'process-match-jobs', p_schedule, p_schedule is not null);
    return true;
end
$$;
comment on function automatch.set_match_schedule(text, text, boolean) is
    'Set the schedule of process-match-jobs; null unschedules it. p_url is used when the job is new or p_replace is '
    'true. False without pg_cron, pg_net and Vault, or when there is no such job. For the owner.';

create function public.list_due_match_jobs(p_limit integer)
returns setof uuid language sql security definer set search_path = pg_catalog, pg_temp
as $$
    (
        select j.id from public.match_jobs as j
        where j.completed_at is null and j.status = 'pending' and not j.scheduled
        order by j.position
        limit p_limit
    )
    union all
    (
        select j.id from public.match_jobs as j
        where j.status = 'pending' and j.scheduled and j.run_at <= (select automatch.now())
        order by j.run_at
        limit p_limit
    )
    union all
    (
        -- Jobs of lost workers, before the sweep.
        select j.id from automatch.held_jobs as j
        where j.lease_expires_at < (select automatch.now())
        limit p_limit
    )
    limit p_limit
$$;
comment on function public.list_due_match_jobs(integer) is
    'Jobs that wait for a worker, in order; also those of a paused queue, but not those of a paused school.';

create function public.get_match_job_progress(p_job_ids uuid[])
returns table (open integer, matches integer, paused boolean, worker_is_alive boolean)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select
        -- Without jobs that were erased with their photo, or scheduled for a retry.
        count(*) filter (
            where j.status = 'processing'
               or j.status = 'pending' and (not j.scheduled or j.run_at <= (select automatch.now()))
        )::integer,
        coalesce(sum(j.match_count) filter (where j.status = 'completed'), 0)::integer,
        (select q.paused from automatch.queue_settings as q),
        exists (
            select from automatch.held_jobs as held where held.lease_expires_at > (select automatch.now())
        )
    from public.match_jobs as j
    where j.id = any (p_job_ids)
$$;
comment on function public.get_match_job_progress(uuid[]) is
    'How many of these jobs are open, how many matches the others found, whether the queue is paused, and '
    'whether a worker holds a valid lease.';

-- 63_smoke_test.sql

-- `automatch verify` tries a live installation with two simulated people. They have a school of their own,
-- which nobody else can join or is shown, and are erased afterwards.
create table automatch.smoke_test_runs (
    id uuid primary key default gen_random_uuid(),
    school text not null unique,
    people uuid[] not null,
    started_at timestamptz not null default automatch.now()
);
comment on table automatch.smoke_test_runs is 'Smoke tests in progress or interrupted; the next one erases the people of interrupted ones.';

create function automatch.isolate_smoke_tests()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from automatch.smoke_test_runs as t
        where (new.id = any (t.people)) <> (lower(t.school) = lower(coalesce(new.school, '')))
    ) then
        perform automatch.raise_error('input_invalid', 'This school cannot be chosen.');
    end if;
    return new;
end
$$;
comment on function automatch.isolate_smoke_tests() is
    'Nobody else may join the school of a smoke test, and its people may not leave it.';

create trigger profiles_isolate_smoke_tests before insert or update of school on public.profiles
for each row execute function automatch.isolate_smoke_tests();

create function public.end_smoke_tests(p_run_id uuid default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run automatch.smoke_test_runs;
    v_count integer;
    v_total integer := 0;
begin
    for v_run in
        select t.* from automatch.smoke_test_runs as t
        where t.id = p_run_id
           -- Interrupted: a smoke test takes two minutes at most.
           or p_run_id is null and t.started_at < automatch.now() - interval '15 minutes'
        order by t.id
        for update skip locked
    loop
        perform from public.profiles as p where p.id = any (v_run.people) order by p.id for update;
        delete from public.profiles as p where p.id = any (v_run.people) and p.simulated;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
        delete from automatch.schools as s where s.name = v_run.school;
        delete from automatch.smoke_test_runs as t where t.id = v_run.id;
        perform automatch.audit(p_actor, 'end_smoke_test', jsonb_build_object('run', v_run.id, 'people', v_count));
    end loop;
    return v_total;
end
$$;
comment on function public.end_smoke_tests(uuid, text) is
    'Erase the people of a smoke test; without an id, those of runs that began more than 15 minutes ago. How '
    'many people.';

create function public.start_smoke_test(p_actor text default null)
returns table (id uuid, school text, her_id uuid, his_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform public.end_smoke_tests(null, p_actor);
    id := gen_random_uuid();
    -- Random, so that it cannot be guessed.
    school := 'Auto-Match smoke test ' || gen_random_uuid();
    her_id := gen_random_uuid();
    his_id := gen_random_uuid();
    insert into automatch.smoke_test_runs (id, school, people) values (start_smoke_test.id, start_smoke_test.school, array[her_id, his_id]);
    insert into automatch.schools (name, is_open) values (start_smoke_test.school, true);
    insert into public.profiles (id, name, school, gender, birth_date, simulated)
    values
        (her_id, 'Smoke test woman', start_smoke_test.school, 'female', date '2000-02-29', true),
        (his_id, 'Smoke test man', start_smoke_test.school, 'male', date '2000-02-29', true);
    -- Their portraits are drawn from one face: dismissed in advance, because match_settings may exclude
    -- accounts that look like the same person.
    insert into automatch.suspected_duplicates (profile_a_id, profile_b_id, u, model, state, decided_at, decided_by)
    select least(her_id, his_id), greatest(her_id, his_id), 0, m.id, 'dismissed', automatch.now(), 'start_smoke_test'
    from public.embedding_models as m
    where m.active;
    perform automatch.audit(p_actor, 'start_smoke_test', jsonb_build_object('run', id));
    return next;
end
$$;
comment on function public.start_smoke_test(text) is
    'Create a simulated woman and man without accounts or consent, in a school of their own.';

-- 64_held_photos.sql

-- Photos that wait for a decision: which do, what their person is told, and what operators decide.

create function automatch.explain_hold(p_reason text, out code text, out message text)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- Not that there is another account: whoever sends somebody else's photo is not to learn who is at the school.
    select case p_reason
            when 'another_person' then 'another_person'
            when 'another_account' then 'photo_in_review'
            when 'reported' then 'photo_in_review'
            when 'challenge' then 'challenge_needed'
            when 'refused' then 'photo_refused'
        end,
        case p_reason
            when 'another_person' then
                'This doesn''t look like the person in your other photo, so nobody sees it yet. Delete the one that '
                'isn''t you, or leave both here and we''ll take a look.'
            when 'another_account' then
                'We''d like to look at this photo before anyone else sees it. You don''t need to do anything.'
            when 'reported' then
                'We''d like to look at this photo before anyone else sees it. You don''t need to do anything.'
            when 'challenge' then
                'One more step: show with your camera that this is you. Or leave it here and we''ll take a look.'
            when 'refused' then 'We looked at this photo and can''t use it. Delete it and add another one of you.'
        end
$$;
comment on function automatch.explain_hold(text) is
    'What the job of a held photo says to its person; nulls where it says nothing of it.';

create function automatch.tell_hold(p_face_ids uuid[], p_reason text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- The token, so that open pages are told. A job that failed otherwise says what was wrong with its photo.
    update public.match_jobs as j
    set status = 'failed', match_count = null, error_code = e.code, error_message = e.message,
        lease_token = j.lease_token + 1
    from automatch.explain_hold(p_reason) as e
    where j.face_id = any (p_face_ids) and (
        j.status = 'completed'
        or j.status = 'failed' and j.error_code in ('another_person', 'photo_in_review', 'challenge_needed')
    );
    perform automatch.notify_feeds(array(select f.profile_id from public.faces as f where f.id = any (p_face_ids)));
end
$$;
comment on function automatch.tell_hold(uuid[], text) is
    'Let the jobs of photos that are held now, or for another reason than before, say so.';

create function automatch.suspect_lookalikes(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text
)
returns boolean language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_schools text := (select s.hold_another_account from public.match_settings as s);
    v_pairs integer;
begin
    if p_school is null or p_gender is null or v_schools = 'never'
        -- Whoever is not let in is not to learn whose photo is at the school: hold_lookalike() looks again.
        or not exists (select from public.profiles as p where p.id = p_profile_id and p.admitted)
        or v_schools = 'proven' and exists (select from automatch.schools as s where s.name = p_school and s.is_open)
    then
        return false;
    end if;
    -- Of two accounts that send one face at the same time, the second sees the first.
    perform automatch.lock_first_photos(p_school);
    with found as materialized (
        select d.profile_id, d.u
        from (
            select l.profile_id, min(l.u) as u
            from (
                select a.*
                from automatch.find_lookalike_accounts(p_model, p_embedding, p_profile_id, p_school, p_gender, 5) as a
                union all
                select a.*
                from automatch.find_absent_lookalikes(p_model, p_embedding, p_profile_id, p_school, p_gender) as a
            ) as l
            group by l.profile_id
            order by min(l.u), l.profile_id
            limit 5
        ) as d
        -- Whoever is being erased is waited for.
        join public.profiles as p on p.id = d.profile_id
        where not exists (
            select from automatch.suspected_duplicates as s
            where s.profile_a_id = least(d.profile_id, p_profile_id)
              and s.profile_b_id = greatest(d.profile_id, p_profile_id) and s.state = 'dismissed'
        )
        for key share of p
    ),
    written as (
        insert into automatch.suspected_duplicates as s (profile_a_id, profile_b_id, u, model)
        select least(d.profile_id, p_profile_id), greatest(d.profile_id, p_profile_id), d.u, p_model
        from found as d
        order by 1, 2
        on conflict (profile_a_id, profile_b_id) do update set u = least(s.u, excluded.u)
        returning 1
    )
    select count(*) into v_pairs from written;
    return v_pairs > 0;
end
$$;
comment on function automatch.suspect_lookalikes(text, vector, uuid, text, text) is
    'Whether a face that is new in a school looks like another account there, by what match_settings says; the pairs '
    'are put before the operator. The person is locked.';

create function automatch.load_first_embedding(p_model text, p_profile_id uuid)
returns vector language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    select coalesce(e.embedding, automatch.read_sharded_embedding(p_model, f.id))
    from public.faces as f
    join public.face_embeddings as e on e.model = p_model and e.face_id = f.id
    where f.profile_id = p_profile_id and not exists (select from automatch.held_faces as h where h.face_id = f.id)
    order by f.created_at, f.id
    limit 1
$$;
comment on function automatch.load_first_embedding(text, uuid) is
    'Of the oldest photo of a person that does not wait: what further ones are compared with.';

create function automatch.reason_to_hold(
    p_model text, p_embedding vector, p_profile_id uuid, p_school text, p_gender text, p_needs_challenge boolean,
    out reason text, out is_first boolean
)
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_first vector := automatch.load_first_embedding(p_model, p_profile_id);
begin
    is_first := v_first is null;
    if is_first then
        if p_needs_challenge then
            reason := 'challenge';
        elsif automatch.suspect_lookalikes(p_model, p_embedding, p_profile_id, p_school, p_gender) then
            reason := 'another_account';
        end if;
    elsif (select s.hold_another_person from public.match_settings as s) and sqrt(greatest(2 + 2 * (v_first <#> p_embedding), 0)) > (
        select m.same_person_u from public.embedding_models as m where m.id = p_model
    ) then
        reason := 'another_person';
    end if;
    if reason is null and automatch.find_hiding_case(p_profile_id) is not null then
        reason := 'reported';
    end if;
end
$$;
comment on function automatch.reason_to_hold(text, vector, uuid, text, text, boolean) is
    'Why a new photo has to wait for a decision, or null; and whether it is the first of its person that can be found.';

create function automatch.hold_lookalike(p_profile_id uuid, p_school text, p_gender text)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model text := public.active_embedding_model();
    v_first vector := automatch.load_first_embedding(v_model, p_profile_id);
    v_faces uuid[];
begin
    if v_first is null or not automatch.suspect_lookalikes(v_model, v_first, p_profile_id, p_school, p_gender) then
        return;
    end if;
    v_faces := array(
        select f.id from public.faces as f
        where f.profile_id = p_profile_id and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by f.id
    );
    perform automatch.hold_face(f.id, 'another_account') from unnest(v_faces) as f (id);
    perform automatch.tell_hold(v_faces, 'another_account');
end
$$;
comment on function automatch.hold_lookalike(uuid, text, text) is
    'Hold the photos of a person who comes to a school and looks like another account there.';

create function automatch.look_at_held_again(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model text := public.active_embedding_model();
    v_held record;
    v_decision record;
    v_reported uuid[] := array[]::uuid[];
begin
    -- As if each were sent now, so that deleting a photo lets pass nothing that sending it anew would not. Its search
    -- was counted when it was sent. One after the other: the first that passes is what the next is compared with.
    for v_held in
        select f.id, f.needs_challenge, p.school, p.gender,
            coalesce(e.embedding, automatch.read_sharded_embedding(v_model, f.id)) as embedding
        from public.faces as f
        join automatch.held_faces as h on h.face_id = f.id
        join public.profiles as p on p.id = f.profile_id
        join public.face_embeddings as e on e.model = v_model and e.face_id = f.id
        where f.profile_id = p_profile_id and h.reason = 'another_person'
        order by f.created_at, f.id
    loop
        select r.* into v_decision from automatch.reason_to_hold(
            v_model, v_held.embedding, p_profile_id, v_held.school, v_held.gender, v_held.needs_challenge
        ) as r;
        if v_decision.reason is null then
            perform automatch.release_face(v_held.id);
        elsif v_decision.reason <> 'another_person' then
            update automatch.held_faces as h set reason = v_decision.reason where h.face_id = v_held.id;
            perform automatch.tell_hold(array[v_held.id], v_decision.reason);
            if v_decision.reason = 'reported' then
                v_reported := v_reported || v_held.id;
            end if;
        end if;
    end loop;
    -- Last, as cases are locked after all else.
    perform automatch.add_photos_to_cases(v_reported);
end
$$;
comment on function automatch.look_at_held_again(uuid) is
    'Decide again about the photos of a person, who is locked, that were held because they show somebody else than the '
    'first one, which has gone.';

create function automatch.store_new_faces(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[]
)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_new record;
    v_decision record;
    v_stored uuid[] := array[]::uuid[];
    v_reported uuid[] := array[]::uuid[];
begin
    -- By school, so that two batches do not wait for each other in a circle.
    for v_new in
        select f.id, f.profile_id, f.needs_challenge, p.school, p.gender, new.number, l2_normalize(new.embedding) as embedding
        from unnest(p_face_ids, p_embeddings) with ordinality as new (face_id, embedding, number)
        join public.faces as f on f.id = new.face_id
        join public.profiles as p on p.id = f.profile_id and not p.simulated
        -- Not one that was decided about, or that another model has seen.
        where not exists (select from public.face_embeddings as e where e.face_id = f.id)
          and not exists (select from automatch.held_faces as h where h.face_id = f.id)
        order by p.school, f.profile_id, f.created_at, f.id
    loop
        select r.* into v_decision from automatch.reason_to_hold(
            p_model, v_new.embedding, v_new.profile_id, v_new.school, v_new.gender, v_new.needs_challenge
        ) as r;
        if v_decision.reason is not null then
            insert into automatch.held_faces (face_id, reason) values (v_new.id, v_decision.reason);
            if v_decision.reason = 'reported' then
                v_reported := v_reported || v_new.id;
            end if;
        elsif v_decision.is_first then
            -- At once, for the next one of this batch to be compared with.
            perform automatch.store_embeddings(
                p_model, array[v_new.id], array[v_new.embedding], p_quality[v_new.number:v_new.number],
                p_detectors[v_new.number:v_new.number]
            );
            v_stored := v_stored || v_new.id;
        end if;
    end loop;
    perform automatch.store_embeddings(p_model, n.face_ids, n.embeddings, n.quality, n.detectors)
    from (
        select array_agg(new.face_id) as face_ids, array_agg(new.embedding) as embeddings,
            array_agg(new.quality) as quality, array_agg(new.detector) as detectors
        from unnest(p_face_ids, p_embeddings, p_quality, p_detectors) as new (face_id, embedding, quality, detector)
        where new.face_id <> all (v_stored)
    ) as n
    where n.face_ids is not null;
    -- Last, as cases are locked after all else.
    perform automatch.add_photos_to_cases(v_reported);
end
$$;
comment on function automatch.store_new_faces(text, uuid[], vector[], jsonb[], text[]) is
    'store_embeddings(), after deciding which photos have to wait: those are not put into the search copy.';

create function automatch.pair_was_lost()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if old.state <> 'dismissed' then
        update automatch.held_faces as h
        set lost_pair = true
        from public.faces as f
        where f.id = h.face_id and f.profile_id in (old.profile_a_id, old.profile_b_id)
          and h.reason = 'another_account';
    end if;
    return null;
end
$$;

create trigger suspected_duplicates_lost after delete on automatch.suspected_duplicates
for each row execute function automatch.pair_was_lost();

create function automatch.release_settled_faces(p_profile_ids uuid[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
begin
    with released as (
        delete from automatch.held_faces as h
        using public.faces as f
        where f.id = h.face_id and f.profile_id = any (p_profile_ids) and h.reason = 'another_account'
          and not h.lost_pair and automatch.find_hiding_case(f.profile_id) is null
          and not exists (
              select from automatch.suspected_duplicates as s
              where f.profile_id in (s.profile_a_id, s.profile_b_id) and s.state <> 'dismissed'
          )
        returning h.face_id
    )
    select array_agg(r.face_id) into v_faces from released as r;
    if v_faces is null then
        return 0;
    end if;
    perform automatch.index_faces(v_faces);
    perform automatch.enqueue_searches(v_faces);
    return cardinality(v_faces);
end
$$;
comment on function automatch.release_settled_faces(uuid[]) is
    'Release the photos of people, who are locked, that waited for decisions about pairs and do so no more. How many.';

create function public.list_held_photos(p_reason text default null, p_limit integer default 50)
returns table (face_id uuid, profile_id uuid, school text, reason text, held_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select h.face_id, p.id, p.school, h.reason, h.held_at
    from automatch.held_faces as h
    join public.faces as f on f.id = h.face_id
    join public.profiles as p on p.id = f.profile_id
    -- Photos held by a report are decided in its case.
    where h.reason = p_reason or p_reason is null and h.reason in ('another_person', 'another_account', 'challenge')
    order by h.held_at, h.face_id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_held_photos(text, integer) is
    'Photos that wait for a decision, the longest waiting first; of one reason, or all that an operator decides here.';

create function public.open_held_photo(p_id uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_face public.faces;
begin
    select f.* into v_face
    from public.faces as f
    left join automatch.held_faces as h on h.face_id = f.id
    where p_id in (f.id, f.profile_id) and (h.reason is null or h.reason not in ('reported', 'hidden')) and (
        exists (
            select from automatch.held_faces as o join public.faces as w on w.id = o.face_id
            where w.profile_id = f.profile_id and o.reason not in ('reported', 'hidden')
        )
        or exists (
            select from automatch.suspected_duplicates as s where f.profile_id in (s.profile_a_id, s.profile_b_id)
        )
    )
    order by h.face_id is not null, f.created_at, f.id
    limit 1;
    if not found then
        perform automatch.raise_error('not_found', 'No photo waits there, and no account of a pair has it.');
    end if;
    perform public.record_photo_views(array[null]::uuid[], array[v_face.id], '{true}', array[automatch.now()]);
    return v_face.image_path;
end
$$;
comment on function public.open_held_photo(uuid) is
    'Where a photo lies that an operator decides about or compares with it, by its id or as the first of an account; '
    'its person is told that one looked.';

create function public.decide_held_photo(p_face_id uuid, p_release boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile public.profiles := automatch.lock_for_holding(p_face_id);
    v_reason text;
begin
    select h.reason into v_reason from automatch.held_faces as h where h.face_id = p_face_id for update;
    if not found or v_reason in ('reported', 'hidden') then
        perform automatch.raise_error('not_found', 'This photo does not wait for a decision.');
    end if;
    if p_release then
        perform automatch.release_face(p_face_id);
    elsif v_reason <> 'refused' then
        perform automatch.hold_face(p_face_id, 'refused');
        delete from public.face_embeddings as e where e.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'refused');
    end if;
    perform automatch.audit(
        p_actor, case when p_release then 'release_photo' else 'refuse_photo' end,
        jsonb_build_object('photo', p_face_id, 'reason', v_reason), v_profile.id
    );
end
$$;
comment on function public.decide_held_photo(uuid, boolean, text) is
    'Let a photo that waits be found and searched for (p_release), or refuse it: its embedding is deleted, and its '
    'person is told.';

-- 65_photo_challenges.sql

-- Turning one's head before the camera, so that a first photo is one's own. A hurdle, and no proof.

create table automatch.photo_challenges (
    face_id uuid primary key references public.faces (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    session_id text not null,
    turns text[] not null,
    begun_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_challenges is
    'What people were asked to do before the camera, until they answer; pictures are never kept.';

create function public.require_photo_challenge(p_face_id uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update public.faces as f set needs_challenge = true
    where f.id = p_face_id and f.profile_id = automatch.uid() and not f.needs_challenge
$$;
comment on function public.require_photo_challenge(uuid) is
    'Let a photo of the caller wait for a challenge, should it be their first.';

create function public.begin_photo_challenge(p_profile_id uuid, p_session_id text, p_face_id uuid)
returns table (id uuid, turns text[])
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    -- Both sides, in an order that cannot be known before.
    v_orders constant text[] := array[
        'left right left', 'right left right', 'left left right', 'right right left', 'left right right', 'right left left'
    ];
begin
    if not exists (
        select from public.faces as f join automatch.held_faces as h on h.face_id = f.id and h.reason = 'challenge'
        where f.id = p_face_id and f.profile_id = p_profile_id
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    return query
        insert into automatch.photo_challenges as c (face_id, session_id, turns)
        values (
            p_face_id, p_session_id,
            string_to_array(v_orders[1 + get_byte(uuid_send(gen_random_uuid()), 0) % cardinality(v_orders)], ' ')
        )
        on conflict (face_id) do update
            set id = excluded.id, session_id = excluded.session_id, turns = excluded.turns, begun_at = excluded.begun_at
        returning c.id, c.turns;
end
$$;
comment on function public.begin_photo_challenge(uuid, text, uuid) is
    'Ask a person, in one of their sessions, to turn their head; an earlier challenge of the photo ends.';

create function public.take_photo_challenge(p_profile_id uuid, p_session_id text, p_face_id uuid, p_id uuid)
returns text[] language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_challenge automatch.photo_challenges;
begin
    delete from automatch.photo_challenges as c
    using public.faces as f
    where c.face_id = p_face_id and c.id = p_id and c.session_id = p_session_id
      and f.id = c.face_id and f.profile_id = p_profile_id
    returning c.* into v_challenge;
    -- Nobody turns three times within two seconds.
    if not found or automatch.now() - v_challenge.begun_at not between interval '2 seconds' and interval '2 minutes' then
        return null;
    end if;
    return v_challenge.turns;
end
$$;
comment on function public.take_photo_challenge(uuid, text, uuid, uuid) is
    'The turns that were asked for, once; null for a challenge that is over, of another session, or answered in no time.';

create function public.pass_photo_challenge(p_profile_id uuid, p_face_id uuid, p_model text, p_embeddings vector[])
returns boolean language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_profile public.profiles;
    v_embedding vector;
begin
    select p.* into v_profile from public.profiles as p where p.id = p_profile_id for no key update;
    select coalesce(e.embedding, automatch.read_sharded_embedding(p_model, f.id)) into v_embedding
    from public.faces as f
    join automatch.held_faces as h on h.face_id = f.id and h.reason = 'challenge'
    join public.face_embeddings as e on e.face_id = f.id and e.model = p_model
    where f.id = p_face_id and f.profile_id = p_profile_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    if cardinality(p_embeddings) = 0 or exists (
        select from unnest(p_embeddings) as seen (embedding)
        join public.embedding_models as m on m.id = p_model
        where sqrt(greatest(2 + 2 * (l2_normalize(seen.embedding) <#> v_embedding), 0)) > m.same_person_u
    ) then
        return false;
    end if;
    -- The feeds before the school, as when a person comes to one.
    perform automatch.lock_related_feeds(array[v_profile.id]);
    if automatch.suspect_lookalikes(p_model, v_embedding, v_profile.id, v_profile.school, v_profile.gender) then
        update automatch.held_faces as h set reason = 'another_account' where h.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'another_account');
    elsif automatch.find_hiding_case(p_profile_id) is not null then
        update automatch.held_faces as h set reason = 'reported' where h.face_id = p_face_id;
        perform automatch.tell_hold(array[p_face_id], 'reported');
        perform automatch.add_photos_to_cases(array[p_face_id]);
    else
        perform automatch.release_face(p_face_id);
    end if;
    return true;
end
$$;
comment on function public.pass_photo_challenge(uuid, uuid, text, vector[]) is
    'Release a first photo if the faces before the camera are its person; false if not. What looks like another account '
    'goes on waiting, and so does what a case about the person is asked for.';

-- 68_seen_matches.sql

-- What of a feed is new, its other orders and filters, and one match of it.
--
-- Each entry says when its person was shown it, because cards are seen out of order. What is published stays as
-- cheap as it was: there is no index of new entries. They lie above feed_counters.seen_position, which follows.

create function public.mark_matches_seen(p_match_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_seen integer;
begin
    -- Whatever is published meanwhile comes after the position that is read here.
    perform automatch.lock_feeds(array[automatch.uid()]);
    update automatch.feed_entries as e
    set seen_at = automatch.now()
    from public.matches as m
    where m.id = any (p_match_ids)
      and e.profile_id = automatch.uid()
      and e.other_profile_id in (m.profile_a_id, m.profile_b_id)
      and e.match_id = m.id
      and e.seen_at is null;
    get diagnostics v_seen = row_count;
    if v_seen > 0 then
        update automatch.feed_counters as h
        set seen_count = h.seen_count + v_seen,
            seen_position = coalesce(
                (
                    select min(e.position) - 1 from automatch.feed_entries as e
                    where e.profile_id = h.profile_id and e.position > h.seen_position
                      and e.seen_at is null and e.match_id is not null
                ),
                h.last_position
            )
        where h.profile_id = automatch.uid();
        perform automatch.notify_feeds(array[automatch.uid()]);
    end if;
end
$$;
comment on function public.mark_matches_seen(uuid[]) is
    'Note that the caller was shown these matches: they are no longer new, on any device.';

create function public.list_new_matches()
returns setof uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.match_id
    from automatch.feed_counters as h
    join automatch.feed_entries as e on e.profile_id = h.profile_id and e.position > h.seen_position
    where h.profile_id = (select automatch.uid())
      and e.seen_at is null and e.match_id is not null
      and automatch.may_see(e.profile_id, e.other_profile_id)
    limit 100
$$;
comment on function public.list_new_matches() is 'The caller''s matches that they have not seen yet; at most 100.';

create function public.read_unseen_matches(p_claims jsonb[])
returns table (reader integer, match_id uuid)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, n.id from public.list_new_matches() as n (id);
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_unseen_matches(jsonb[]) is
    'list_new_matches() as each of many people, under row level security as that person; nothing of ended sessions.';

create function public.list_matches(
    p_show text default 'all', p_sort text default 'newest', p_similarity double precision default null,
    p_place bigint default null, p_back boolean default false, p_since timestamptz default null,
    p_limit integer default 20
)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- Planned for one order and one filter: then the newest are read from the index, and only as many as are shown.
set plan_cache_mode = force_custom_plan
as $$
    select v.*
    from (
        select
            e.position as news, m.id, e.other_profile_id as other_id, p.name, p.school,
            case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end as face_id,
            case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end as own_face_id,
            automatch.shown_similarity(m.similarity) as shown,
            p.simulated, e.created_at, m.id as last_match_id, e.place, l.profile_id is not null as liked,
            coalesce(l.mutual, false) as mutual, coalesce(l.was_mutual and e.seen_at is null, false) as was_mutual,
            l.sentence, l.handle, e.seen_at is null as is_new
        from automatch.feed_entries as e
        join public.matches as m on m.id = e.match_id
        join public.profiles as p on p.id = e.other_profile_id
        left join automatch.shown_likes as l
            on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
        where e.profile_id = (select automatch.uid())
          and (p_show <> 'liked' or l.profile_id is not null)
          and (
              p_show <> 'new'
              or (
                  e.position > (
                      select h.seen_position from automatch.feed_counters as h
                      where h.profile_id = (select automatch.uid())
                  )
                  and e.seen_at is null
              )
              or e.seen_at >= p_since
          )
          and (
              p_place is null
              or case
                  -- As shown: an order by the exact similarity would tell more than the shown one.
                  when p_sort = 'best' and p_back
                      then (automatch.shown_similarity(m.similarity), e.place) > (p_similarity, p_place)
                  when p_sort = 'best'
                      then (automatch.shown_similarity(m.similarity), e.place) < (p_similarity, p_place)
                  when p_back then e.place > p_place
                  else e.place < p_place
              end
          )
        order by
            case when p_sort = 'best' and not p_back then automatch.shown_similarity(m.similarity) end desc,
            case when p_sort = 'best' and p_back then automatch.shown_similarity(m.similarity) end,
            case when not p_back then e.place end desc,
            case when p_back then e.place end
        -- Ordered first, so that may_see() is asked about those only that are shown.
        offset 0
    ) as v
    where automatch.may_see((select automatch.uid()), v.other_id)
    limit least(greatest(p_limit, 1), 100)
$$;
comment on function public.list_matches(text, text, double precision, bigint, boolean, timestamptz, integer) is
    'The caller''s matches: all, those that are liked, or those that are new or were seen since p_since; the newest or '
    'the best first. They go on after a similarity, which only the best first need, and a place; with p_back before '
    'these, the nearest first.';

create function public.show_match(p_match_id uuid)
returns table (
    "position" bigint, match_id uuid, profile_id uuid, name text, school text, face_id uuid, own_face_id uuid,
    similarity double precision, simulated boolean, created_at timestamptz, last_match_id uuid, place bigint,
    liked boolean, mutual boolean, was_mutual boolean, sentence text, handle text, is_new boolean, eyes jsonb, own_eyes jsonb, threshold double precision
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        e.position, m.id, e.other_profile_id, p.name, p.school, side.face_id, side.own_face_id,
        automatch.shown_similarity(m.similarity), p.simulated, e.created_at, m.id, e.place, l.profile_id is not null,
        coalesce(l.mutual, false), coalesce(l.was_mutual and e.seen_at is null, false), l.sentence, l.handle,
        e.seen_at is null,
        (select t.quality -> 'eyes' from public.face_embeddings as t
         where t.model = k.model and t.face_id = side.face_id),
        (select t.quality -> 'eyes' from public.face_embeddings as t
         where t.model = k.model and t.face_id = side.own_face_id),
        (select o.threshold from public.match_settings as o)
    from public.matches as asked
    -- The card shows the best pair of photos, which may be another one by now.
    join automatch.feed_entries as e
        on e.profile_id = (select automatch.uid()) and e.other_profile_id in (asked.profile_a_id, asked.profile_b_id)
    join public.matches as m on m.id = e.match_id
    join public.profiles as p on p.id = e.other_profile_id
    left join automatch.shown_likes as l on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
    cross join lateral (
        select
            case when m.profile_a_id = e.other_profile_id then m.face_a_id else m.face_b_id end as face_id,
            case when m.profile_a_id = e.other_profile_id then m.face_b_id else m.face_a_id end as own_face_id
    ) as side
    cross join (select public.active_embedding_model() as model) as k
    where asked.id = p_match_id
      and (select automatch.uid()) in (asked.profile_a_id, asked.profile_b_id)
      and automatch.may_see(e.profile_id, e.other_profile_id)
$$;
comment on function public.show_match(uuid) is
    'A match of the caller as its card shows it, with the places of both eyes in both photos; nothing when it is gone.';

-- 69_push_subscriptions.sql

-- Who is told of new look-alikes while no page is open: devices by web push, people by a mail now and then.
--
-- Nothing is written while matches are made. What is new is what lies above the last position that was told, has not
-- been seen on any page, and is old enough that an open page would have shown it.

create table automatch.push_subscriptions (
    id uuid primary key default gen_random_uuid(),
    profile_id uuid not null references public.profiles (id) on delete cascade,
    -- No foreign key: another server may keep the sessions. Null where none here knows when it ends.
    session_id uuid,
    endpoint text not null,
    p256dh text not null,
    auth text not null,
    language text not null,
    renewed_at timestamptz not null default automatch.now(),
    told_at timestamptz not null default automatch.now(),
    told_position bigint not null default 0,
    run_at timestamptz not null default automatch.now(),
    attempts smallint not null default 0,
    lease_token integer not null default 0,
    constraint endpoint_is_single unique (endpoint),
    constraint endpoint_is_https check (endpoint ~ '^https://' and length(endpoint) <= 1000),
    constraint keys_are_short check (length(p256dh) between 80 and 100 and length(auth) between 20 and 40)
);
comment on table automatch.push_subscriptions is
    'Devices that a person asked to be told on. One belongs to the session in which it was asked, and ends with it; or 30 '
    'days after it was renewed, where nobody here knows when the session ends.';
comment on column automatch.push_subscriptions.told_at is 'Likes of both up to then are told; told_position is that of the feed.';
comment on column automatch.push_subscriptions.lease_token is 'Grows with each taking: a server whose lease has ended settles nothing.';
comment on column automatch.push_subscriptions.endpoint is 'Whoever has it and the two keys may send to the device.';
create index push_subscriptions_profile_idx on automatch.push_subscriptions (profile_id);
create index push_subscriptions_run_idx on automatch.push_subscriptions (run_at);

create table automatch.digests (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    every interval not null,
    due_at timestamptz not null,
    told_position bigint not null default 0,
    token uuid not null default gen_random_uuid(),
    constraint digest_is_daily_or_weekly check (every in ('1 day', '7 days'))
);
comment on table automatch.digests is 'People who want a mail about what is new and unseen. Its token ends that without a sign-in.';
create index digests_due_idx on automatch.digests (due_at);
create unique index digests_token_idx on automatch.digests (token);

create function automatch.count_news(p_profile_id uuid, p_after bigint, p_until bigint default null)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select count(*)::integer from (
        select from automatch.feed_entries as e
        where e.profile_id = p_profile_id and e.position > p_after and (p_until is null or e.position <= p_until)
          and e.seen_at is null and e.match_id is not null
          and automatch.may_see(e.profile_id, e.other_profile_id)
        limit 100
    ) as found
$$;
comment on function automatch.count_news(uuid, bigint, bigint) is
    'How many matches above a position, and up to another, a person has not seen; at most 100.';

create function public.save_push_subscription(p_endpoint text, p_p256dh text, p_auth text, p_language text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
begin
    perform from public.profiles as p where p.id = v_me for no key update;
    if not found then
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
    insert into automatch.push_subscriptions as s (profile_id, session_id, endpoint, p256dh, auth, language, told_position)
    values (
        v_me,
        case
            when (automatch.claims() ->> 'external')::boolean and not public.is_session_live(automatch.claims() - 'external') then null
            else (automatch.claims() ->> 'session_id')::uuid
        end,
        p_endpoint, p_p256dh, p_auth, p_language,
        coalesce((select h.last_position from automatch.feed_counters as h where h.profile_id = v_me), 0)
    )
    -- The device may have been somebody else's, who is told on it no more. Its browser knows the keys.
    on conflict on constraint endpoint_is_single do update
        set profile_id = excluded.profile_id, session_id = excluded.session_id, p256dh = excluded.p256dh,
            auth = excluded.auth, language = excluded.language, told_position = excluded.told_position, told_at = automatch.now(),
            run_at = automatch.now(), attempts = 0, renewed_at = automatch.now(), lease_token = s.lease_token + 1
        where s.profile_id = excluded.profile_id or (s.p256dh, s.auth) = (excluded.p256dh, excluded.auth);
    if not found then
        perform automatch.raise_error('forbidden', 'This device is somebody else''s.');
    end if;
    -- Browsers give a new endpoint now and then.
    delete from automatch.push_subscriptions as s
    where s.profile_id = v_me and s.id not in (
        select n.id from automatch.push_subscriptions as n
        where n.profile_id = v_me order by n.renewed_at desc, n.id limit 10
    );
end
$$;
comment on function public.save_push_subscription(text, text, text, text) is
    'Have the caller told on a device, until their session ends; on the ten newest at most.';

create function public.forget_push_subscription(p_endpoint text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    delete from automatch.push_subscriptions as s
    where s.endpoint = p_endpoint and s.profile_id = (select automatch.uid())
$$;
comment on function public.forget_push_subscription(text) is 'Tell the caller on a device no more.';

create function public.set_digest(p_every text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_every constant interval := case p_every when 'daily' then interval '1 day' when 'weekly' then interval '7 days' end;
begin
    perform from public.profiles as p where p.id = v_me for no key update;
    if v_every is null then
        delete from automatch.digests as d where d.profile_id = v_me;
        return;
    end if;
    insert into automatch.digests (profile_id, every, due_at, told_position)
    values (
        v_me, v_every, automatch.now() + v_every,
        coalesce((select h.last_position from automatch.feed_counters as h where h.profile_id = v_me), 0)
    )
    on conflict (profile_id) do update set every = excluded.every, due_at = excluded.due_at;
end
$$;
comment on function public.set_digest(text) is 'How often the caller gets a mail about what is new: daily, weekly, or never for anything else.';

create function public.get_digest()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select case d.every when interval '1 day' then 'daily' else 'weekly' end
            from automatch.digests as d where d.profile_id = (select automatch.uid())
        ),
        'off'
    )
$$;
comment on function public.get_digest() is 'How often the caller gets a mail about what is new.';

create function public.end_digest(p_token uuid)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ delete from automatch.digests as d where d.token = p_token $$;
comment on function public.end_digest(uuid) is 'End the mails of whoever has got one with this token; without a word if there are none.';

create function automatch.read_settled_news(
    p_profile_id uuid, p_position bigint, p_age interval, out last_position bigint, out liked_at timestamptz,
    out next_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        -- Younger ones would be skipped with what is told now.
        coalesce(young.first_position - 1, h.last_position), liked.told_at, young.first_at + p_age
    from automatch.feed_counters as h
    cross join lateral (
        select min(e.position) as first_position, min(greatest(e.created_at, l.told_at)) as first_at
        from automatch.feed_entries as e
        left join automatch.likes as l on l.profile_id = e.profile_id and l.other_profile_id = e.other_profile_id
        where e.profile_id = h.profile_id and e.position > p_position
          and greatest(e.created_at, l.told_at) > automatch.now() - p_age
    ) as young
    cross join lateral (
        select max(l.told_at) as told_at from automatch.likes as l
        where l.profile_id = h.profile_id and l.told_at <= automatch.now() - p_age
    ) as liked
    where h.profile_id = p_profile_id
$$;
comment on function automatch.read_settled_news(uuid, bigint, interval) is
    'Up to which position of a feed, and which time of likes, everything is of an age at which an open page has shown '
    'it; and when the next will be.';

create function public.take_pushes(p_limit integer, p_lease interval, p_age interval default '20 seconds')
returns table (
    id uuid, endpoint text, p256dh text, auth text, language text, news integer, is_mutual boolean,
    "position" bigint, liked_at timestamptz, attempts smallint, lease_token integer
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with due as materialized (
        select s.id as due_id, s.profile_id, s.session_id, s.told_position, s.told_at
        from automatch.push_subscriptions as s
        join automatch.feed_counters as h on h.profile_id = s.profile_id
        where s.run_at <= automatch.now()
          and (
              h.last_position > s.told_position
              or exists (select from automatch.likes as l where l.profile_id = s.profile_id and l.told_at > s.told_at)
          )
        order by s.run_at
        limit p_limit
        for update of s skip locked
    ),
    ended as (
        delete from automatch.push_subscriptions as s using due as d
        where s.id = d.due_id
          and not public.is_session_live(jsonb_build_object('sub', d.profile_id, 'session_id', d.session_id))
        returning s.id as ended_id
    ),
    found as materialized (
        select d.*, n.*, automatch.count_news(d.profile_id, d.told_position, n.last_position) as news,
            exists (
                select from automatch.likes as l
                join automatch.feed_entries as e
                    on e.profile_id = l.profile_id and e.other_profile_id = l.other_profile_id
                -- One that was taken back since is told, too: the other has read what this person shares.
                where l.profile_id = d.profile_id and l.told_at > d.told_at and l.told_at <= n.liked_at
                  and e.seen_at is null and automatch.may_see(l.profile_id, l.other_profile_id)
            ) as is_mutual
        from due as d
        cross join lateral automatch.read_settled_news(d.profile_id, d.told_position, p_age) as n
        where d.due_id not in (select x.ended_id from ended as x)
    ),
    taken as (
        update automatch.push_subscriptions as s
        set run_at = case when f.is_news then automatch.now() + p_lease else coalesce(f.next_at, automatch.now()) end,
            attempts = case when f.is_news then least(s.attempts + 1, 100) else 0 end,
            lease_token = s.lease_token + 1,
            told_position = case when f.is_news then s.told_position else greatest(s.told_position, f.last_position) end,
            told_at = case when f.is_news then s.told_at else greatest(s.told_at, f.liked_at) end
        from (select n.*, n.news > 0 or n.is_mutual as is_news from found as n) as f
        where s.id = f.due_id
        returning s.id as taken_id, s.endpoint, s.p256dh, s.auth, s.language, s.attempts, s.lease_token
    )
    select t.taken_id, t.endpoint, t.p256dh, t.auth, t.language, f.news, f.is_mutual, f.last_position, f.liked_at,
        t.attempts, t.lease_token
    from taken as t
    join found as f on f.due_id = t.taken_id
    where f.news > 0 or f.is_mutual;
end
$$;
comment on function public.take_pushes(integer, interval, interval) is
    'Devices of people who have news of an age that they have not seen and were not told of. Unless finished within the '
    'lease, one is due again; those of ended sessions are forgotten.';

create function public.finish_push(
    p_id uuid, p_lease_token integer, p_position bigint, p_liked_at timestamptz, p_quiet interval
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.push_subscriptions as s
    set told_position = greatest(s.told_position, p_position), told_at = greatest(s.told_at, p_liked_at),
        run_at = automatch.now() + p_quiet, attempts = 0
    where s.id = p_id and s.lease_token = p_lease_token
$$;
comment on function public.finish_push(uuid, integer, bigint, timestamptz, interval) is
    'Note that a device was told; nothing more comes to it before the quiet time is over. Nothing if it was taken again.';

create function public.postpone_push(p_id uuid, p_lease_token integer, p_delay interval)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_delay is null then
        delete from automatch.push_subscriptions as s where s.id = p_id and s.lease_token = p_lease_token;
    else
        update automatch.push_subscriptions as s set run_at = automatch.now() + p_delay
        where s.id = p_id and s.lease_token = p_lease_token;
    end if;
end
$$;
comment on function public.postpone_push(uuid, integer, interval) is
    'Try a device again after a delay; without one it is gone. Nothing if it was taken again.';

create function public.enqueue_digests(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_digest record;
    v_count integer := 0;
begin
    for v_digest in
        select d.profile_id, d.every, d.told_position, p.email, h.last_position
        from automatch.digests as d
        join public.profiles as p on p.id = d.profile_id
        join automatch.feed_counters as h on h.profile_id = d.profile_id
        where d.due_at <= automatch.now()
        order by d.due_at
        limit p_limit
        for update of d skip locked
    loop
        v_count := v_count + 1;
        update automatch.digests as d
        set due_at = automatch.now() + v_digest.every, told_position = v_digest.last_position
        where d.profile_id = v_digest.profile_id;
        if v_digest.email is not null
            and automatch.count_news(v_digest.profile_id, v_digest.told_position) > 0
        then
            perform public.enqueue_mail('digest', v_digest.email, v_digest.profile_id);
        end if;
    end loop;
    return v_count;
end
$$;
comment on function public.enqueue_digests(integer) is
    'Have mails sent to people who want them and have something new. How many were looked at; call again until it is 0.';

create function public.read_digest(p_profile_id uuid)
returns table (news integer, token uuid) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select automatch.count_news(d.profile_id, 0), d.token
    from automatch.digests as d where d.profile_id = p_profile_id
$$;
comment on function public.read_digest(uuid) is 'What a mail says that waits to be sent: how many are still new. No row for whoever wants none any more.';

-- 70_operators.sql

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

-- 71_operator_notices.sql

-- Who runs this installation, and the texts that they publish: privacy notice and consent text.

create table automatch.operator_identity (
    only_row boolean primary key default true,
    name text,
    contact_email text,
    contact_url text,
    constraint there_is_one_row check (only_row),
    constraint name_is_one_line check (name = btrim(name) and name !~ '[[:cntrl:]]' and length(name) between 1 and 120),
    -- As it stands in a mailto: link.
    constraint contact_email_is_plain check (
        contact_email ~ '^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}$'
    ),
    constraint contact_url_is_a_web_address check (
        contact_url ~ '^https?://[^[:space:][:cntrl:]<>"]+$' and length(contact_url) <= 300
    )
);
comment on table automatch.operator_identity is 'Shown on pages and in mails. Without a contact it is a test installation.';
insert into automatch.operator_identity default values;

create function public.get_site_operator()
returns table (name text, contact_email text, contact_url text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select o.name, o.contact_email, o.contact_url from automatch.operator_identity as o $$;
comment on function public.get_site_operator() is 'Who runs this installation, and how to reach them.';

create function public.set_site_operator(p_name text, p_contact_email text, p_contact_url text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.operator_identity as o
    set name = nullif(coalesce(btrim(p_name), o.name), ''),
        contact_email = nullif(coalesce(btrim(p_contact_email), o.contact_email), ''),
        contact_url = nullif(coalesce(btrim(p_contact_url), o.contact_url), '')
$$;
comment on function public.set_site_operator(text, text, text) is
    'Say who runs this installation. Null leaves a value as it is, an empty text removes it.';

create table automatch.privacy_notices (
    version text primary key,
    body text not null,
    published_at timestamptz not null default automatch.now(),
    language text not null default 'en',
    by_operator boolean not null default true,
    constraint language_is_a_tag check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    constraint body_is_text check (body = btrim(body, E' \n') and length(body) between 1 and 50000)
);
comment on table automatch.privacy_notices is
    'Every version of what people are told about their data, in all languages. Add rows, never edit.';
insert into automatch.privacy_notices (by_operator, version, body) values (false, '2026-11', btrim($$
Auto-Match compares the faces of people at one school and shows them who looks alike. This page says what is kept about you, who sees it, and how it goes away.

What is kept: your e-mail address and a hash of your password; the name, school, gender and birth date that you enter, and how you showed that you belong to the school; your photos, without place and camera; a face template, which is a list of numbers computed from each photo; whom you look like, and how much; whom you hide or report; which photos you were shown, for some months; and what you agreed to, and when.

A face template is biometric data. It is computed only after you agree to that. You can say no and keep your account, and you can change your mind at any time.

Who sees it: people you look like, if they agreed to the same, see your name, your school, your photo and a rounded score. No one else is shown them. No one is shown your e-mail address or your birth date. Whoever runs the server can read what lies on it. Photos that somebody reports are looked at by those who run it, and each look is recorded. Nothing is sold, given to others, or used for advertising or to train anything.

How it goes away: in your profile you can delete a photo, withdraw your consent or delete your account. That is gone from the database at once and from its files within minutes. Copies in backups go with the backup.

What a score means: two photos look alike to a computer. It does not mean that two people are related, are the same person, or have anything else in common. It is wrong more often for some groups of people than for others.

Your rights: you can see, correct, take along and delete what is kept about you. Ask whoever runs this installation. You can also complain to the data protection authority of your country.
$$, E'\n'));

create function automatch.forbid_notice_changes()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'integrity_constraint_violation',
        message = 'texts that were published are not changed: publish another version';
end
$$;

create trigger consent_texts_insert_only before update or delete or truncate on public.consent_texts
for each statement execute function automatch.forbid_notice_changes();

create trigger privacy_notices_insert_only before update or delete or truncate on automatch.privacy_notices
for each statement execute function automatch.forbid_notice_changes();

create function public.list_notices(p_kind text)
returns table (
    version text, language text, body text, by_operator boolean, asks_again boolean, published_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select * from (
        select t.version, t.language, t.body, t.by_operator, t.asks_again, t.published_at
        from public.consent_texts as t where p_kind = 'consent'
        union all
        select p.version, p.language, p.body, p.by_operator, false, p.published_at
        from automatch.privacy_notices as p where p_kind = 'privacy'
    ) as n
    order by n.published_at desc, n.version desc
$$;
comment on function public.list_notices(text) is 'All versions of the consent text (consent) or the privacy notice (privacy), newest first.';

create function public.current_notices(p_kind text)
returns table (version text, language text, body text, published_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with every as (select * from public.list_notices(p_kind))
    select distinct on (e.language) e.version, e.language, e.body, e.published_at
    from every as e
    where (e.by_operator or not exists (select from every as o where o.by_operator))
      -- Whoever reads another language is not to agree to what was replaced.
      and e.published_at >= coalesce(
          (select max(a.published_at) from every as a where a.asks_again), '-infinity'
      )
    order by e.language, e.published_at desc, e.version desc
$$;
comment on function public.current_notices(text) is
    'The texts that hold now, one for each language: the newest, and those of the operator before ours.';

create function public.publish_notice(p_kind text, p_language text, p_body text, p_asks_again boolean)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_day text := to_char(automatch.now() at time zone 'utc', 'YYYY-MM-DD') || '-' || p_language;
    v_count integer := (select count(*) from public.list_notices(p_kind) as n where starts_with(n.version, v_day));
    v_version text := v_day || case when v_count > 0 then '.' || (v_count + 1) else '' end;
begin
    if p_kind = 'consent' then
        insert into public.consent_texts (version, language, body, asks_again)
        values (v_version, p_language, p_body, p_asks_again);
    elsif p_kind = 'privacy' and not p_asks_again then
        insert into automatch.privacy_notices (version, language, body) values (v_version, p_language, p_body);
    else
        perform automatch.raise_error('input_invalid', 'Publish consent or privacy; only for consent people are asked again.');
    end if;
    return v_version;
end
$$;
comment on function public.publish_notice(text, text, text, boolean) is
    'Publish a text that holds from now on for readers of its language; its version.';

-- 72_people_admin.sql

-- What operators see of a person and do for one. Who may is checked, and recorded, by automatch.services.operators.acts.

create function public.find_people(p_query text, p_limit integer default 20)
returns table (id uuid, email text, name text, school text, created_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select lower(btrim(normalize(p_query, nfc))) as query
    )
    select p.id, p.email, p.name, p.school, p.created_at
    from asked as a
    join public.profiles as p
        on p.id::text = a.query or strpos(lower(p.email), a.query) > 0
            or strpos(lower(normalize(p.name, nfc)), a.query) > 0
    where a.query <> ''
    order by p.id::text = a.query or lower(p.email) = a.query desc, p.created_at desc, p.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.find_people(text, integer) is
    'People by their id, or by a part of their address or name; whom it names exactly comes first.';

create function public.find_person_by_email(p_email text)
returns uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return (select u.id from auth.users as u where lower(u.email) = lower(p_email) order by u.created_at limit 1);
end
$$;
comment on function public.find_person_by_email(text) is 'The account with this address, or null.';

create function public.show_person(p_id uuid)
returns table (
    id uuid, email text, name text, school text, gender text, created_at timestamptz, last_sign_in_at timestamptz,
    discoverable boolean, admitted boolean, memberships text[], frozen_at timestamptz, frozen_reason text,
    simulated boolean, imported boolean, operator_role text, consents boolean,
    consent_version text, consent_at timestamptz, photos bigint, jobs_waiting bigint, jobs_failed bigint,
    matches bigint, sessions bigint, suspected_duplicates bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select p.id, p.email, p.name, p.school, p.gender, p.created_at,
        (select u.last_sign_in_at from auth.users as u where u.id = p.id),
        p.discoverable, p.admitted,
        array(
            select s.name || ': ' || m.proof
            from automatch.memberships as m join automatch.schools as s on s.id = m.school_id
            where m.profile_id = p.id
            order by s.name
        ),
        f.frozen_at, f.reason, p.simulated,
        exists (select from automatch.imported_people as i where i.profile_id = p.id),
        (select o.role from automatch.operators as o where o.profile_id = p.id),
        coalesce(c.action = 'granted', false), c.text_version, c.recorded_at,
        (select count(*) from public.faces as a where a.profile_id = p.id),
        (select count(*) from public.match_jobs as j where j.user_id = p.id and j.completed_at is null),
        (select count(*) from public.match_jobs as j where j.user_id = p.id and j.status = 'failed'),
        (select count(*) from automatch.feed_entries as e where e.profile_id = p.id and e.match_id is not null),
        (select count(*) from auth.sessions as s where s.user_id = p.id),
        (
            select count(*) from automatch.suspected_duplicates as d
            where p.id in (d.profile_a_id, d.profile_b_id) and d.state = 'open'
        )
    from public.profiles as p
    left join automatch.frozen_profiles as f on f.profile_id = p.id
    left join lateral (
        select b.action, b.text_version, b.recorded_at from public.biometric_consents as b
        where b.profile_id = p.id
        order by b.id desc
        limit 1
    ) as c on true
    where p.id = p_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
end
$$;
comment on function public.show_person(uuid) is
    'What an operator needs to help a person; neither photos nor templates, and of matches only how many.';

create function public.create_person(p_email text)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    -- Only where we keep the accounts.
    v_create regprocedure := to_regprocedure('auth.create_user(text, text, jsonb)');
begin
    if v_create is null then
        perform automatch.raise_error('input_invalid', 'Make the account in Supabase first.');
    end if;
    -- No password has the hash '!'.
    execute format('select %s($1, ''!'', ''{}'')', v_create::oid::regproc) into v_id using p_email;
    return v_id;
end
$$;
comment on function public.create_person(text) is
    'Make an account without a password, whose person chooses one by a mailed link.';

-- 73_school_admin.sql

-- The operator's functions for the list of schools.

create function automatch.set_school_names(
    p_school_id uuid, p_aliases text[], p_domains text[], p_dropped_aliases text[], p_dropped_domains text[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_alias text;
begin
    delete from automatch.school_spellings as p
    using automatch.schools as s
    where p.school_id = p_school_id and s.id = p_school_id and p.folded <> automatch.fold_school(s.name)
      and p.folded in (select automatch.fold_school(a) from unnest(p_dropped_aliases) as a);
    delete from automatch.school_domains as d where d.school_id = p_school_id and d.domain = any (p_dropped_domains);
    foreach v_alias in array coalesce(p_aliases, '{}') loop
        perform automatch.add_spelling(p_school_id, btrim(v_alias));
    end loop;
    insert into automatch.school_domains (domain, school_id)
    select distinct d, p_school_id from unnest(p_domains) as d
    on conflict do nothing;
end
$$;

create function public.add_school(
    p_name text, p_domains text[] default '{}', p_aliases text[] default '{}', p_open boolean default false,
    p_actor text default null
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := btrim(regexp_replace(normalize(p_name, nfc), '\s+', ' ', 'g'));
    v_other automatch.schools := automatch.find_school(v_name);
    v_id uuid;
begin
    if v_other.id is not null then
        perform automatch.raise_error('school_exists', v_name || ' is a spelling of ' || v_other.name || '.');
    end if;
    insert into automatch.schools (name, is_open) values (v_name, p_open) returning id into v_id;
    perform automatch.set_school_names(v_id, p_aliases, p_domains, '{}', '{}');
    perform automatch.audit(p_actor, 'add_school', jsonb_build_object(
        'school', v_name, 'open', p_open, 'domains', to_jsonb(p_domains), 'aliases', to_jsonb(p_aliases)
    ));
end
$$;
comment on function public.add_school(text, text[], text[], boolean, text) is
    'Put a school on the list. p_open: nobody has to prove that they belong to it.';

create function public.change_school(
    p_school text, p_domains text[] default '{}', p_aliases text[] default '{}', p_dropped_domains text[] default '{}',
    p_dropped_aliases text[] default '{}', p_actor text default null
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.lock_school(p_school);
begin
    perform automatch.set_school_names(v_school.id, p_aliases, p_domains, p_dropped_aliases, p_dropped_domains);
    perform automatch.audit(p_actor, 'change_school', jsonb_build_object(
        'school', v_school.name, 'domains', to_jsonb(p_domains), 'aliases', to_jsonb(p_aliases),
        'dropped_domains', to_jsonb(p_dropped_domains), 'dropped_aliases', to_jsonb(p_dropped_aliases)
    ));
end
$$;
comment on function public.change_school(text, text[], text[], text[], text[], text) is
    'Add and drop domains and aliases of a school; then refresh_school_proofs().';

create function public.set_school_open(p_school text, p_open boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    -- In one transaction 20,000 people take minutes.
    perform set_config('automatch.in_steps', 'on', true);
    update automatch.schools as s set is_open = p_open where s.id = v_school.id and s.is_open <> p_open;
    if found then
        perform automatch.audit(
            p_actor, case when p_open then 'open_school' else 'close_school' end, jsonb_build_object('school', v_school.name)
        );
    end if;
    perform set_config('automatch.in_steps', '', true);
end
$$;
comment on function public.set_school_open(text, boolean, text) is
    'Open: whoever names the school belongs to it. Closed: only its members. Then refresh_school_proofs().';

create function public.get_schools(p_school text default null)
returns table (
    name text, is_open boolean, domains text[], aliases text[], people bigint, members bigint, requests bigint,
    invitations bigint, created_at timestamptz, findable bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
    v_id constant uuid := case when p_school is not null then (automatch.require_school(p_school)).id end;
    v_name constant text := (select s.name from automatch.schools as s where s.id = v_id);
begin
    return query
    with findable as materialized (
        select i.school, count(distinct i.profile_id) as people
        from public.face_index as i
        where i.model = v_model and i.gender = any (array['male', 'female']) and (v_name is null or i.school = v_name)
        group by i.school
    )
    select s.name, s.is_open,
        array(select d.domain from automatch.school_domains as d where d.school_id = s.id order by 1),
        array(
            select p.spelling from automatch.school_spellings as p
            where p.school_id = s.id and p.folded <> automatch.fold_school(s.name) order by 1
        ),
        (select count(*) from public.profiles as p where p.school = s.name and p.profile_type = 'user'),
        (select count(*) from automatch.memberships as m where m.school_id = s.id),
        (select count(*) from automatch.membership_requests as r where r.school_id = s.id and r.refused_at is null),
        (select count(*) from public.list_invitations(s.name)),
        s.created_at, coalesce(f.people, 0)
    from public.list_schools() as l
    join automatch.schools as s on s.name = l.school
    left join findable as f on f.school = s.name
    where v_id is null or s.id = v_id
    order by lower(s.name), s.name;
end
$$;
comment on function public.get_schools(text) is 'The list of schools as an operator sees it, or one of them.';

create function public.rename_school(p_school text, p_name text, p_actor text default null)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old automatch.schools := automatch.require_school(p_school);
    v_name text := btrim(regexp_replace(normalize(p_name, nfc), '\s+', ' ', 'g'));
    v_other automatch.schools := automatch.find_school(v_name);
    v_people bigint;
begin
    if v_other.id <> v_old.id then
        perform automatch.raise_error(
            'school_exists', v_other.name || ' is already a school; merge them to make one of two.'
        );
    end if;
    if exists (select from automatch.smoke_test_runs as t where t.school = v_old.name) then
        perform automatch.raise_error('input_invalid', 'This school is that of a smoke test.');
    end if;
    -- In one transaction: if some were moved before others, they would not find each other in between.
    perform automatch.lock_pauses_exclusive();
    perform set_config('automatch.renaming', 'on', true);
    update automatch.schools as s set name = v_name where s.id = v_old.id;
    perform from public.profiles as p where p.school = v_old.name order by p.id for no key update;
    update public.profiles as p set school = v_name where p.school = v_old.name;
    get diagnostics v_people = row_count;
    perform automatch.rename_index_school(v_old.name, v_name);
    -- An index of a group is of rows with its name: `automatch tune --build` makes a new one.
    update automatch.group_indexes as g set school = v_name, ready = false where g.school = v_old.name;
    update automatch.paused_schools as s set school = v_name where s.school = v_old.name;
    update automatch.search_audits as a set school = v_name where a.school = v_old.name;
    perform from public.match_jobs as j
    where j.completed_at is null and j.school = v_old.name order by j.id for no key update;
    update public.match_jobs as j set school = v_name where j.completed_at is null and j.school = v_old.name;
    perform set_config('automatch.renaming', '', true);
    perform automatch.audit(p_actor, 'rename_school', jsonb_build_object('from', v_old.name, 'to', v_name, 'people', v_people));
    return v_people;
end
$$;
comment on function public.rename_school(text, text, text) is
    'Give a school another name, wherever that is written; its old one becomes an alias. Nothing is searched for '
    'again. The number of people. Then rename_finished_jobs().';

create function public.rename_finished_jobs(p_limit integer default 2000)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    update public.match_jobs as j set school = (automatch.find_school(j.school)).name
    where j.id = any (array(
        select o.id from public.match_jobs as o
        where o.completed_at is not null
          and not exists (select from automatch.schools as s where s.name = o.school)
          and (automatch.find_school(o.school)).id is not null
        order by o.id
        limit p_limit
        for no key update skip locked
    ));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.rename_finished_jobs(integer) is
    'Write the names of schools that were renamed or merged into some finished jobs. How many; call again until it is 0.';

create function public.merge_schools(p_from text, p_into text, p_limit integer default 100, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_from automatch.schools := automatch.require_school(p_from);
    v_into automatch.schools := automatch.require_school(p_into);
    v_ids uuid[];
begin
    if v_from.id = v_into.id then
        perform automatch.raise_error('input_invalid', 'These are two spellings of one school.');
    end if;
    perform from automatch.schools as s where s.id in (v_from.id, v_into.id) order by s.id for update;
    v_ids := array(
        select p.id from public.profiles as p where p.school = v_from.name order by p.id limit p_limit for no key update
    );
    if cardinality(v_ids) > 0 then
        perform automatch.lock_related_feeds(v_ids);
        insert into automatch.memberships (profile_id, school_id, proof, proven_at)
        select m.profile_id, v_into.id, m.proof, m.proven_at from automatch.memberships as m
        where m.school_id = v_from.id and m.profile_id = any (v_ids)
        on conflict do nothing;
        update automatch.membership_requests as r set school_id = v_into.id
        where r.school_id = v_from.id and r.profile_id = any (v_ids);
        -- What the move is for: they are searched for in their new school.
        update public.profiles as p set school = v_into.name where p.id = any (v_ids);
        return cardinality(v_ids);
    end if;
    update automatch.profile_choices as c set school_id = v_into.id where c.school_id = v_from.id;
    update automatch.school_invitations as i set school_id = v_into.id where i.school_id = v_from.id;
    update automatch.school_spellings as p set school_id = v_into.id where p.school_id = v_from.id;
    insert into automatch.school_domains (domain, school_id)
    select d.domain, v_into.id from automatch.school_domains as d where d.school_id = v_from.id
    on conflict do nothing;
    delete from automatch.schools as s where s.id = v_from.id;
    delete from automatch.paused_schools as s where s.school = v_from.name;
    perform automatch.audit(p_actor, 'merge_schools', jsonb_build_object('from', v_from.name, 'into', v_into.name));
    return 0;
end
$$;
comment on function public.merge_schools(text, text, integer, text) is
    'Move some people of a school with their proofs to another, where they are searched for. How many; call again '
    'until it is 0: then the school is gone, and its names, domains and invitations are the other''s.';

create function public.remove_school(p_school text, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    perform from automatch.schools as s where s.id = v_school.id for update;
    if exists (select from public.profiles as p where p.school = v_school.name) then
        perform automatch.raise_error(
            'school_in_use', 'People belong to this school: merge it with another one, or let them leave first.'
        );
    end if;
    delete from automatch.paused_schools as s where s.school = v_school.name;
    delete from automatch.schools as s where s.id = v_school.id;
    perform automatch.audit(p_actor, 'remove_school', jsonb_build_object('school', v_school.name));
end
$$;
comment on function public.remove_school(text, text) is 'Take a school without people off the list.';

-- 74_cases.sql

-- Reports and take-down requests: who may make one, what it hides by itself, and what both sides read and write.
--
-- A case outlives whom it is about. It has no name, address or photo, and ids only while they lead to somebody.

create table automatch.cases (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    reason text not null,
    state text not null default 'open',
    -- No foreign keys: erased people leave the cases, as nobody's.
    profile_id uuid,
    face_id uuid,
    reporter_id uuid,
    opened_at timestamptz not null default automatch.now(),
    hides boolean not null default false,
    decision text,
    decided_at timestamptz,
    decided_by text,
    appealed_at timestamptz,
    unproven_until timestamptz,
    constraint kind_is_known check (kind in ('report', 'take_down')),
    constraint reason_is_known check (reason in ('not_their_photo', 'harassment', 'under_18', 'fake', 'other')),
    constraint state_is_known check (state in ('unproven', 'open', 'waiting', 'decided')),
    constraint decision_is_known check (
        decision in ('hidden', 'frozen', 'photo_erased', 'person_erased', 'restored', 'dismissed', 'closed', 'gone',
            'withdrawn')
    ),
    constraint decided_has_a_decision check ((state = 'decided') = (decided_at is not null)),
    constraint unproven_ends check ((state = 'unproven') = (unproven_until is not null))
);
comment on table automatch.cases is 'Reports of people, and take-down requests of people without an account.';
comment on column automatch.cases.state is
    'unproven: the link in the mail was not used yet; open: an operator looks; waiting: for an answer of one side.';
comment on column automatch.cases.hides is
    'Whether the report alone hid the photo, or for `under_18` froze the person, until it is decided.';
comment on column automatch.cases.decision is
    '`gone`: the person erased their account before. `withdrawn`: the reporter took it back at once.';
create index cases_state_idx on automatch.cases (state, opened_at);
create index cases_profile_idx on automatch.cases (profile_id) where profile_id is not null;
create index cases_face_idx on automatch.cases (face_id) where face_id is not null;
create index cases_reporter_idx on automatch.cases (reporter_id) where reporter_id is not null;
create index cases_hides_idx on automatch.cases (opened_at) where hides;
create index cases_decided_idx on automatch.cases (decided_at);
create index cases_unproven_idx on automatch.cases (unproven_until);

create table automatch.case_contacts (
    case_id uuid primary key references automatch.cases (id) on delete cascade,
    address text not null,
    address_hash bytea not null,
    token_sha256 bytea,
    token_expires_at timestamptz,
    closed_at timestamptz,
    constraint token_is_single unique (token_sha256)
);
comment on table automatch.case_contacts is
    'Where somebody without an account gets an answer: the address encrypted, and a keyed hash to count requests by.';
comment on column automatch.case_contacts.closed_at is 'Since when nobody needs it: the decision, if there is no appeal.';
create index case_contacts_hash_idx on automatch.case_contacts (address_hash);
create index case_contacts_closed_idx on automatch.case_contacts (closed_at);

create table automatch.case_messages (
    id bigint generated always as identity primary key,
    case_id uuid not null references automatch.cases (id) on delete cascade,
    written_at timestamptz not null default automatch.now(),
    author text not null,
    audience text not null,
    actor text,
    body text not null,
    closed_at timestamptz,
    constraint author_is_known check (author in ('reporter', 'reported', 'operator')),
    constraint audience_is_known check (audience in ('reporter', 'reported', 'operators')),
    constraint body_is_a_text check (length(body) between 1 and 2000)
);
comment on table automatch.case_messages is
    'Insert-only, and deleted some time after the decision: what people wrote may name people.';
create index case_messages_case_idx on automatch.case_messages (case_id, id);
create index case_messages_closed_idx on automatch.case_messages (closed_at);

create function automatch.write_case_message(
    p_case_id uuid, p_author text, p_audience text, p_body text, p_actor text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.case_messages (case_id, author, audience, body, actor)
    select p_case_id, p_author, p_audience, left(btrim(p_body), 2000), p_actor
    where btrim(coalesce(p_body, '')) <> ''
$$;

create function automatch.hide_by_report(
    p_reason text, p_profile_id uuid, p_face_id uuid, p_reporter_id uuid, p_address_hash bytea
)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_day constant timestamptz := automatch.now() - interval '1 day';
    v_most constant integer := case when p_reporter_id is null then 5 else 20 end;
begin
    -- A photo hidden for nothing comes back; nobody without an account takes a person out of everything.
    if p_reason = 'under_18' and p_reporter_id is null then
        return false;
    end if;
    if p_profile_id is null or p_reason not in ('not_their_photo', 'under_18') then
        return false;
    end if;
    if p_reason = 'not_their_photo' and p_face_id is null then
        return false;
    end if;
    -- An operator has looked and found nothing; or this reporter's last one was for nothing.
    if exists (
        select from automatch.cases as c
        left join automatch.case_contacts as k on k.case_id = c.id
        where c.decision in ('dismissed', 'restored') and c.reason = p_reason and (
            c.face_id = p_face_id
            or p_reason = 'under_18' and c.profile_id = p_profile_id
            or c.hides and (c.reporter_id = p_reporter_id or k.address_hash = p_address_hash)
        )
    ) then
        return false;
    end if;
    -- One a day of one person or address; twenty of all people, and five of all requests without an account.
    if (
        select count(*) filter (where (c.kind = 'take_down') = (p_reporter_id is null)) >= v_most or count(*) filter (
            where c.reporter_id = p_reporter_id or k.address_hash = p_address_hash
        ) >= 1
        from automatch.cases as c
        left join automatch.case_contacts as k on k.case_id = c.id
        where (c.hides or c.decision = 'withdrawn') and c.opened_at > v_day
    ) then
        return false;
    end if;
    if p_reason = 'under_18' then
        if exists (select from automatch.frozen_profiles as f where f.profile_id = p_profile_id) then
            return false;
        end if;
        perform public.freeze_person(p_profile_id, 'reported');
    else
        if exists (select from automatch.held_faces as h where h.face_id = p_face_id) then
            return false;
        end if;
        perform automatch.hold_face(p_face_id, 'reported');
    end if;
    return true;
end
$$;
comment on function automatch.hide_by_report(text, uuid, uuid, uuid, bytea) is
    'Hide a photo that is said to be stolen, or freeze somebody who is said to be a minor, until it is decided; unless '
    'that was found wrong before, or there were too many. Whether it did. The caller has locked the person and reports.';

create function automatch.hides_photos(p_case automatch.cases)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p_case.state <> 'unproven'
        and coalesce(p_case.decided_at, automatch.now()) > automatch.now() - interval '1 year'
        and case
            when p_case.decision in ('hidden', 'photo_erased') then true
            when p_case.decision is null or p_case.decision in ('closed', 'frozen')
                then p_case.hides and p_case.reason = 'not_their_photo'
            else false
        end
$$;
comment on function automatch.hides_photos(automatch.cases) is
    'Whether a case hides a photo or has hidden one within a year: then it is asked about each new photo of its person.';

create function automatch.find_hiding_case(p_profile_id uuid, p_except uuid default null)
returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id from automatch.cases as c
    where c.profile_id = p_profile_id and c.id is distinct from p_except and automatch.hides_photos(c)
    order by c.state = 'decided', c.opened_at desc, c.id
    limit 1
$$;
comment on function automatch.find_hiding_case(uuid, uuid) is
    'The case because of which new photos of a person wait, if there is one but p_except.';

create function automatch.add_photos_to_cases(p_face_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_new record;
begin
    for v_new in
        select c.id, c.face_id
        from (
            select distinct on (f.profile_id) automatch.find_hiding_case(f.profile_id) as id, f.id as face_id
            from public.faces as f where f.id = any (p_face_ids)
            order by f.profile_id, f.created_at desc, f.id
        ) as c
        where c.id is not null
        order by c.id
    loop
        update automatch.cases as c
        set state = 'open', decided_at = null, face_id = coalesce(c.face_id, v_new.face_id)
        where c.id = v_new.id;
        update automatch.case_messages as m set closed_at = null where m.case_id = v_new.id;
        update automatch.case_contacts as k set closed_at = null where k.case_id = v_new.id;
        perform automatch.write_case_message(
            v_new.id, 'operator', 'operators', 'The person has sent another photo, which is hidden until you decide.',
            'automatch'
        );
    end loop;
end
$$;
comment on function automatch.add_photos_to_cases(uuid[]) is
    'Put new photos, which are held, before those who decide the cases of their people, again where that was decided. '
    'The people are locked.';

create function automatch.lock_reports(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- One report after the other, so that each counts those before it.
    perform pg_advisory_xact_lock(automatch.lock_key('reports'));
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for no key update;
end
$$;

create function public.find_shown_person(p_profile_id uuid)
returns table (profile_id uuid, name text, face_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Also somebody whose card is gone: hiding is no way to escape a report. Their name and photo are not shown again.
    select p.id,
        case when m.id is not null then p.name end,
        case when m.profile_a_id = p.id then m.face_a_id else m.face_b_id end
    from automatch.feed_entries as e
    join public.profiles as p on p.id = e.other_profile_id
    left join public.matches as m on m.id = e.match_id and automatch.may_see(e.profile_id, e.other_profile_id)
    where e.profile_id = (select automatch.uid()) and e.other_profile_id = p_profile_id
$$;
comment on function public.find_shown_person(uuid) is
    'Somebody who is or was in the caller''s feed, with what its card shows; or no row.';

create function public.report_profile(
    p_profile_id uuid, p_reason text, p_statement text default null, p_face_id uuid default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_shown record;
    v_has_card boolean;
    v_shared text;
    v_viewers uuid[];
    v_case uuid;
begin
    perform automatch.lock_reports(array[v_me, p_profile_id]);
    select s.* into v_shown from public.find_shown_person(p_profile_id) as s;
    -- What the reporter was not shown is answered as what does not exist.
    if not found or p_face_id is not null and not exists (
        select from public.matches as m
        where v_me in (m.profile_a_id, m.profile_b_id) and p_face_id in (m.face_a_id, m.face_b_id)
          and p_profile_id in (m.profile_a_id, m.profile_b_id)
          and exists (select from public.faces as f where f.id = p_face_id and f.profile_id = p_profile_id)
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    v_has_card := exists (
        select from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id and e.match_id is not null
    );
    -- As the card says it now, before it goes: it may be what the report is about.
    select 'They shared with the reporter: ' || concat_ws(' / ', l.sentence, l.handle) into v_shared
    from automatch.shown_likes as l
    where l.profile_id = v_me and l.other_profile_id = p_profile_id and v_shown.face_id is not null
      and coalesce(l.sentence, l.handle) is not null;
    select c.id into v_case from automatch.cases as c
    where c.reporter_id = v_me and c.profile_id = p_profile_id and c.reason = p_reason and c.state <> 'decided';
    if v_case is null then
        v_case := gen_random_uuid();
        insert into automatch.cases (id, kind, reason, profile_id, face_id, reporter_id, hides)
        values (
            v_case, 'report', p_reason, p_profile_id, coalesce(p_face_id, v_shown.face_id), v_me,
            automatch.hide_by_report(
                p_reason, p_profile_id, coalesce(p_face_id, v_shown.face_id), v_me, null
            )
        );
    end if;
    perform automatch.write_case_message(v_case, 'reporter', 'operators', p_statement);
    perform automatch.write_case_message(v_case, 'operator', 'operators', v_shared, 'automatch');
    -- Hiding has locked the feeds of all cards of the person; to lock another one now would be out of order.
    if v_has_card then
        v_viewers := automatch.list_viewers(v_me, p_profile_id);
    end if;
    insert into public.profile_blocks (profile_id, blocked_profile_id)
    values (v_me, p_profile_id) on conflict do nothing;
    if v_has_card then
        perform automatch.refresh_feeds(v_me, p_profile_id, v_viewers);
    end if;
    return v_case;
end
$$;
comment on function public.report_profile(uuid, text, text, uuid) is
    'Report somebody who is or was in the caller''s feed, and block them. The same again adds to the open case.';

create function public.withdraw_report(p_case_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_other constant uuid := (select c.profile_id from automatch.cases as c where c.id = p_case_id and c.reporter_id = v_me);
    v_case automatch.cases;
    v_viewers uuid[];
begin
    perform automatch.lock_reports(array[v_me, v_other]);
    select c.* into v_case from automatch.cases as c
    where c.id = p_case_id and c.reporter_id = v_me and c.state = 'open' and c.profile_id is not null
      and c.opened_at > automatch.now() - interval '1 minute'
      and not exists (
          select from automatch.case_messages as m
          where m.case_id = c.id and m.author = 'operator' and m.actor is distinct from 'automatch'
      );
    if not found then
        perform automatch.raise_error('not_found', 'This report cannot be taken back any more. You can add to it.');
    end if;
    -- All at once: what was hidden comes back into feeds too.
    perform automatch.lock_related_feeds(array[v_me, v_other]);
    v_viewers := automatch.list_viewers(v_me, v_other);
    perform automatch.undo_report(v_case);
    perform automatch.close_case(p_case_id, 'withdrawn', null);
    delete from public.profile_blocks as b
    where b.profile_id = v_me and b.blocked_profile_id = v_other and b.created_at >= v_case.opened_at;
    if found then
        perform automatch.unhide_profile(v_other, v_case.opened_at, v_viewers);
    end if;
end
$$;
comment on function public.withdraw_report(uuid) is
    'Take back a report of the last minute that nobody has looked at, with the block that came with it. It still counts as '
    'the reporter''s one a day that hides something.';

create function public.request_take_down(
    p_subject_id uuid, p_reason text, p_statement text, p_address text, p_address_hash bytea
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid;
    v_face public.faces;
begin
    select f.* into v_face from public.faces as f where f.id = p_subject_id;
    insert into automatch.cases (kind, reason, state, unproven_until, profile_id, face_id)
    values (
        'take_down', p_reason, 'unproven', automatch.now() + interval '2 days',
        coalesce(v_face.profile_id, (select p.id from public.profiles as p where p.id = p_subject_id)), v_face.id
    )
    returning id into v_case;
    insert into automatch.case_contacts (case_id, address, address_hash) values (v_case, p_address, p_address_hash);
    perform automatch.write_case_message(v_case, 'reporter', 'operators', p_statement);
    return v_case;
end
$$;
comment on function public.request_take_down(uuid, text, text, text, bytea) is
    'Keep a request of somebody without an account until the link in the mail proves the address. p_subject_id is the '
    'id of a photo or a person, or of neither.';

create function public.create_case_token(p_case_id uuid, p_token_sha256 bytea, p_life interval)
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with stored as (
        update automatch.case_contacts as k
        set token_sha256 = p_token_sha256, token_expires_at = automatch.now() + p_life
        where k.case_id = p_case_id
        returning k.case_id
    )
    select exists (select from stored)
$$;
comment on function public.create_case_token(uuid, bytea, interval) is
    'Keep the hash of a token for whoever asked without an account; false once their address is forgotten.';

create function public.find_case_token(p_token_sha256 bytea)
returns table (id uuid, reason text, state text, decision text, opened_at timestamptz, may_write boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.reason, c.state, c.decision, c.opened_at, c.state <> 'decided' or c.appealed_at is null
    from automatch.case_contacts as k
    join automatch.cases as c on c.id = k.case_id
    where k.token_sha256 = p_token_sha256 and k.token_expires_at > automatch.now()
$$;
comment on function public.find_case_token(bytea) is 'The case that a mailed link is for, or no row.';

create function public.prove_take_down(p_token_sha256 bytea)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_hash bytea;
begin
    select c.* into v_case
    from public.find_case_token(p_token_sha256) as t join automatch.cases as c on c.id = t.id
    where c.state = 'unproven';
    if not found then
        return false;
    end if;
    perform automatch.lock_reports(array[v_case.profile_id]);
    -- The first of several uses at once; the link goes on to show the case.
    update automatch.cases as c set state = 'open', unproven_until = null, opened_at = automatch.now()
    where c.id = v_case.id and c.state = 'unproven';
    if not found then
        return false;
    end if;
    select k.address_hash into v_hash from automatch.case_contacts as k where k.case_id = v_case.id;
    if automatch.hide_by_report(v_case.reason, v_case.profile_id, v_case.face_id, null, v_hash) then
        update automatch.cases as c set hides = true where c.id = v_case.id;
    end if;
    return true;
end
$$;
comment on function public.prove_take_down(bytea) is
    'Open the case of a take-down request by its mailed link; false when it was opened before, or the link is too old.';

create function automatch.add_to_case(p_case_id uuid, p_author text, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
begin
    select c.* into v_case from automatch.cases as c where c.id = p_case_id for update;
    if v_case.state = 'unproven' or v_case.state = 'decided' and v_case.appealed_at is not null or 10 <= (
        select count(*) from automatch.case_messages as m where m.case_id = p_case_id and m.author = p_author
    ) then
        perform automatch.raise_error('input_invalid', 'Nothing more can be added here.');
    end if;
    if btrim(coalesce(p_body, '')) = '' then
        perform automatch.raise_error('input_invalid', 'Write a sentence.');
    end if;
    perform automatch.write_case_message(p_case_id, p_author, 'operators', p_body);
    if v_case.state = 'decided' then
        update automatch.cases as c
        set state = 'open', decided_at = null, appealed_at = automatch.now()
        where c.id = p_case_id;
        update automatch.case_messages as m set closed_at = null where m.case_id = p_case_id;
        update automatch.case_contacts as k set closed_at = null where k.case_id = p_case_id;
    elsif v_case.state = 'waiting' then
        update automatch.cases as c set state = 'open' where c.id = p_case_id;
    end if;
end
$$;
comment on function automatch.add_to_case(uuid, text, text) is
    'Add what one side writes. After a decision it is the appeal, of which there is one: the case is open again.';

create function public.write_to_case(p_case_id uuid, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_side text := (select o.side from public.list_own_cases() as o where o.id = p_case_id);
begin
    if v_side is null then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.add_to_case(p_case_id, v_side, p_body);
end
$$;
comment on function public.write_to_case(uuid, text) is 'Answer or appeal, in one of the cases of list_own_cases().';

create function public.write_to_case_by_token(p_token_sha256 bytea, p_body text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid := (select t.id from public.find_case_token(p_token_sha256) as t);
begin
    if v_case is null then
        return false;
    end if;
    perform automatch.add_to_case(v_case, 'reporter', p_body);
    return true;
end
$$;

create function automatch.cases_of(p_profile_id uuid)
returns table (
    id uuid, side text, reason text, state text, decision text, effect text, face_id uuid, opened_at timestamptz,
    may_write boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select o.id, o.side, o.reason, o.state, o.decision, o.effect, o.face_id, o.opened_at,
        o.state <> 'decided' or o.appealed_at is null
    from (
        select c.*, 'reporter' as side, null as effect
        from automatch.cases as c where c.reporter_id = p_profile_id
        union all
        -- Whoever is reported learns of what was done or asked, and of nothing else.
        select c.*, 'reported', case
            when exists (select from automatch.held_faces as h where h.face_id = c.face_id) then 'hidden'
            when exists (select from automatch.frozen_profiles as f where f.profile_id = c.profile_id) then 'frozen'
        end
        from automatch.cases as c
        where c.profile_id = p_profile_id and (
            c.hides or c.decision in ('hidden', 'frozen', 'photo_erased', 'restored')
            or exists (
                select from automatch.case_messages as m where m.case_id = c.id and m.audience = 'reported'
            )
        )
    ) as o
    where o.decision is distinct from 'withdrawn'
    order by o.opened_at desc, o.id
    limit 50
$$;
comment on function automatch.cases_of(uuid) is
    'A person''s reports, and cases about them in which something was done; never who reported.';

create function public.list_own_cases()
returns table (
    id uuid, side text, reason text, state text, decision text, effect text, face_id uuid, opened_at timestamptz,
    may_write boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select o.* from automatch.cases_of((select automatch.uid())) as o $$;

create function public.read_own_cases(p_claims jsonb[])
returns table (
    reader integer, id uuid, side text, reason text, state text, decision text, effect text, face_id uuid,
    opened_at timestamptz, may_write boolean
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, o.* from public.list_own_cases() as o;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_own_cases(jsonb[]) is
    'list_own_cases() as each of many people, under row level security as that person; nothing of ended sessions.';

create function automatch.messages_of(p_case_ids uuid[], p_side text)
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.case_id, m.author, m.body, m.written_at
    from automatch.case_messages as m
    where m.case_id = any (p_case_ids) and p_side in (m.author, m.audience)
    order by m.id
$$;

create function public.list_own_case_messages()
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.*
    from unnest('{reporter,reported}'::text[]) as side (name)
    cross join lateral automatch.messages_of(array(
        select o.id from public.list_own_cases() as o where o.side = side.name
    ), side.name) as m
$$;
comment on function public.list_own_case_messages() is 'What the caller wrote and was answered, oldest first.';

create function public.list_case_messages_by_token(p_token_sha256 bytea)
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.* from automatch.messages_of(array(
        select t.id from public.find_case_token(p_token_sha256) as t
    ), 'reporter') as m
$$;

create function automatch.close_case(p_case_id uuid, p_decision text, p_actor text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_now constant timestamptz := automatch.now();
begin
    update automatch.cases as c
    set state = 'decided', unproven_until = null, decision = p_decision, decided_at = coalesce(c.decided_at, v_now),
        decided_by = coalesce(p_actor, c.decided_by)
    where c.id = p_case_id;
    update automatch.case_messages as m set closed_at = v_now where m.case_id = p_case_id and m.closed_at is null;
    update automatch.case_contacts as k set closed_at = v_now where k.case_id = p_case_id and k.closed_at is null;
end
$$;

create function automatch.person_left_cases()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.case_messages as m using automatch.cases as c
    where c.id = m.case_id and (
        c.profile_id = old.id or c.reporter_id = old.id and 'reporter' in (m.author, m.audience)
    );
    update automatch.cases as c set reporter_id = null where c.reporter_id = old.id;
    perform automatch.close_case(c.id, coalesce(c.decision, 'gone'), null)
    from automatch.cases as c where c.profile_id = old.id;
    update automatch.cases as c set profile_id = null, face_id = null where c.profile_id = old.id;
    return null;
end
$$;

create trigger profiles_left_cases after delete on public.profiles
for each row execute function automatch.person_left_cases();

create function automatch.face_left_cases()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.cases as c set face_id = null where c.face_id = old.id;
    return null;
end
$$;

create trigger faces_left_cases after delete on public.faces
for each row execute function automatch.face_left_cases();

-- 75_case_decisions.sql

-- What operators see of cases and do about them. Who may is checked, and recorded, by automatch.services.operators.acts.

create function public.list_cases(
    p_state text default null, p_limit integer default 50, p_operator_id uuid default null
)
returns table (
    id uuid, kind text, reason text, state text, opened_at timestamptz, hides boolean, decision text,
    decided_at timestamptz, decided_by text, appealed_at timestamptz, profile_id uuid, face_id uuid, others integer
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.kind, c.reason, c.state, c.opened_at, now.hides, c.decision, c.decided_at, c.decided_by,
        c.appealed_at, c.profile_id, c.face_id,
        (select count(*)::integer from automatch.cases as o where o.profile_id = c.profile_id and o.id <> c.id)
    from automatch.cases as c
    cross join lateral (
        select exists (select from automatch.held_faces as h where h.face_id = c.face_id)
            or exists (select from automatch.frozen_profiles as f where f.profile_id = c.profile_id) as hides
    ) as now
    where (c.state = p_state or p_state is null and c.state in ('open', 'waiting'))
      and (p_operator_id = any (array[c.profile_id, c.reporter_id])) is not true
    -- What is hidden already can wait a little longer than what is still shown.
    order by c.state <> 'open', now.hides or c.reason <> 'under_18', now.hides, c.opened_at, c.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_cases(text, integer, uuid) is
    'Cases of one state, or those that are not decided, in the order in which to look at them; without those in which '
    'the operator is a side.';

create function automatch.lock_case(p_case_id uuid, p_erases boolean default false)
returns automatch.cases language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
begin
    -- From here on a case may lose its person, who is erased, but not get another one.
    perform automatch.lock_reports('{}');
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such case.');
    end if;
    if p_erases and to_regclass('auth.users') is not null then
        -- Before the profile, as erase_person() does.
        perform from auth.users as u where u.id = v_case.profile_id for update;
    end if;
    -- Not the row: whoever erases somebody locks profiles and feeds first, and cases last.
    perform automatch.lock_reports(array[v_case.profile_id]);
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    return v_case;
end
$$;
comment on function automatch.lock_case(uuid, boolean) is
    'The case, which is about this person until the end of the transaction; p_erases: who may be erased in it.';

create function public.read_case(p_case_id uuid)
returns table (
    id uuid, kind text, reason text, state text, opened_at timestamptz, hides boolean, decision text,
    decided_at timestamptz, decided_by text, appealed_at timestamptz, profile_id uuid, face_id uuid, reporter_id uuid,
    name text, school text, gender text, birth_date date, frozen boolean, face_ids uuid[], hidden_face_ids uuid[],
    banned boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.kind, c.reason, c.state, c.opened_at, c.hides, c.decision, c.decided_at, c.decided_by,
        c.appealed_at, c.profile_id, c.face_id, c.reporter_id, p.name, p.school, p.gender, p.birth_date,
        exists (select from automatch.frozen_profiles as z where z.profile_id = c.profile_id),
        array(select f.id from public.faces as f where f.profile_id = c.profile_id order by f.created_at, f.id),
        array(
            select h.face_id from automatch.held_faces as h join public.faces as f on f.id = h.face_id
            where f.profile_id = c.profile_id order by f.created_at, f.id
        ),
        exists (select from automatch.bans as b where b.case_id = c.id)
    from automatch.cases as c
    left join public.profiles as p on p.id = c.profile_id
    where c.id = p_case_id
$$;
comment on function public.read_case(uuid) is 'A case with the person it is about; or no row.';

create function public.list_case_messages(p_case_id uuid)
returns table (author text, audience text, actor text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.author, m.audience, m.actor, m.body, m.written_at
    from automatch.case_messages as m where m.case_id = p_case_id order by m.id
$$;

create function public.list_case_viewers(p_case_id uuid)
returns table (profile_id uuid, shown_at timestamptz, is_shown boolean, seen_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- What is in a feed is in the other one too, so an index finds whom this person was shown to.
    select e.profile_id, e.created_at, e.match_id is not null and automatch.may_see(e.profile_id, e.other_profile_id),
        (
            select max(v.first_at)
            from automatch.photo_views as v join public.faces as f on f.id = v.face_id
            where v.viewer_id = e.profile_id and f.profile_id = c.profile_id
        )
    from automatch.cases as c
    join automatch.feed_entries as own on own.profile_id = c.profile_id
    join automatch.feed_entries as e on e.profile_id = own.other_profile_id and e.other_profile_id = c.profile_id
    where c.id = p_case_id
    order by e.created_at desc, e.profile_id
    limit 200
$$;
comment on function public.list_case_viewers(uuid) is
    'To whom the person of a case was shown, since when their card is as it is, whether it is there, and when its photo '
    'was looked at last.';

create function public.list_case_acts(p_case_id uuid)
returns table (recorded_at timestamptz, actor text, action text, reason text, details jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.recorded_at, a.actor, a.action, a.reason, a.details
    from automatch.audit_log as a
    where a.object_id = p_case_id
    order by a.id
$$;
comment on function public.list_case_acts(uuid) is 'Who looked at a case and did what, oldest first.';

create function automatch.choose_case_photo(p_case automatch.cases, p_face_id uuid)
returns uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[] := array(select f.id from public.faces as f where f.profile_id = p_case.profile_id limit 2);
    v_face uuid := coalesce(p_face_id, p_case.face_id);
begin
    if v_face is null and cardinality(v_faces) > 1 then
        perform automatch.raise_error('input_invalid', 'This person has several photos: choose which one.');
    end if;
    v_face := coalesce(v_face, v_faces[1]);
    if not exists (select from public.faces as f where f.id = v_face and f.profile_id = p_case.profile_id) then
        perform automatch.raise_error('not_found', 'The case has no such photo (any more).');
    end if;
    return v_face;
end
$$;
comment on function automatch.choose_case_photo(automatch.cases, uuid) is
    'The photo that is named, or else the reported one, or else the only one of the person.';

create function public.open_case_photo(p_case_id uuid, p_face_id uuid default null)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_face public.faces;
begin
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    select f.* into v_face from public.faces as f where f.id = automatch.choose_case_photo(v_case, p_face_id);
    perform public.record_photo_views(array[null]::uuid[], array[v_face.id], '{true}', array[automatch.now()]);
    return v_face.image_path;
end
$$;
comment on function public.open_case_photo(uuid, uuid) is
    'Where a photo of the person of a case lies, for an operator; its person is told that one looked.';

create function public.point_case(p_case_id uuid, p_subject_id uuid, p_again boolean default true)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
    v_person uuid;
    v_face uuid;
begin
    -- What it hid by itself would stay hidden, with no case to show it again.
    if v_case.hides then
        perform automatch.raise_error('input_invalid', 'This case hides something: decide it first.');
    end if;
    select p.id, f.id into v_person, v_face
    from public.profiles as p
    left join public.faces as f on f.profile_id = p.id and f.id = p_subject_id
    where p.id = coalesce((select o.profile_id from public.faces as o where o.id = p_subject_id), p_subject_id);
    if not found then
        perform automatch.raise_error('not_found', 'Nobody has this id, and no photo.');
    end if;
    -- Or any case would open anybody's photos.
    if not p_again and (v_case.profile_id <> v_person or v_case.profile_id is null and v_case.kind <> 'take_down') then
        perform automatch.raise_error(
            'input_invalid', 'This case is about somebody already. Say why it is to be about somebody else.'
        );
    end if;
    update automatch.cases as c set profile_id = v_person, face_id = v_face where c.id = p_case_id;
    return v_person;
end
$$;
comment on function public.point_case(uuid, uuid, boolean) is
    'Say which photo or person a case is about, by its id; the person. Unless p_again, only of a take-down request that '
    'is about nobody yet, or of another photo of the same person.';

create function automatch.undo_report(p_case automatch.cases)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_case.hides and p_case.reason = 'under_18' then
        perform public.unfreeze_person(f.profile_id) from automatch.frozen_profiles as f
        where f.profile_id = p_case.profile_id and f.reason = 'reported';
    end if;
    if p_case.hides or automatch.hides_photos(p_case) then
        perform automatch.release_face(r.face_id)
        from (
            select h.face_id
            from automatch.held_faces as h join public.faces as f on f.id = h.face_id
            where f.profile_id = p_case.profile_id and h.reason = 'reported' and (
                p_case.hides and h.face_id = p_case.face_id and f.created_at <= p_case.opened_at
                -- What was sent since waits for every such case.
                or automatch.find_hiding_case(p_case.profile_id, p_case.id) is null
            )
            order by h.face_id
        ) as r;
    end if;
end
$$;
comment on function automatch.undo_report(automatch.cases) is 'Show again what the report alone has hidden.';

create function automatch.carry_out(p_case automatch.cases, p_act text, p_face_id uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_act in ('freeze', 'unfreeze', 'erase_person') and p_case.profile_id is null then
        perform automatch.raise_error('not_found', 'The case is about nobody who has an account.');
    end if;
    case p_act
        when 'hide' then
            perform automatch.hold_face(p_face_id, 'hidden');
            return 'hidden';
        when 'unhide' then
            perform automatch.release_face(p_face_id);
            return 'restored';
        when 'freeze' then
            perform public.freeze_person(p_case.profile_id, 'moderation');
            return 'frozen';
        when 'unfreeze' then
            perform public.unfreeze_person(p_case.profile_id);
            return 'restored';
        when 'erase_photo' then
            perform automatch.lock_for_erasing(p_case.profile_id);
            delete from public.faces where id = p_face_id;
            return 'photo_erased';
        when 'erase_person' then
            -- By decide_case(), which says what went.
            return 'person_erased';
        when 'dismiss' then
            perform automatch.undo_report(p_case);
            return 'dismissed';
        when 'close' then
            return 'closed';
        else
            perform automatch.raise_error('input_invalid', 'There is no such decision.');
            return null;
    end case;
end
$$;
comment on function automatch.carry_out(automatch.cases, text, uuid) is 'Do what was decided; return the decision.';

create function public.decide_case(
    p_actor text, p_case_id uuid, p_act text, p_face_id uuid default null, p_alone boolean default false,
    out decision text, out erased jsonb
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_face uuid;
begin
    v_case := automatch.lock_case(p_case_id, p_act = 'erase_person');
    if v_case.appealed_at is not null and v_case.state <> 'decided' and v_case.decided_by = p_actor and not p_alone then
        perform automatch.raise_error(
            'input_invalid',
            'You decided this before the appeal: somebody else should look at it now. If there is nobody else, say so.'
        );
    end if;
    if p_act in ('hide', 'unhide', 'erase_photo') then
        v_face := automatch.choose_case_photo(v_case, p_face_id);
    end if;
    decision := automatch.carry_out(v_case, p_act, v_face);
    if p_act = 'erase_person' then
        erased := public.erase_person(v_case.profile_id, 'operator');
    end if;
    -- An erased photo is not named any more.
    update automatch.cases as c set face_id = v_face
    where c.id = p_case_id and exists (select from public.faces as f where f.id = v_face);
    perform automatch.close_case(p_case_id, decision, p_actor);
end
$$;
comment on function public.decide_case(text, uuid, text, uuid, boolean) is
    'Decide a case: hide, unhide, erase_photo, freeze, unfreeze, erase_person, dismiss or close. After an appeal it is '
    'for somebody else than before, unless p_alone says that there is nobody else. erased: what went with a person, for '
    'the receipt.';

create function public.answer_case(p_actor text, p_case_id uuid, p_audience text, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
begin
    perform automatch.write_case_message(p_case_id, 'operator', p_audience, p_body, p_actor);
    if p_audience <> 'operators' and v_case.state = 'open' then
        update automatch.cases as c set state = 'waiting' where c.id = p_case_id;
    end if;
end
$$;
comment on function public.answer_case(text, uuid, text, text) is
    'Write to one side of a case (reporter, reported), which then waits for it, or a note to all operators.';

create function public.find_case_recipient(p_case_id uuid, p_side text)
returns table (profile_id uuid, email text, address text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.id, p.email, k.address
    from automatch.cases as c
    left join public.profiles as p
        on p.id = case p_side when 'reporter' then c.reporter_id when 'reported' then c.profile_id end
    left join automatch.case_contacts as k on k.case_id = c.id and p_side = 'reporter'
    where c.id = p_case_id and (p.id is not null or k.address is not null)
$$;
comment on function public.find_case_recipient(uuid, text) is
    'How one side of a case is reached by mail: by the address of the account, or by one that is encrypted.';

-- An address that may have no account. There is nothing here from which the address or a face could be computed.
create table automatch.bans (
    address_hash bytea primary key,
    case_id uuid not null,
    banned_at timestamptz not null default automatch.now(),
    ends_at timestamptz
);
comment on table automatch.bans is 'Keyed hashes of addresses; kept when their people are erased, until lifted.';
comment on column automatch.bans.ends_at is 'Of somebody who erased themselves while they were frozen or a report was open.';
create index bans_case_idx on automatch.bans (case_id);
create index bans_ends_idx on automatch.bans (ends_at);

create function public.ban_address(p_actor text, p_case_id uuid, p_address_hash bytea)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
begin
    insert into automatch.bans (address_hash, case_id) values (p_address_hash, p_case_id)
    on conflict (address_hash) do update set ends_at = null;
    perform public.freeze_person(v_case.profile_id, 'moderation');
    perform automatch.close_case(p_case_id, 'frozen', p_actor);
end
$$;
comment on function public.ban_address(text, uuid, bytea) is
    'Freeze the person of a case and refuse their address from now on, also after they are erased.';

create function public.lift_ban(p_case_id uuid)
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with lifted as (
        delete from automatch.bans as b where b.case_id = p_case_id
        returning b.case_id
    )
    select exists (select from lifted)
$$;
comment on function public.lift_ban(uuid) is 'Lift the bans of a case. Whether there was one.';

create function public.find_ban(p_address_hash bytea)
returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select b.case_id from automatch.bans as b
    where b.address_hash = p_address_hash and (b.ends_at is null or b.ends_at > automatch.now())
$$;
comment on function public.find_ban(bytea) is 'The case in which an address was banned, if it is.';

-- 76_departures.sql

-- What is left of people who erase their own account: whoever comes back with the same address begins with it.

create table automatch.departures (
    address_hash bytea primary key,
    left_at timestamptz not null default automatch.now(),
    searches timestamptz[] not null,
    choices jsonb not null
);
comment on table automatch.departures is
    'The searches of the last day and the changes of the last year, under a keyed hash of the address, so that leaving '
    'and coming back gives none of them again. Nothing of the person or the face.';
create index departures_left_idx on automatch.departures (left_at);

create function automatch.keep_departure(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- The server sets it; without one there is nothing by which to know them again.
    v_hash constant bytea := decode(nullif(current_setting('automatch.address_hash', true), ''), 'hex');
    v_now constant timestamptz := automatch.now();
    v_case uuid;
begin
    if v_hash is null then
        return;
    end if;
    insert into automatch.departures as d (address_hash, searches, choices)
    select v_hash,
        array(
            select s.counted_at from automatch.photo_searches as s
            where s.profile_id = p_profile_id and s.counted_at > v_now - interval '1 day'
        ),
        coalesce((
            select jsonb_agg(to_jsonb(c) - 'profile_id' order by c.id) from automatch.profile_choices as c
            where c.profile_id = p_profile_id and (
                c.counted and c.chosen_at > v_now - interval '1 year'
                or c.id = (select max(l.id) from automatch.profile_choices as l where l.profile_id = p_profile_id)
            )
        ), '[]')
    on conflict (address_hash) do update
    set left_at = excluded.left_at, searches = excluded.searches, choices = excluded.choices;
    select c.id into v_case from automatch.cases as c
    where c.profile_id = p_profile_id and c.state in ('open', 'waiting') and c.hides
    order by c.opened_at
    limit 1;
    if v_case is null and exists (select from automatch.frozen_profiles as f where f.profile_id = p_profile_id) then
        -- Of the last decision; without a case the id only serves to lift the ban.
        v_case := coalesce((
            select c.id from automatch.cases as c where c.profile_id = p_profile_id
            order by c.decided_at desc nulls last, c.id
            limit 1
        ), gen_random_uuid());
    end if;
    if v_case is not null then
        insert into automatch.bans as b (address_hash, case_id, ends_at) values (v_hash, v_case, v_now + interval '90 days')
        on conflict (address_hash) do update set case_id = excluded.case_id, ends_at = excluded.ends_at
        where b.ends_at is not null;
    end if;
end
$$;
comment on function automatch.keep_departure(uuid) is
    'Keep what somebody who erases themselves has used up, and for 90 days refuse the address of who was frozen, or '
    'hidden by a report that is not decided.';

create function public.inherit_departure(p_profile_id uuid, p_address_hash bytea)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.photo_searches (job_id, profile_id, counted_at)
    select gen_random_uuid(), p.id, s.counted_at
    from public.profiles as p
    join automatch.departures as d on d.address_hash = p_address_hash
    cross join lateral unnest(d.searches) as s (counted_at)
    where p.id = p_profile_id and s.counted_at > automatch.now() - interval '1 day';
    insert into automatch.profile_choices (profile_id, school_id, gender, chosen_at, counted)
    select p.id, s.id, c.gender, c.chosen_at, c.counted
    from public.profiles as p
    join automatch.departures as d on d.address_hash = p_address_hash
    cross join lateral jsonb_to_recordset(d.choices) as c (
        id bigint, school_id uuid, gender text, chosen_at timestamptz, counted boolean
    )
    left join automatch.schools as s on s.id = c.school_id
    where p.id = p_profile_id
    order by c.id;
end
$$;
comment on function public.inherit_departure(uuid, bytea) is
    'Count for a new account what an erased one with the same address had used up.';

-- 77_erased_people.sql

-- Erasing a person: what goes, and who is not to come back. Ids are kept as hashes; they were random.

create table automatch.erased_people (
    person_sha256 text primary key,
    erased_at timestamptz not null default automatch.now(),
    act text not null,
    is_logged boolean not null default false,
    constraint act_is_known check (act in ('person', 'operator', 'retention', 'restore', 'other'))
);
comment on table automatch.erased_people is
    'Everybody who was erased. The same lines are in a file outside of the database: whoever is there and not here was '
    'brought back by a restore.';
comment on column automatch.erased_people.is_logged is 'Whether the line is in the file.';
create index erased_people_to_log_idx on automatch.erased_people (erased_at) where not is_logged;

create function automatch.person_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not old.simulated then
        insert into automatch.erased_people (person_sha256, act)
        values (
            automatch.text_sha256(old.id::text),
            coalesce(nullif(current_setting('automatch.erasure_act', true), ''), 'other')
        )
        on conflict do nothing;
    end if;
    return null;
end
$$;
comment on function automatch.person_erased() is 'However a person is erased, it is remembered that they are.';

create trigger profiles_erased_for_good after delete on public.profiles
for each row execute function automatch.person_erased();

create function automatch.count_rows_of_person(p_profile_id uuid)
returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table record;
    v_person record;
    v_models constant text[] := array(select m.id from public.embedding_models as m);
    v_count bigint;
    v_counts jsonb := jsonb_build_object();
    v_sessions uuid[] := array[]::uuid[];
    v_faces constant uuid[] := array(select f.id from public.faces as f where f.profile_id = p_profile_id);
begin
    if to_regclass('auth.sessions') is not null then
        execute 'select array(select id from auth.sessions where user_id = $1)' into v_sessions using p_profile_id;
    end if;
    -- All that the foreign keys delete, so that a table of tomorrow is counted too.
    for v_table in
        select k.name, string_agg(format('%I = any ($%s)', k.key, k.parameter), ' or ') as condition
        from (
            select c.conrelid::regclass as name, a.attname as key, case c.confrelid
                when to_regclass('public.faces') then 2 when to_regclass('auth.sessions') then 3 else 1
            end as parameter
            from pg_constraint as c
            join pg_class as t on t.oid = c.conrelid and not t.relispartition
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
            where c.contype = 'f' and c.confdeltype = 'c' and c.confrelid in (
                to_regclass('public.profiles'), to_regclass('public.faces'), to_regclass('automatch.feed_counters'),
                to_regclass('auth.users'), to_regclass('auth.sessions')
            )
            union all
            select o.name, o.key, 1
            from (values
                (to_regclass('public.profiles'), 'id'), (to_regclass('auth.users'), 'id'),
                -- A trigger deletes these.
                (to_regclass('automatch.feed_entries'), 'profile_id')
            ) as o (name, key)
            where o.name is not null
        ) as k
        group by k.name
        order by k.name::text
    loop
        execute format('select count(*) from %s where %s', v_table.name, v_table.condition)
        into v_count using array[p_profile_id], v_faces, v_sessions;
        if v_count > 0 then
            v_counts := v_counts || jsonb_build_object(v_table.name::text, v_count);
        end if;
    end loop;
    -- Of one school, where a foreign key could not reach.
    select p.school, p.gender into v_person from public.profiles as p where p.id = p_profile_id;
    select count(*) into v_count
    from public.face_index as i
    where i.model = any (v_models) and i.school = v_person.school and i.gender = v_person.gender
      and i.face_id = any (v_faces);
    if v_count > 0 then
        v_counts := v_counts || jsonb_build_object('public.face_index', v_count);
    end if;
    return v_counts;
end
$$;
comment on function automatch.count_rows_of_person(uuid) is 'The rows that go when a person is erased, by table.';

create function public.erase_person(p_profile_id uuid, p_act text)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased jsonb;
begin
    if to_regclass('auth.users') is not null then
        -- Before the profile, as whatever changes an account does.
        perform from auth.users as u where u.id = p_profile_id for update;
    end if;
    perform automatch.lock_for_erasing(p_profile_id);
    select jsonb_build_object(
        'person', automatch.text_sha256(p.id::text), 'act', p_act, 'email', lower(p.email),
        'rows', automatch.count_rows_of_person(p.id),
        'paths', coalesce((
            select jsonb_agg(f.image_path order by f.id) from public.faces as f where f.profile_id = p.id
        ), '[]'),
        'photos', coalesce((
            select jsonb_agg(automatch.text_sha256(f.id::text) order by f.id)
            from public.faces as f where f.profile_id = p.id
        ), '[]')
    ) into v_erased
    from public.profiles as p
    where p.id = p_profile_id;
    if v_erased is null then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
    if p_act = 'person' then
        perform automatch.keep_departure(p_profile_id);
    end if;
    perform set_config('automatch.erasure_act', p_act, true);
    if to_regclass('auth.users') is not null then
        delete from auth.users where id = p_profile_id;
    end if;
    -- The trigger on auth.users has done this where that table exists.
    delete from public.profiles where id = p_profile_id;
    perform set_config('automatch.erasure_act', '', true);
    return v_erased;
end
$$;
comment on function public.erase_person(uuid, text) is
    'Erase a person, with the act of the person, an operator, the retention or a restore; what went, for the receipt.';

create function public.erase_account()
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Supabase's own API calls this too, without asking for the session.
    if automatch.claims() ->> 'session_id' is null or not public.is_session_live(automatch.claims()) then
        perform automatch.raise_error('token_invalid', 'The access token is not valid; sign in again.');
    end if;
    return public.erase_person(automatch.uid(), 'person');
end
$$;
comment on function public.erase_account() is
    'Erase the caller''s account with everything that belongs to it, if their session is still valid; what went.';

create function public.list_erasures_to_log(p_limit integer default 500)
returns table (person_sha256 text, erased_at timestamptz, act text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.person_sha256, e.erased_at, e.act from automatch.erased_people as e
    where not e.is_logged
    order by e.erased_at
    limit p_limit
$$;
comment on function public.list_erasures_to_log(integer) is 'Erasures that are not in the file yet, oldest first.';

create function public.mark_erasures_logged(p_person_sha256s text[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.erased_people as e set is_logged = true
    where e.person_sha256 = any (p_person_sha256s) and not e.is_logged
$$;
comment on function public.mark_erasures_logged(text[]) is 'Say that these are in the file, and on the disk.';

create function automatch.replay_erasures(p_person_sha256s text[])
returns setof jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_missing text[] := array(
        select l.person_sha256 from unnest(p_person_sha256s) as l (person_sha256)
        where not exists (select from automatch.erased_people as e where e.person_sha256 = l.person_sha256)
    );
    v_kept text[] := array[]::text[];
    v_id uuid;
begin
    if cardinality(v_missing) = 0 then
        return;
    end if;
    for v_id in
        select p.id from public.profiles as p
        join unnest(v_missing) as m (person_sha256) on m.person_sha256 = automatch.text_sha256(p.id::text)
        order by p.id
    loop
        begin
            return next public.erase_person(v_id, 'restore');
        exception when sqlstate 'AM001' then
            -- The only owner of the backup: once there is another one, they go at the next start.
            v_kept := v_kept || automatch.text_sha256(v_id::text);
        end;
    end loop;
    insert into automatch.erased_people (person_sha256, act, is_logged)
    select m.person_sha256, 'restore', true from unnest(v_missing) as m (person_sha256)
    where m.person_sha256 <> all (v_kept)
    on conflict (person_sha256) do update set is_logged = true;
end
$$;
comment on function automatch.replay_erasures(text[]) is
    'Erase again whom a restored database brought back: everybody of the file whom it does not know to be erased.';

create function automatch.find_erased(p_sha256s text[])
returns table (place text, row_count bigint) language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table record;
begin
    for v_table in
        select c.oid::regclass as name, string_agg(
            format(case a.atttypid when 'bytea'::regtype then 'encode(t.%I, ''escape'')' else 't.%I::text' end, a.attname),
            ', ' order by a.attnum
        ) as columns
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and a.atttypid in (
              'uuid'::regtype, 'uuid[]'::regtype, 'text'::regtype, 'text[]'::regtype, 'varchar'::regtype,
              'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype
          )
        group by c.oid
        order by 1
    loop
        place := v_table.name::text;
        begin
            -- "offset": the machines of a cluster have no functions of ours.
            execute format(
                'select count(*) from (select concat_ws('' '', %s) as line from %s as t offset 0) as x '
                'where exists (select from regexp_matches(x.line, '
                '''[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'', ''g'') as m (ids) '
                'where automatch.text_sha256(m.ids[1]) = any ($1))', v_table.columns, v_table.name
            ) into row_count using p_sha256s;
        exception when insufficient_privilege then
            -- Of Supabase's own, which we may not read.
            row_count := null;
        end;
        return next;
    end loop;
end
$$;
comment on function automatch.find_erased(text[]) is
    'Every table that has text, ids, JSON or bytes, and how many of its rows name an id with one of these hashes.';

-- 78_inactive_people.sql

-- People who have not been here for long: they are warned by mail, and erased some weeks later.

create table automatch.last_seen (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    seen_at timestamptz not null
);
comment on table automatch.last_seen is
    'To the day, when people with a session were last here: the sessions themselves are deleted a month later.';

create table automatch.inactivity_warnings (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    warned_at timestamptz not null default automatch.now(),
    mailed_at timestamptz
);
comment on table automatch.inactivity_warnings is 'Who was told that they will be erased. Whoever signs in is taken off.';
comment on column automatch.inactivity_warnings.mailed_at is 'When the mail went out, from which on the weeks count.';

create function automatch.note_last_seen()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.last_seen as l (profile_id, seen_at)
    select s.user_id, max(s.refreshed_at)
    from auth.sessions as s
    join public.profiles as p on p.id = s.user_id
    where s.refreshed_at > automatch.now() - interval '3 days'
    group by s.user_id
    order by s.user_id
    on conflict (profile_id) do update set seen_at = excluded.seen_at
    where excluded.seen_at > l.seen_at + interval '1 day';
end
$$;

create function automatch.list_inactive(p_since timestamptz)
returns table (profile_id uuid, email text) language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select p.id, lower(p.email)
    from public.profiles as p
    join auth.users as u on u.id = p.id
    left join automatch.last_seen as l on l.profile_id = p.id
    where not p.simulated and p.profile_type = 'user'
      and not exists (select from automatch.operators as o where o.profile_id = p.id)
      and greatest(p.created_at, u.last_sign_in_at, l.seen_at) < p_since
      and not exists (select from auth.sessions as s where s.user_id = p.id and s.refreshed_at >= p_since)
      and not exists (select from public.faces as f where f.profile_id = p.id and f.created_at >= p_since)
    order by p.id;
end
$$;
comment on function automatch.list_inactive(timestamptz) is 'Who has an account and was not here since then.';

create function public.warn_inactive_people(p_inactive interval, p_mails boolean, p_without_mail boolean)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since constant timestamptz := automatch.now() - p_inactive;
    v_person record;
    v_count integer := 0;
begin
    -- Where another server keeps the sessions, nobody here knows who was there.
    if to_regclass('auth.sessions') is null then
        return 0;
    end if;
    perform automatch.note_last_seen();
    delete from automatch.inactivity_warnings as w
    where not exists (select from automatch.list_inactive(v_since) as i where i.profile_id = w.profile_id)
        -- The mail was not sent in its time: once more.
        or (w.mailed_at is null and not p_without_mail and w.warned_at < automatch.now() - interval '7 days');
    for v_person in
        select i.profile_id, i.email from automatch.list_inactive(v_since) as i
        where not exists (select from automatch.inactivity_warnings as w where w.profile_id = i.profile_id)
          and ((p_mails and i.email is not null) or p_without_mail)
        limit 100
    loop
        insert into automatch.inactivity_warnings (profile_id) values (v_person.profile_id) on conflict do nothing;
        if p_mails and v_person.email is not null then
            perform public.enqueue_mail('inactive', v_person.email, v_person.profile_id);
        end if;
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
comment on function public.warn_inactive_people(interval, boolean, boolean) is
    'Warn some people who were not here for so long; those without mail only where that is wanted. How many.';

create function public.list_people_to_erase(p_inactive interval, p_grace interval, p_without_mail boolean)
returns setof uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.sessions') is null then
        return;
    end if;
    return query
    select w.profile_id
    from automatch.inactivity_warnings as w
    join automatch.list_inactive(automatch.now() - p_inactive) as i on i.profile_id = w.profile_id
    where case when p_without_mail then coalesce(w.mailed_at, w.warned_at) else w.mailed_at end
        < automatch.now() - p_grace
    order by w.profile_id
    limit 20;
end
$$;
comment on function public.list_people_to_erase(interval, interval, boolean) is
    'Some of those who were warned that long ago and have not come since.';

-- 79_export.sql

-- What is kept about one person, for their export: other people are pseudonyms that mean nothing outside of it.

create function automatch.pseudonym(p_salt text, p_profile_id uuid)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select 'person-' || left(encode(sha256(convert_to(p_salt || p_profile_id, 'UTF8')), 'hex'), 12)
$$;
comment on function automatch.pseudonym(text, uuid) is 'The same for a person within one export, whose salt is random.';

create function automatch.export_account(p_profile_id uuid)
returns table (part text, item jsonb) language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select 'profile', jsonb_build_object(
        'id', p.id, 'email', p.email, 'name', p.name, 'school', p.school, 'gender', p.gender,
        'birth_date', p.birth_date, 'profile_type', p.profile_type, 'discoverable', p.discoverable, 'language', p.language,
        'created_at', p.created_at, 'updated_at', p.updated_at, 'imported_at', i.imported_at
    )
    from public.profiles as p
    left join automatch.imported_people as i on i.profile_id = p.id
    where p.id = p_profile_id;
    return query
    select 'consents', jsonb_build_object(
        'action', c.action, 'recorded_at', c.recorded_at, 'version', c.text_version, 'text', t.body,
        'text_sha256', c.text_sha256, 'source', c.source, 'given_at', c.given_at, 'evidence', c.evidence
    )
    from public.biometric_consents as c
    join public.consent_texts as t on t.version = c.text_version
    where c.profile_id = p_profile_id
    order by c.id;
    -- Where people sign in elsewhere, that server has these.
    if to_regclass('auth.users') is not null then
        return query
        select 'account', jsonb_build_object(
            'email', u.email, 'created_at', u.created_at, 'last_sign_in_at', u.last_sign_in_at,
            'user_metadata', u.raw_user_meta_data
        )
        from auth.users as u where u.id = p_profile_id;
    end if;
    if to_regclass('auth.sessions') is not null then
        return query
        select 'sessions', jsonb_build_object('created_at', s.created_at, 'last_used_at', s.refreshed_at)
        from auth.sessions as s where s.user_id = p_profile_id
        order by s.created_at;
    end if;
    if to_regclass('auth.email_changes') is not null then
        return query
        select 'email_changes', jsonb_build_object('new_email', c.new_email, 'expires_at', c.expires_at)
        from auth.email_changes as c where c.user_id = p_profile_id;
    end if;
end
$$;
comment on function automatch.export_account(uuid) is 'Profile, consents with their texts, account and sessions.';

create function automatch.export_photos(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'photos', jsonb_build_object(
        'id', f.id, 'path', f.image_path, 'sha256', f.image_sha256, 'created_at', f.created_at,
        'chosen_box', f.chosen_box,
        'templates', (
            select jsonb_agg(jsonb_build_object(
                'model', e.model, 'quality', e.quality, 'detector', e.detector, 'created_at', e.created_at
            ) order by e.model)
            from public.face_embeddings as e where e.face_id = f.id
        ),
        'imported_row', (select i.row_number from automatch.imported_photos as i where i.face_id = f.id)
    )
    from public.faces as f
    where f.profile_id = p_profile_id
    union all
    select 'jobs', jsonb_build_object(
        'id', j.id, 'photo', j.face_id, 'status', j.status, 'attempts', j.attempts, 'created_at', j.created_at,
        'started_at', j.started_at, 'completed_at', j.completed_at, 'match_count', j.match_count,
        'error_code', j.error_code, 'error_message', j.error_message
    )
    from public.match_jobs as j
    where j.user_id = p_profile_id
    union all
    select 'searches_counted', jsonb_build_object('job', s.job_id, 'created_at', s.counted_at)
    from automatch.photo_searches as s
    where s.profile_id = p_profile_id
$$;
comment on function automatch.export_photos(uuid) is 'Photos, what was computed from them, and the jobs that did it.';

create function automatch.export_standing(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'memberships', jsonb_build_object('school', s.name, 'proof', m.proof, 'proven_at', m.proven_at)
    from automatch.memberships as m
    join automatch.schools as s on s.id = m.school_id
    where m.profile_id = p_profile_id
    union all
    select 'membership_requests', jsonb_build_object(
        'school', s.name, 'message', r.message, 'created_at', r.requested_at, 'refused_at', r.refused_at,
        'reason', r.reason
    )
    from automatch.membership_requests as r
    join automatch.schools as s on s.id = r.school_id
    where r.profile_id = p_profile_id
    union all
    select 'choices', jsonb_build_object(
        'school', s.name, 'gender', c.gender, 'created_at', c.chosen_at, 'counted', c.counted
    )
    from automatch.profile_choices as c
    left join automatch.schools as s on s.id = c.school_id
    where c.profile_id = p_profile_id
    union all
    select 'settling', jsonb_build_object('settles_at', w.settles_at)
    from automatch.settling_profiles as w
    where w.profile_id = p_profile_id
    union all
    select 'shares', jsonb_build_object('sentence', h.sentence, 'handle', h.handle, 'updated_at', h.updated_at)
    from automatch.shares as h
    where h.profile_id = p_profile_id
    union all
    select 'devices_told', jsonb_build_object(
        'push_service', split_part(s.endpoint, '/', 3), 'renewed_at', s.renewed_at, 'told_at', s.told_at
    )
    from automatch.push_subscriptions as s
    where s.profile_id = p_profile_id
    union all
    select 'digest', jsonb_build_object('every_days', extract(day from d.every), 'due_at', d.due_at)
    from automatch.digests as d
    where d.profile_id = p_profile_id
    union all
    select 'operator', jsonb_build_object('role', o.role, 'since', o.since)
    from automatch.operators as o
    where o.profile_id = p_profile_id
    union all
    select 'frozen', jsonb_build_object('reason', z.reason, 'frozen_at', z.frozen_at)
    from automatch.frozen_profiles as z
    where z.profile_id = p_profile_id
    union all
    select 'photos_held', jsonb_build_object('photo', h.face_id, 'reason', h.reason, 'held_at', h.held_at)
    from automatch.held_faces as h
    join public.faces as f on f.id = h.face_id
    where f.profile_id = p_profile_id
    union all
    select 'last_seen', jsonb_build_object('seen_at', l.seen_at)
    from automatch.last_seen as l
    where l.profile_id = p_profile_id
    union all
    select 'inactivity_warnings', jsonb_build_object('warned_at', w.warned_at, 'mailed_at', w.mailed_at)
    from automatch.inactivity_warnings as w
    where w.profile_id = p_profile_id
$$;
comment on function automatch.export_standing(uuid) is
    'Whether a person belongs to a school, is frozen, has photos that wait, and when they were last here.';

create function automatch.export_people(p_profile_id uuid, p_salt text)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Only matches that the feed shows, and as it shows them: more would tell who hid the person.
    select 'matches', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, e.other_profile_id),
        'photo', case when fa.profile_id = p_profile_id then m.face_a_id else m.face_b_id end,
        'similarity', automatch.shown_similarity(m.similarity), 'created_at', m.created_at, 'seen_at', e.seen_at
    )
    from automatch.feed_entries as e
    join public.matches as m on m.id = e.match_id
    join public.faces as fa on fa.id = m.face_a_id
    where e.profile_id = p_profile_id and automatch.may_see(p_profile_id, e.other_profile_id)
    union all
    select 'blocks', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, b.blocked_profile_id), 'created_at', b.created_at
    )
    from public.profile_blocks as b where b.profile_id = p_profile_id
    union all
    select 'dismissals', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, d.other_profile_id), 'created_at', d.created_at
    )
    from public.match_dismissals as d where d.profile_id = p_profile_id
    union all
    -- Own likes only, and of both only what the feed shows: nobody finds out here who likes them.
    select 'likes', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, l.other_profile_id), 'created_at', l.created_at,
        'mutual', l.mutual and p.discoverable and automatch.may_see(p_profile_id, l.other_profile_id)
    )
    from automatch.likes as l join public.profiles as p on p.id = l.profile_id
    where l.profile_id = p_profile_id
    union all
    select 'photos_seen', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, f.profile_id), 'day', v.day, 'full_size', v.full_size
    )
    from automatch.photo_views as v
    join public.faces as f on f.id = v.face_id
    where v.viewer_id = p_profile_id
    union all
    -- Not who: with the matches beside it, a pseudonym would be a name.
    select 'views_of_photos', jsonb_build_object(
        'photo', v.face_id, 'week', date_trunc('week', v.day)::date,
        'people', automatch.blur_count(count(distinct v.viewer_id)),
        'by_operators_on_days', count(*) filter (where v.viewer_id is null)
    )
    from automatch.photo_views as v
    join public.faces as f on f.id = v.face_id
    where f.profile_id = p_profile_id
    group by v.face_id, date_trunc('week', v.day)
    union all
    select 'possible_same_person', jsonb_build_object(
        'state', s.state, 'found_at', s.found_at, 'decided_at', s.decided_at
    )
    from automatch.suspected_duplicates as s
    where p_profile_id in (s.profile_a_id, s.profile_b_id)
$$;
comment on function automatch.export_people(uuid, text) is 'What a person has to do with others, who are pseudonyms.';

create function automatch.export_records(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'mails', jsonb_build_object('kind', m.kind, 'requested_at', m.requested_at, 'attempts', m.attempts)
    from automatch.mails as m
    where m.profile_id = p_profile_id
        or m.recipient = (select lower(p.email) from public.profiles as p where p.id = p_profile_id)
    union all
    -- The operator is a role here, and never a name.
    select 'acts_of_operators', jsonb_build_object(
        'recorded_at', a.recorded_at, 'action', a.action, 'reason', a.reason, 'by', 'operator'
    )
    from automatch.audit_log as a
    where a.object_id = p_profile_id or automatch.people_of(a.details) @> array[p_profile_id::text]
$$;
comment on function automatch.export_records(uuid) is 'Mails that wait, and what operators did.';

create function automatch.export_cases(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'reports', jsonb_build_object(
        'side', o.side, 'reason', o.reason, 'state', o.state, 'decision', o.decision, 'created_at', o.opened_at,
        'photo', case o.side when 'reported' then o.face_id end, 'decided_at', c.decided_at,
        'messages', (
            select jsonb_agg(jsonb_build_object('by', m.author, 'text', m.body, 'written_at', m.written_at))
            from automatch.messages_of(array[o.id], o.side) as m
        )
    )
    from automatch.cases_of(p_profile_id) as o
    join automatch.cases as c on c.id = o.id
$$;
comment on function automatch.export_cases(uuid) is 'Reports of a person, and those about them of which they know.';

create function public.export_person(p_profile_id uuid, p_salt text)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.part, e.item from (
        select 1 as place, part, item from automatch.export_account(p_profile_id)
        union all
        select 2, part, item from automatch.export_photos(p_profile_id)
        union all
        select 2, part, item from automatch.export_standing(p_profile_id)
        union all
        select 3, part, item from automatch.export_people(p_profile_id, p_salt)
        union all
        select 4, part, item from automatch.export_cases(p_profile_id)
        union all
        select 5, part, item from automatch.export_records(p_profile_id)
    ) as e
    order by e.place, e.part, coalesce(e.item ->> 'created_at', e.item ->> 'recorded_at', e.item ->> 'day')
$$;
comment on function public.export_person(uuid, text) is
    'All that is kept about a person, by part; docs/privacy.md says what is in none. p_salt is random for each export.';

-- 80_backup_runs.sql

-- Backups that were made or tried. They are kept elsewhere: what is whole there is what counts.

create table automatch.backup_runs (
    id bigint generated always as identity primary key,
    started_at timestamptz not null default automatch.now(),
    finished_at timestamptz,
    place text not null,
    scheduled boolean not null,
    name text,
    encrypted boolean,
    photos bigint,
    byte_count bigint,
    error text,
    constraint ended_well_or_with_an_error check (finished_at is null or (name is null) <> (error is null))
);
comment on table automatch.backup_runs is
    'Each backup that was begun: where to, and how it ended. One without an end runs, or was killed.';
create index backup_runs_started_idx on automatch.backup_runs (started_at);

create function automatch.start_backup_run(p_place text, p_scheduled boolean)
returns bigint language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.backup_runs (place, scheduled) values (p_place, p_scheduled) returning id
$$;
comment on function automatch.start_backup_run(text, boolean) is 'Note that a backup begins; the number of the run.';

create function automatch.finish_backup_run(
    p_id bigint, p_name text default null, p_encrypted boolean default null, p_photos bigint default null,
    p_bytes bigint default null, p_error text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.backup_runs as r
    set finished_at = automatch.now(), name = p_name, encrypted = p_encrypted, photos = p_photos,
        byte_count = p_bytes, error = p_error
    where r.id = p_id
$$;
comment on function automatch.finish_backup_run(bigint, text, boolean, bigint, bigint, text) is
    'Note how a backup ended: with its name, or with an error.';

create function public.list_backup_runs(p_limit integer default 50)
returns table (
    id bigint, started_at timestamptz, finished_at timestamptz, place text, scheduled boolean, name text,
    encrypted boolean, photos bigint, byte_count bigint, error text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select r.id, r.started_at, r.finished_at, r.place, r.scheduled, r.name, r.encrypted, r.photos, r.byte_count,
        r.error
    from automatch.backup_runs as r
    order by r.started_at desc, r.id desc
    limit p_limit
$$;
comment on function public.list_backup_runs(integer) is 'The latest backups that were made or tried, newest first.';

create function public.is_backup_due(p_every interval, p_hour integer)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from automatch.backup_runs as r
        where r.started_at >= date_bin(
                p_every, automatch.now(), timestamptz '2000-01-01 00:00:00+00' + make_interval(hours => p_hour)
            ) and r.name is not null
            -- One that failed is tried again.
            or r.started_at > automatch.now() - interval '30 minutes' and r.scheduled and r.name is null
    )
$$;
comment on function public.is_backup_due(interval, integer) is
    'Whether no backup was made since its time, which comes every so often, counted from an hour of the day (UTC).';

-- 80_metrics.sql

-- What /metrics tells of the database, for whichever process is asked; docs/metrics.md lists it. Rows of a name, the
-- value of its one label, and a number: the server knows the rest. Labels are ours: never a school, a person or an id.

create function automatch.measure_queue()
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with open as materialized (
        select case when j.scheduled then 'scheduled' else j.status end as status, j.created_at, j.lease_expires_at
        from public.match_jobs as j
        where j.completed_at is null
    )
    select m.name, m.label, m.value
    from (values ('pending'), ('scheduled'), ('processing')) as s (status)
    cross join lateral (
        select count(*) as jobs, extract(epoch from automatch.now() - min(o.created_at)) as oldest_s
        from open as o where o.status = s.status
    ) as c
    cross join lateral (
        values ('queue_jobs', s.status, c.jobs::double precision),
            ('queue_oldest_seconds', s.status, coalesce(c.oldest_s, 0)::double precision)
    ) as m (name, label, value)
    union all
    select 'expired_leases', null, count(*) from open as o where o.lease_expires_at < automatch.now()
    union all
    select 'queue_paused', null, q.paused::integer from automatch.queue_settings as q
    union all
    select 'queue_paused_schools', null, count(*) from automatch.paused_schools
    union all
    select 'workers', null, public.count_workers()
    union all
    select 'workers_paused', null, coalesce(sum(f.workers), 0) from public.list_worker_faults() as f
$$;
comment on function automatch.measure_queue() is 'The open jobs, and who works on them.';

create function automatch.group_size_bucket(p_model text, p_school text, p_gender text)
returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_people bigint;
begin
    -- Counted no further than the last bucket begins.
    select count(*) into v_people
    from (
        select from public.face_index as i
        where i.model = p_model and i.school = p_school and i.gender = p_gender
        limit 50001
    ) as counted;
    return case when v_people <= 1000 then '1000' when v_people <= 10000 then '10000' when v_people <= 50000 then '50000' else 'more' end;
end
$$;
comment on function automatch.group_size_bucket(text, text, text) is
    'The size of a group: the next higher of 1000, 10000 and 50000, or more.';

create function automatch.measure_ended_jobs(p_minutes integer)
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
-- For match_jobs_completed_idx, whatever the statistics say.
set enable_seqscan = off
as $$
    with ended as materialized (
        select j.status, j.error_code, j.school, p.gender,
            extract(epoch from j.completed_at - j.created_at)::double precision as took_s,
            (j.timings ->> 'claimed_ms')::double precision / 1000 as claimed_s,
            (j.timings ->> 'embedded_ms')::double precision / 1000 as embedded_s,
            (j.timings ->> 'searched_ms')::double precision / 1000 as searched_s,
            (j.timings ->> 'written_ms')::double precision / 1000 as written_s
        from public.match_jobs as j
        join public.profiles as p on p.id = j.user_id
        where j.completed_at > (select automatch.now() - make_interval(mins => p_minutes))
    ),
    -- Once for each group, and not for each of its jobs.
    searched as materialized (
        select automatch.group_size_bucket(
                public.active_embedding_model(), g.school, case g.gender when 'male' then 'female' else 'male' end
            ) as people, g.took_s
        from (
            select e.school, e.gender, array_agg(e.searched_s - e.embedded_s) as took_s
            from ended as e where e.status = 'completed' and e.embedded_s is not null
            group by e.school, e.gender order by count(*) desc limit 20
        ) as g
    )
    select 'recent_jobs_completed', null::text, count(*)::double precision from ended as e where e.status = 'completed'
    union all
    select 'recent_jobs_failed', e.error_code, count(*) from ended as e where e.status = 'failed' group by e.error_code
    union all
    select 'recent_job_seconds', q.label, percentile_cont(q.label::double precision) within group (order by e.took_s)
    from ended as e
    cross join (values ('0.5'), ('0.95'), ('0.99')) as q (label)
    where e.status = 'completed'
    group by q.label
    union all
    select 'recent_stage_p95_seconds', s.stage, percentile_cont(0.95) within group (order by s.took_s)
    from ended as e
    cross join lateral (
        values ('wait', e.claimed_s), ('analyze', e.embedded_s - e.claimed_s),
            ('search', e.searched_s - coalesce(e.embedded_s, e.claimed_s)), ('write', e.written_s - e.searched_s)
    ) as s (stage, took_s)
    where e.status = 'completed' and s.took_s is not null
    group by s.stage
    union all
    select 'recent_search_p95_seconds', s.people, percentile_cont(0.95) within group (order by t.took_s)
    from searched as s cross join unnest(s.took_s) as t (took_s)
    group by s.people
$$;
comment on function automatch.measure_ended_jobs(integer) is
    'The jobs that ended within the last minutes: how many, why not, and how long they took.';

create function public.get_metrics(p_minutes integer default 10)
returns table (name text, label text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select * from automatch.measure_queue()
    union all
    select * from automatch.measure_ended_jobs(p_minutes)
    union all
    select m.name, s.name, m.value
    from public.list_schedule() as s
    cross join lateral (
        values (
                'schedule_last_run_age_seconds',
                extract(epoch from automatch.now() - s.last_run_at)::double precision
            ),
            ('schedule_last_run_failed', (s.status = 'failed')::integer::double precision)
    ) as m (name, value)
    where s.active and s.name in ('process-match-jobs', 'cleanup-match-jobs') and m.value is not null
    union all
    select m.name, m.label, m.value
    from public.get_search_recall() as r
    cross join lateral (
        values ('search_audits', null, r.audits::double precision), ('search_recall_ratio', null, r.recall)
    ) as m (name, label, value)
    where m.value is not null
    union all
    select 'mails', s.state, count(m.id)
    from (values ('waiting', false), ('failed', true)) as s (state, failed)
    left join automatch.mails as m on m.failed = s.failed
    group by s.state
    union all
    select 'mails_oldest_seconds', null, coalesce(extract(epoch from automatch.now() - min(m.requested_at)), 0)
    from automatch.mails as m where not m.failed
    union all
    select 'photo_erasures_oldest_seconds', null, coalesce(extract(epoch from automatch.now() - min(e.queued_at)), 0)
    from automatch.photo_erasures as e
$$;
comment on function public.get_metrics(integer) is
    'What /metrics tells of the database; the jobs that ended are those of the last minutes.';

-- 82_acts.sql

-- Whom an act of an operator is about, which automatch.services.operators.acts asks before anything is done; and what waits for one.

create function automatch.find_mail_people(p_mail automatch.mails)
returns table (profile_id uuid, is_subject boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_person uuid := coalesce(p_mail.profile_id, public.find_person_by_email(p_mail.recipient));
begin
    return query select v_person, true where v_person is not null;
    -- Whoever is on one side of a case is not to learn of the other, nor get their link.
    return query
    select s.id, false
    from automatch.cases as c
    cross join lateral (values (c.profile_id), (c.reporter_id)) as s (id)
    where s.id is distinct from v_person and s.id is not null and (
        c.id = p_mail.case_id or p_mail.kind = 'case_news' and v_person in (c.profile_id, c.reporter_id)
    );
end
$$;
comment on function automatch.find_mail_people(automatch.mails) is
    'Whose mail it is (is_subject), and the sides of the cases that it is about.';

create function automatch.find_act_people(p_about text, p_id uuid)
returns table (profile_id uuid, is_subject boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query select p.id, true from public.profiles as p where p_about in ('person', 'held') and p.id = p_id;
    return query select f.profile_id, true from public.faces as f where p_about = 'held' and f.id = p_id;
    return query
    select s.id, s.is_subject
    from automatch.cases as c
    cross join lateral (values (c.profile_id, true), (c.reporter_id, false)) as s (id, is_subject)
    where p_about = 'case' and c.id = p_id and s.id is not null;
    return query
    select s.id, true
    from automatch.suspected_duplicates as d
    cross join lateral (values (d.profile_a_id), (d.profile_b_id)) as s (id)
    where p_about = 'pair' and d.id = p_id;
    return query
    select s.profile_id, s.is_subject
    from automatch.mails as m cross join lateral automatch.find_mail_people(m) as s
    where p_about = 'mail' and m.id = p_id;
end
$$;
comment on function automatch.find_act_people(text, uuid) is
    'Whom a person, held (a photo that waits, or its person), case, pair or mail is about (is_subject), and who else is '
    'a side of it.';

create function public.open_act(p_about text, p_id uuid, p_erases boolean default false)
returns table (profile_id uuid, role text, is_subject boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid := case p_about
        when 'case' then p_id
        when 'mail' then (select m.case_id from automatch.mails as m where m.id = p_id)
    end;
begin
    -- Whom anything else is about never changes.
    if exists (select from automatch.cases as c where c.id = v_case) then
        perform automatch.lock_case(v_case, p_erases);
    end if;
    return query
    select s.profile_id, o.role, s.is_subject
    from automatch.find_act_people(p_about, p_id) as s
    left join automatch.operators as o on o.profile_id = s.profile_id
    order by s.is_subject desc, s.profile_id;
end
$$;
comment on function public.open_act(text, uuid, boolean) is
    'Whom an act is about (is_subject) and who else is a side of it, with their roles as operators: until the end of the '
    'transaction it is about nobody else. p_erases: the account is locked too, as whatever erases it does.';

create function public.count_waiting(p_operator_id uuid default null)
returns table (
    open_cases bigint, unproven_cases bigint, held_photos bigint, membership_requests bigint, mails bigint,
    failed_mails bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.open, c.unproven,
        (
            select count(*) from automatch.held_faces as h
            where h.reason in ('another_person', 'another_account', 'challenge')
        ),
        (select count(*) from automatch.membership_requests as r where r.refused_at is null),
        m.waiting, m.failed
    from (
        select count(*) filter (where o.state = 'open') as open, count(*) filter (where o.state = 'unproven') as unproven
        from automatch.cases as o
        where o.state in ('open', 'unproven')
          and (p_operator_id = any (array[o.profile_id, o.reporter_id])) is not true
    ) as c
    cross join (
        select count(*) as waiting, count(*) filter (where l.failed) as failed
        from public.list_mails(1000, p_operator_id) as l
    ) as m
$$;
comment on function public.count_waiting(uuid) is
    'What waits for operators, without cases in which this one is a side, and their mail; of mails at most 1000.';

-- 84_schedule_admin.sql

-- What operators see and change of the schedule, once the server has checked that they may.

create function automatch.show_command(p_command text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $function$
    select btrim(regexp_replace(s.shown, '\s+', ' ', 'g')) || case when s.shown = p_command then '' else ' …' end
    from (select substring(p_command from $re$^(?:[^'"$/-]|-(?!-)|/(?!\*))*$re$) as shown) as s
$function$;
comment on function automatch.show_command(text) is
    'A command as far as it holds no key: up to its first literal or comment.';

create function public.list_cron_jobs()
returns table (
    name text, id bigint, schedule text, command text, active boolean, ignores_seconds boolean,
    last_run_at timestamptz, last_status text, last_message text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    -- By its oid, or a linter looks for the schema in databases that do without it.
    for name, id, schedule, command, active, ignores_seconds, last_run_at, last_status, last_message in execute format(
        $query$
        select j.jobname::text, j.jobid, j.schedule, automatch.show_command(j.command), j.active,
            -- pg_cron reads five fields and ignores the rest of the line.
            j.schedule ~ '^\s*(\S+\s+){5}\S' and exists (select from pg_extension as e where e.extname = 'pg_cron'),
            run.start_time, run.status, split_part(run.return_message, E'\n', 1)
        from %1$s.job as j
        left join lateral (
            select d.start_time, d.status, d.return_message
            from %1$s.job_run_details as d
            where d.jobid = j.jobid
            order by d.runid desc
            limit 1
        ) as run on true
        where j.username = current_user
        union all
        select k.name, null, k.schedule, automatch.show_command(k.command), false, false, null, null, null
        from automatch.kept_cron_jobs as k
        where not k.active and not exists (select from automatch.read_cron_jobs($1) as j where j.name = k.name)
        order by 1
        $query$,
        v_cron::regnamespace
    ) using v_cron loop
        return next;
    end loop;
end
$$;
comment on function public.list_cron_jobs() is
    'The cron jobs of the owner with their last runs, none without pg_cron or its stand-in; id is null while a job is off.';

create function public.list_cron_runs(p_name text, p_limit integer default 50)
returns table (started_at timestamptz, took_s double precision, status text, message text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := to_regnamespace('cron');
begin
    if not coalesce(has_schema_privilege(v_cron, 'usage'), false) then
        return;
    end if;
    for started_at, took_s, status, message in execute format(
        $query$
        select d.start_time, extract(epoch from d.end_time - d.start_time)::double precision, d.status,
            split_part(d.return_message, E'\n', 1)
        from %1$s.job_run_details as d
        join %1$s.job as j on j.jobid = d.jobid
        where j.username = current_user and j.jobname = $1
        order by d.runid desc
        limit least(greatest($2, 1), 1000)
        $query$,
        v_cron::regnamespace
    ) using p_name, p_limit loop
        return next;
    end loop;
end
$$;
comment on function public.list_cron_runs(text, integer) is 'The runs of a cron job of the owner, newest first.';

create function public.change_cron_job(p_name text, p_schedule text, p_active boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron oid := automatch.record_cron_jobs(null);
begin
    if v_cron is not null then
        -- What another wrote is kept while it is off, so that it can be made again.
        insert into automatch.kept_cron_jobs (name, schedule, command, active, seen_in)
        select j.name, j.schedule, j.command, j.active, v_cron
        from automatch.read_cron_jobs(v_cron) as j
        where j.name = p_name
        on conflict (name) do nothing;
    end if;
    if v_cron is null or not exists (select from automatch.kept_cron_jobs as k where k.name = p_name) then
        perform automatch.raise_error('not_found', 'The schedule has no job of this name.');
    end if;
    perform automatch.change_cron_job(v_cron, p_name, p_schedule, p_active);
    delete from automatch.kept_cron_jobs as k
    where k.name = p_name and k.active and k.name not in ('process-match-jobs', 'cleanup-match-jobs');
end
$$;
comment on function public.change_cron_job(text, text, boolean) is
    'Run a cron job of the owner at other times, or switch it on or off; what is null stays. Its command stays.';

-- 85_settings_admin.sql

-- The settings that live in the database, as operators see and change them.

create function public.read_settings()
returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (to_jsonb(search) || to_jsonb(match) || jsonb_build_object('concurrency', queue.concurrency)) - 'only_row'
    from automatch.search_settings as search
    cross join public.match_settings as match
    cross join automatch.queue_settings as queue
$$;
comment on function public.read_settings() is 'The settings that live in the database, by name.';

create function public.change_setting(p_name text, p_value jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table text := case
        when p_name in ('match_count', 'hold_another_person', 'hold_another_account') then 'public.match_settings'
        when p_name in (
            'audit_one_in', 'index_from', 'index_until', 'most_indexes', 'm', 'ef_construction', 'ef_search'
        ) then 'automatch.search_settings'
    end;
begin
    if v_table is null then
        perform automatch.raise_error('not_found', 'There is no such setting.');
    end if;
    if p_value is null or p_value = 'null' then
        perform automatch.raise_error('input_invalid', 'This setting needs a value.');
    end if;
    execute format(
        'update %1$s set %2$I = (jsonb_populate_record(null::%1$s, jsonb_build_object(%2$L, $1))).%2$I', v_table, p_name
    ) using p_value;
end
$$;
comment on function public.change_setting(text, jsonb) is
    'Change a setting that takes effect by itself, within the bounds that the constraints of its table say.';

-- 90_security.sql

-- Who may read, change or call what: one table, which apply_access_rules() puts into force.
--
-- The owner and the functions that run as the owner may do everything. Nobody else may do anything that is not
-- listed here. A test compares the table with the running catalogue.
create table automatch.access_rules (
    kind text not null,
    -- With its schema. A table stands for its partitions and its sequences too, a function for all of its name.
    object text not null,
    grantee text not null,
    -- As after `grant`; columns in brackets.
    privileges text not null,
    -- For tables: the name of the policy, and which rows the grantee sees.
    policy text,
    visible text,
    primary key (kind, object, grantee),
    constraint kind_is_known check (kind in ('schema', 'table', 'sequence', 'function')),
    constraint table_has_a_policy check (
        (kind = 'table') = (policy is not null) and (kind = 'table') = (visible is not null)
    )
);
comment on table automatch.access_rules is
    'Who may do what. After a change apply_access_rules() puts it into force.';

insert into automatch.access_rules (kind, object, grantee, privileges)
select r.kind, o.object, g.grantee, r.privileges
from (values
    ('schema', 'usage', 'anon authenticated service_role automatch_schedule', 'automatch'),
    -- The type of a parameter is resolved as the login, before it becomes anyone.
    ('schema', 'usage', 'anon authenticated service_role automatch_api automatch_worker automatch_schedule', 'public extensions'),
    ('sequence', 'usage', 'service_role', 'automatch.match_numbers'),
    ('function', 'execute', 'anon authenticated service_role', '
        automatch.claims automatch.now automatch.raise_error automatch.uid
    '),
    ('function', 'execute', 'authenticated', '
        public.block_profile public.check_upload_limits public.choose_face public.count_photo_views public.delete_face
        public.dismiss_match public.erase_account public.explain_match_job public.feed_page public.feed_position
        public.get_search_wait public.get_share public.like_profile public.save_share public.unlike_profile
        public.list_matches public.list_new_matches public.mark_matches_seen public.show_match
        public.list_hidden_profiles public.list_photo_views public.last_match_number public.list_schools public.match_pool
        public.matches_after public.record_consent public.record_upload public.require_photo_challenge public.save_profile
        public.set_discoverable public.set_language public.unblock_profile public.refused_photo
        public.undo_dismissal public.viewable_photo
    '),
    -- Notifications: what people choose, and what the server tells.
    ('function', 'execute', 'authenticated', '
        public.forget_push_subscription public.get_digest public.is_search_paused public.save_push_subscription public.set_digest
    '),
    -- Schools: what people do, who lets them in, and what the list is kept by.
    ('function', 'execute', 'authenticated', '
        public.get_membership public.join_school public.leave_school public.request_membership
    '),
    ('function', 'execute', 'automatch_api', 'public.find_invitation'),
    -- What open pages and apps are told, read for many people at once.
    ('function', 'execute', 'automatch_api', '
        public.take_role_of public.list_ended_sessions public.read_feed_positions public.read_feeds public.read_match_pools
        public.read_memberships public.read_new_matches public.read_own_cases public.read_own_jobs
        public.read_unseen_matches
    '),
    ('function', 'execute', 'service_role', 'automatch.find_school'),
    ('function', 'execute', 'automatch_worker service_role', 'public.settle_changes'),
    ('function', 'execute', 'automatch_api service_role', '
        public.add_school public.change_person public.change_school public.decide_membership public.end_invitation
        public.get_schools public.invite_to_school public.list_invitations public.list_membership_requests
        public.merge_schools public.refresh_school_proofs public.remove_school public.rename_finished_jobs
        public.rename_school public.set_school_open
    '),
    ('function', 'execute', 'authenticated service_role', '
        automatch.caller_may_see automatch.count_shown_matches automatch.must_consent_again
    '),
    ('function', 'execute', 'authenticated automatch_api service_role', '
        public.current_notices
    '),
    -- Reports and cases: people, whoever has a mailed link, operators.
    ('function', 'execute', 'authenticated', '
        public.find_shown_person public.list_own_case_messages public.list_own_cases public.report_profile
        public.withdraw_report public.write_to_case
    '),
    ('function', 'execute', 'automatch_api', '
        public.create_case_token public.find_case_token public.find_ban public.inherit_departure
        public.list_case_messages_by_token public.prove_take_down public.request_take_down public.write_to_case_by_token
    '),
    ('function', 'execute', 'automatch_api service_role', '
        public.answer_case public.ban_address public.decide_case public.find_case_recipient
        public.lift_ban
        public.list_case_acts public.list_case_messages public.list_case_viewers public.list_cases
        public.open_case_photo public.point_case public.read_case
    '),
    ('function', 'execute', 'authenticated automatch_api automatch_worker service_role', '
        public.active_embedding_model
    '),
    ('function', 'execute', 'automatch_api', '
        public.begin_photo_challenge public.pass_photo_challenge public.take_photo_challenge
        public.charge_rate_limits public.enqueue_mail public.export_person public.feed_versions public.finish_mail
        public.get_language public.get_match_job_progress public.get_rate_limit_wait public.is_trigger_key public.list_due_match_jobs
        public.list_backup_runs public.list_mails public.postpone_mail public.read_mail public.record_photo_views
        public.refund_rate_limits public.resend_mail public.take_mail
        public.end_digest public.finish_push public.postpone_push public.read_digest public.take_pushes
    '),
    -- What servers tell of themselves, and what operators see of it.
    ('function', 'execute', 'automatch_api', '
        public.count_waiting public.count_workers public.forget_server public.get_history public.get_job_rates public.list_failure_reasons
        public.list_schedule public.list_servers public.list_worker_faults public.record_deliveries public.report_server
    '),
    -- What operators do, once the server has checked that they may.
    ('function', 'execute', 'automatch_api', '
        public.create_person public.find_operator public.find_operator_role public.find_people
        public.find_person_by_email public.freeze_person public.list_impersonations public.list_operators public.open_act
        public.record_act
        public.set_operator_role public.show_person public.unfreeze_person
    '),
    ('function', 'execute', 'automatch_api', 'public.get_metrics'),
    -- What leads, and what the two cron jobs call.
    ('function', 'execute', 'automatch_schedule', '
        automatch.ensure_match_schedule automatch.lock_key automatch.read_trigger_key public.cleanup_old_match_jobs
    '),
    ('function', 'execute', 'automatch_api automatch_worker', '
        public.claim_photo_store public.schema_version public.enqueue_receipt public.erase_person public.is_session_live
        public.list_erasures_to_log public.mark_erasures_logged
    '),
    ('function', 'execute', 'automatch_worker', '
        public.delete_old_matches public.enqueue_digests public.is_backup_due public.list_people_to_erase public.record_history
        public.warn_inactive_people
    '),
    ('function', 'execute', 'automatch_api automatch_worker service_role', '
        public.get_search_recall
    '),
    ('function', 'execute', 'automatch_api service_role', '
        public.cancel_match_jobs public.count_import_jobs public.count_waiting_match_jobs public.decide_held_photo
        public.decide_suspected_duplicate public.end_smoke_tests public.find_imported_photo public.finish_import
        public.get_match_job_stats public.get_match_queue public.get_match_same_person
        public.get_match_threshold public.get_site_operator public.import_photo public.list_audit_log public.list_import_failures
        public.list_held_photos public.open_held_photo public.list_match_jobs public.list_notices public.list_suspected_duplicates public.pause_match_jobs
        public.preview_match_thresholds public.prioritize_match_jobs public.publish_notice public.requeue_match_job
        public.resume_match_jobs public.retry_failed_match_jobs public.set_match_concurrency
        public.change_cron_job public.change_setting public.list_cron_jobs public.list_cron_runs public.read_settings
        public.begin_model_change public.compare_models public.count_comparable_people public.count_retryable_match_jobs
        public.finish_model_change public.get_model_change public.list_refused_faces public.list_similarity_scales
        public.retire_model_change public.roll_back_model_change public.sample_stranger_distances public.use_similarity_scale
        public.set_match_same_person public.set_match_threshold public.set_site_operator public.start_smoke_test
    '),
    ('function', 'execute', 'automatch_worker service_role', '
        public.recheck_duplicates public.get_chosen_face
        public.claim_match_jobs public.delete_expired_rows public.clean_up_rate_limits
        public.clean_up_search_audits public.cleanup_old_match_jobs
        public.complete_match_jobs public.delete_unrescored_matches public.enqueue_reruns
        public.erase_unanswered_photo public.fail_match_jobs public.register_idle public.await_turn public.look_around
        public.complete_match_jobs_with_candidates
        public.detect_duplicates public.preparing_model public.read_search_group public.read_search_jobs
        public.refuse_faces_to_embed public.release_match_jobs public.renew_match_leases public.report_worker_fault public.lead_maintenance
        public.release_worker_match_jobs public.rescore_matches_for_model public.rescore_matches public.retry_match_jobs
        public.seconds_to_next_match_job public.unregister_idle public.store_face_embeddings
        public.store_prepared_embeddings public.sweep_match_jobs public.take_faces_to_embed
    '),
    -- Some of them by the checks and triggers of what it may write.
    ('function', 'execute', 'service_role', '
        automatch.are_face_boxes automatch.cosine_bound automatch.find_candidates automatch.has_consent
        automatch.is_audited automatch.is_face_box automatch.is_moving_embeddings automatch.is_renaming automatch.similarity
        public.add_similarity_scale public.enqueue_match_job public.find_similar_faces_filtered
    ')
) as r (kind, privileges, grantees, objects)
cross join regexp_split_to_table(btrim(r.grantees), '\s+') as g (grantee)
cross join regexp_split_to_table(btrim(r.objects, E' \n'), '\s+') as o (object);

-- The service sees every row of what it may read.
insert into automatch.access_rules (kind, object, grantee, privileges, policy, visible)
select 'table', o.object, 'service_role', r.privileges, 'service', 'true'
from (values
    ('select, insert, update, delete', '
        automatch.feed_entries automatch.feed_counters automatch.group_indexes automatch.import_erasures
        automatch.frozen_profiles automatch.held_faces automatch.imported_people automatch.imported_photos automatch.memberships
        automatch.paused_schools automatch.photo_erasures automatch.photo_sweep automatch.schools
        automatch.queue_settings automatch.reruns automatch.duplicate_checks automatch.search_audits
        automatch.search_settings automatch.similarity_scales automatch.suspected_duplicates automatch.smoke_test_runs
        public.embedding_models public.face_embeddings public.face_index public.faces
        public.match_dismissals public.match_jobs
        public.match_settings public.matches public.profile_blocks public.profiles
    '),
    ('select, insert', 'automatch.audit_log public.biometric_consents'),
    ('select', 'automatch.faces_to_embed automatch.model_changes public.consent_texts')
) as r (privileges, objects)
cross join regexp_split_to_table(btrim(r.objects, E' \n'), '\s+') as o (object);

-- A person sees their own rows, and of matches those with people whom they may see.
insert into automatch.access_rules (kind, object, grantee, privileges, policy, visible)
values
    ('table', 'public.consent_texts', 'anon', 'select', 'anon_reads', 'true'),
    ('table', 'public.consent_texts', 'authenticated', 'select', 'authenticated_reads', 'true'),
    ('table', 'public.profiles', 'authenticated', 'select', 'own_profile', 'id = (select automatch.uid())'),
    ('table', 'public.biometric_consents', 'authenticated', 'select', 'own_consents',
        'profile_id = (select automatch.uid())'),
    ('table', 'public.faces', 'authenticated',
        'select (id, profile_id, created_at)', 'own_faces', 'profile_id = (select automatch.uid())'),
    -- Of the model in use.
    ('table', 'public.face_embeddings', 'authenticated', 'select (face_id, model, quality, created_at)',
        'own_embeddings', 'model = (select public.active_embedding_model()) and face_id in ('
        'select f.id from public.faces as f where f.profile_id = (select automatch.uid()))'),
    ('table', 'public.match_jobs', 'authenticated',
        'select (id, user_id, face_id, status, attempts, max_attempts, error_code, error_message, created_at, '
        'started_at, completed_at, match_count, timings, face_boxes, refused_picture, request_id)', 'own_jobs',
        'user_id = (select automatch.uid())'),
    -- Everything but the exact similarity.
    ('table', 'public.matches', 'authenticated', 'select (id, face_a_id, face_b_id, created_at)', 'own_matches',
        '(select automatch.uid()) in (profile_a_id, profile_b_id) and automatch.caller_may_see('
        'case when profile_a_id = (select automatch.uid()) then profile_b_id else profile_a_id end)'),
    ('table', 'public.match_dismissals', 'authenticated', 'select', 'own_dismissals',
        'profile_id = (select automatch.uid())'),
    ('table', 'public.profile_blocks', 'authenticated', 'select', 'own_blocks',
        'profile_id = (select automatch.uid())');

create function automatch.apply_table_rules(p_table regclass)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_root regclass := coalesce(pg_partition_root(p_table), p_table);
    v_name text;
    v_rule automatch.access_rules;
begin
    for v_name in select p.polname from pg_policy as p where p.polrelid = p_table loop
        execute format('drop policy %I on %s', v_name, p_table);
    end loop;
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    -- Forced row level security binds the owner too, and so the functions that run as the owner.
    execute format('create policy owner on %s to %I using (true) with check (true)', p_table, current_user);
    execute format(
        'revoke all on %s from public, anon, authenticated, service_role, automatch_api, automatch_worker, '
        'automatch_schedule', p_table
    );
    for v_name in
        select s.objid::regclass from pg_depend as s
        join pg_class as c on c.oid = s.objid and c.relkind = 'S'
        where s.refobjid = p_table and s.classid = 'pg_class'::regclass
    loop
        execute format(
            'revoke all on sequence %s from public, anon, authenticated, service_role, automatch_api, '
            'automatch_worker, automatch_schedule', v_name
        );
    end loop;
    for v_rule in select * from automatch.access_rules as r where r.kind = 'table' and r.object = v_root::text loop
        execute format(
            'create policy %I on %s for %s to %I using (%s)', v_rule.policy, p_table,
            case when v_rule.privileges like '%insert%' then 'all' else 'select' end, v_rule.grantee,
            v_rule.visible
        );
        if v_root = p_table then
            execute format('grant %s on %s to %I', v_rule.privileges, p_table, v_rule.grantee);
        end if;
    end loop;
end
$$;
comment on function automatch.apply_table_rules(regclass) is
    'Put the rules of a table, or of the table that it is a partition of, into force.';

create function automatch.apply_access_rules()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_object record;
    v_table regclass;
    v_rule automatch.access_rules;
begin
    revoke all on schema automatch from public;
    -- Into an array first: access_rules itself cannot be altered while it is being read.
    foreach v_table in array array(
        select c.oid::regclass from pg_class as c
        where c.relkind in ('r', 'p') and (
            c.relnamespace = 'automatch'::regnamespace
            or exists (
                select from automatch.access_rules as r
                where r.kind = 'table' and r.object = coalesce(pg_partition_root(c.oid), c.oid)::regclass::text
            )
        )
    )
    loop
        perform automatch.apply_table_rules(v_table);
    end loop;
    -- All overloads of one name; a function of an operator's own in public is not ours to judge.
    for v_object in
        select p.oid::regprocedure as signature, format('%I.%I', n.nspname, p.proname) as name
        from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
        where n.nspname = 'automatch' or n.nspname = 'public' and exists (
            select from automatch.access_rules as r
            where r.kind = 'function' and r.object = format('%I.%I', n.nspname, p.proname)
        )
    loop
        execute format(
            'revoke all on function %s from public, anon, authenticated, service_role, automatch_api, '
            'automatch_worker, automatch_schedule', v_object.signature
        );
        for v_rule in
            select * from automatch.access_rules as r where r.kind = 'function' and r.object = v_object.name
        loop
            execute format('grant execute on function %s to %I', v_object.signature, v_rule.grantee);
        end loop;
    end loop;
    for v_rule in select * from automatch.access_rules as r where r.kind in ('schema', 'sequence') loop
        execute format('grant %s on %s %s to %I', v_rule.privileges, v_rule.kind, v_rule.object, v_rule.grantee);
    end loop;
end
$$;
comment on function automatch.apply_access_rules() is
    'Take all rights of everybody on everything of ours, and grant those of the table.';

select automatch.apply_access_rules();

-- What tells of a person stays out of the samples that the planner keeps, where an erasure would not reach it, and
-- marks the tables that are rewritten after one (automatch.postgres.erased_data).
do $$
declare
    v_column text[];
begin
    foreach v_column slice 1 in array array[
        ['public.profiles', 'email'], ['public.profiles', 'name'], ['public.profiles', 'birth_date'],
        ['public.biometric_consents', 'evidence'], ['public.faces', 'image_sha256'],
        ['public.face_embeddings', 'embedding'], ['public.face_index', 'embedding'],
        ['automatch.sharded_embeddings', 'embedding'],
        ['automatch.imported_people', 'email_sha256'], ['automatch.mails', 'recipient'],
        ['automatch.case_messages', 'body'], ['automatch.case_contacts', 'address'],
        ['automatch.push_subscriptions', 'endpoint'], ['automatch.shares', 'sentence'], ['automatch.shares', 'handle']
    ] loop
        execute format('alter table %s alter column %I set statistics 0', v_column[1], v_column[2]);
    end loop;
end
$$;

-- Now that its partitions can take the rules of their tables.
select automatch.add_model_partitions('dlib');
