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
    created_at timestamptz not null default automatch.now(),
    updated_at timestamptz not null default automatch.now(),
    constraint gender_is_male_or_female check (gender in ('male', 'female')),
    constraint profile_type_is_known check (profile_type in ('user', 'celebrity')),
    constraint school_is_trimmed check (school = btrim(school) and school <> '' and length(school) <= 120),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 80)
);
comment on table public.profiles is 'One row a person; id is the id of auth.users where the person signs in.';
comment on column public.profiles.discoverable is 'Whether searches of others may find this person.';
comment on column public.profiles.admitted is
    'Whether this person takes part, by automatch.is_admitted(); a trigger keeps it.';
comment on column public.profiles.simulated is 'Made by `automatch demo`; `automatch demo --remove` deletes it.';
-- For the guide's count of potential matches, and for lists of a school's people.
create index idx_profiles_school_gender on public.profiles (school, gender) where profile_type = 'user';
-- For the existing spelling of a school.
create index profiles_school_spelling_idx on public.profiles (lower(school));

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
    -- Some keyboards send a letter and its accent as two characters, others as one.
    v_school text := pg_catalog.btrim(pg_catalog.regexp_replace(normalize(p_school, nfc), '\s+', ' ', 'g'));
begin
    -- "uit" and "UIT" are one school, spelled as most people spell it. One transaction at a time:
    -- otherwise the first two people of a school could make two of it.
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
        perform automatch.raise_error('profile_not_found', 'This profile does not exist any more.');
    end if;
end
$$;
comment on function public.save_profile(text, text, text, date) is 'Save the caller''s own profile.';

create function public.list_schools()
returns table (school text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.school
    from public.profiles as p
    where p.school is not null and p.profile_type = 'user'
      and not exists (select from automatch.smoke_test_runs as t where t.school = p.school)
    group by p.school
    order by count(*) desc, p.school
    limit 100
$$;
comment on function public.list_schools() is 'The most frequent schools, to choose from, without those of smoke tests.';

create function automatch.resolve_school(p_school text)
returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school text;
begin
    -- A paused school can be resumed after everybody has left it.
    select s.school into v_school
    from (
        select p.school, count(*) as people from public.profiles as p
        where lower(p.school) = lower(btrim(p_school))
        group by p.school
        union all
        select s.school, 0 from automatch.paused_schools as s where lower(s.school) = lower(btrim(p_school))
    ) as s
    order by s.people desc, s.school
    limit 1;
    if v_school is null then
        perform automatch.raise_error('input_invalid', 'No profile names this school; check its spelling.');
    end if;
    return v_school;
end
$$;

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
