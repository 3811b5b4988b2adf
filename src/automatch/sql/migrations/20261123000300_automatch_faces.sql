-- Models with their similarity scale, faces, and the search copy of those that can be found.

set search_path = public, extensions;

create table public.embedding_models (
    id text primary key,
    dimensions integer not null check (dimensions > 0),
    midpoint double precision not null,
    width double precision not null check (width > 0),
    same_person_u double precision not null,
    active boolean not null default false
);
comment on table public.embedding_models is
    'Similarity scale per model: u = sqrt(2 - 2 cos), similarity = 1 / (1 + exp((u - midpoint) / width)).';
comment on column public.embedding_models.same_person_u is
    'Two faces with a u at or below this are taken for one person.';
create unique index embedding_models_one_is_active on public.embedding_models (active) where active;

-- Fitted on 42,120 pairs of strangers of opposite gender (454 official portraits):
-- 0.5 means closer than 99 of 100 of them.
insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u, active)
values ('dlib', 128, 0.482, 0.030, 0.385, true);

create table public.match_settings (
    only_row boolean primary key default true,
    threshold double precision not null default 0.5,
    match_count integer not null default 20,
    constraint there_is_one_row check (only_row),
    constraint threshold_is_a_similarity check (threshold > 0 and threshold < 1),
    constraint match_count_is_1_to_100 check (match_count between 1 and 100)
);
insert into public.match_settings default values;

create function automatch.similarity(p_cosine double precision, p_midpoint double precision, p_width double precision)
returns double precision
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- Rounding can take a cosine of one's own face above 1.
    select 1 / (1 + exp((sqrt(greatest(2 - 2 * p_cosine, 0)) - p_midpoint) / p_width))
$$;

create function automatch.cosine_bound(p_similarity double precision, p_midpoint double precision, p_width double precision)
returns double precision
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- The inverse of automatch.similarity(); 2 lets nothing through, -1 everything.
    select case
        when p_similarity <= 0 then -1
        when p_similarity >= 1 then 2
        when p_midpoint + p_width * ln((1 - p_similarity) / p_similarity) < 0 then 2
        else 1 - power(p_midpoint + p_width * ln((1 - p_similarity) / p_similarity), 2) / 2
    end
$$;

create table public.faces (
    id uuid primary key default gen_random_uuid(),
    profile_id uuid not null references public.profiles (id) on delete cascade,
    image_path text not null,
    image_sha256 text not null,
    embedding vector(128),
    embedding_model text references public.embedding_models (id),
    quality jsonb,
    created_at timestamptz not null default automatch.now(),
    constraint one_face_per_photo unique (profile_id, image_sha256),
    constraint image_sha256_is_hex check (image_sha256 ~ '^[0-9a-f]{64}$'),
    constraint embedding_names_its_model check ((embedding is null) = (embedding_model is null)),
    constraint embedding_is_a_unit_vector check (abs(vector_norm(embedding) - 1) < 0.001)
);
comment on column public.faces.image_path is 'Where the photo lies in the photo store; never an address.';
comment on column public.faces.image_sha256 is 'Of the bytes as uploaded: the same photo again is the same face.';
comment on column public.faces.embedding is 'float32 truth, unit length; null until a worker has seen the photo.';

create trigger faces_require_consent
before insert on public.faces
for each row execute function automatch.require_consent();

-- The search copy. Who is in it is who can be found; a search reads the rows of
-- one school and gender, in place, and nothing else (vectors of 264 bytes, never
-- out of line; cosine = inner product because they are unit vectors).
create table public.face_index (
    school text not null,
    gender text not null,
    face_id uuid not null references public.faces (id) on delete cascade,
    profile_id uuid not null,
    embedding halfvec(128) not null,
    primary key (school, gender, face_id),
    constraint face_index_follows_profile foreign key (profile_id, school, gender)
        references public.profiles (id, school, gender) on update cascade on delete cascade
) partition by hash (school);
alter table public.face_index alter column embedding set storage plain;

do $$
begin
    for i in 0..15 loop
        execute pg_catalog.format(
            'create table public.face_index_%s partition of public.face_index '
            'for values with (modulus 16, remainder %s)', i, i);
        execute pg_catalog.format('alter table public.face_index_%s enable row level security', i);
        execute pg_catalog.format('alter table public.face_index_%s force row level security', i);
        execute pg_catalog.format(
            'create policy service on public.face_index_%s to service_role, current_user '
            'using (true) with check (true)', i);
        execute pg_catalog.format(
            'revoke all on public.face_index_%s from anon, authenticated, service_role', i);
    end loop;
end
$$;

-- For the two cascades: a face that is deleted, a profile that moves.
create index face_index_face_idx on public.face_index (face_id);
create index face_index_profile_idx on public.face_index (profile_id, school, gender);

create function automatch.index_faces(p_profile_id uuid, p_face_id uuid default null)
returns void
language sql
security definer
set search_path = public, extensions, pg_temp
as $$
    delete from public.face_index as i
    where i.profile_id = p_profile_id and (p_face_id is null or i.face_id = p_face_id);
    insert into public.face_index (school, gender, face_id, profile_id, embedding)
    select p.school, p.gender, f.id, p.id, f.embedding::halfvec(128)
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    where p.id = p_profile_id
      and (p_face_id is null or f.id = p_face_id)
      and p.profile_type = 'user'
      and p.discoverable
      and p.school is not null
      and p.gender is not null
      and automatch.has_consent(p.id)
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

-- A transaction cannot delete a file: the path is written down, and the file
-- goes once that is committed.
create table automatch.photo_erasures (
    image_path text primary key,
    queued_at timestamptz not null default automatch.now()
);
comment on table automatch.photo_erasures is 'Photos of deleted faces whose files are still to be deleted.';

create function automatch.face_erased()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.photo_erasures (image_path) values (old.image_path) on conflict do nothing;
    return null;
end
$$;

create trigger faces_erased
after delete on public.faces
for each row execute function automatch.face_erased();

do $$
declare
    v_table text;
begin
    foreach v_table in array array[
        'public.embedding_models', 'public.match_settings', 'public.faces', 'public.face_index',
        'automatch.photo_erasures'
    ] loop
        execute 'alter table ' || v_table || ' enable row level security';
        execute 'alter table ' || v_table || ' force row level security';
        execute 'create policy service on ' || v_table
            || ' to service_role, current_user using (true) with check (true)';
        execute 'revoke all on ' || v_table || ' from anon, authenticated, service_role';
        execute 'grant select, insert, update, delete on ' || v_table || ' to service_role';
    end loop;
end
$$;

create policy own_faces on public.faces for select to authenticated
    using (profile_id = (select automatch.uid()));
-- Everything but the embedding.
grant select (id, profile_id, embedding_model, quality, created_at) on public.faces to authenticated;

revoke execute on all functions in schema automatch from public;
grant execute on function
    automatch.similarity(double precision, double precision, double precision),
    automatch.cosine_bound(double precision, double precision, double precision)
    to service_role;
