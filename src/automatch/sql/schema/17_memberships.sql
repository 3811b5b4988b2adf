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
