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
