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
