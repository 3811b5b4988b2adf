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
