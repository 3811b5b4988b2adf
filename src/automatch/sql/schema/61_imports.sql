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
