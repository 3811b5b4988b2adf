-- The search copy. Who is in it is who can be found; a search reads the rows of
-- one school and gender, in place, and nothing else (vectors of 264 bytes, never
-- out of line; cosine = inner product because they are unit vectors).
create table public.face_index (
    school text not null,
    gender text not null,
    face_id uuid not null references public.faces (id) on delete cascade,
    profile_id uuid not null,
    embedding halfvec(128) storage plain not null,
    primary key (school, gender, face_id),
    constraint face_index_follows_profile foreign key (profile_id, school, gender)
        references public.profiles (id, school, gender) on update cascade on delete cascade
) partition by hash (school);
do $$
begin
    for i in 0..15 loop
        execute pg_catalog.format(
            'create table public.face_index_%s partition of public.face_index '
            'for values with (modulus 16, remainder %s)', i, i);
    end loop;
end
$$;
-- For the two cascades: a face that is deleted, a profile that moves.
create index face_index_face_idx on public.face_index (face_id);
create index face_index_profile_idx on public.face_index (profile_id, school, gender);

-- In plpgsql, which looks for the shadow only where it is there.
create function automatch.index_faces(p_profile_id uuid, p_face_id uuid default null)
returns void
language plpgsql
security definer
set search_path = public, extensions, pg_temp
as $$
begin
    delete from public.face_index as i
    where i.profile_id = p_profile_id and (p_face_id is null or i.face_id = p_face_id);
    insert into public.face_index (school, gender, face_id, profile_id, embedding)
    -- Without a length: the column has one, and refuses an embedding of another.
    select p.school, p.gender, f.id, p.id, f.embedding::halfvec
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    where p.id = p_profile_id
      and (p_face_id is null or f.id = p_face_id)
      and p.profile_type = 'user'
      and p.discoverable
      and p.school is not null
      and p.gender is not null
      and automatch.has_consent(p.id);
    if automatch.has_shadow() then
        perform automatch.index_shadow(p_profile_id, p_face_id);
    end if;
end
$$;
comment on function automatch.index_faces(uuid, uuid) is
    'Make face_index true for one face, or for all faces of a person: the rule of who can be found.';

create function automatch.faces_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.index_faces(new.profile_id, new.id);
    if new.embedding is not null and automatch.has_shadow() then
        insert into automatch.faces_to_embed (face_id, fresh) values (new.id, true)
        on conflict do nothing;
        -- A photo that the model in use sees only now may have matches of the other one: they were passed
        -- over when matches were scored anew.
        if tg_op = 'UPDATE' then
            if old.embedding is null and exists (
                select from public.matches as x where new.id in (x.face_a_id, x.face_b_id)
            ) then
                update automatch.model_changes
                set renewed = false, renewed_version = 0, renewed_upto = '-infinity'
                where state <> 'retired';
            end if;
        end if;
    end if;
    return null;
end
$$;

create trigger faces_changed
after insert or update of embedding, embedding_model, profile_id on public.faces
for each row execute function automatch.faces_changed();

create function automatch.profile_leaves_index()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The foreign key carries a move to another school; it cannot carry a null.
    if new.school is null or new.gender is null then
        delete from public.face_index where profile_id = new.id;
        if automatch.has_shadow() then
            delete from automatch_shadow.face_index where profile_id = new.id;
        end if;
    end if;
    return new;
end
$$;

create trigger profiles_leave_index
before update of school, gender on public.profiles
for each row execute function automatch.profile_leaves_index();

create function automatch.profile_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.index_faces(new.id);
    return null;
end
$$;

create trigger profiles_changed
after update of school, gender, profile_type, discoverable on public.profiles
for each row
when (
    old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable
    or old.school is null
    or old.gender is null
)
execute function automatch.profile_changed();

create function automatch.consent_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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

create trigger biometric_consents_changed
after insert on public.biometric_consents
for each row execute function automatch.consent_changed();
