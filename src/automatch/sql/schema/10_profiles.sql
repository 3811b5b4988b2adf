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
