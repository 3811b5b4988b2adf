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
