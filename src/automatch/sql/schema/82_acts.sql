-- Whom an act of an operator is about, which automatch.services.operators.acts asks before anything is done; and what waits for one.

create function automatch.find_mail_people(p_mail automatch.mails)
returns table (profile_id uuid, is_subject boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_person uuid := coalesce(p_mail.profile_id, public.find_person_by_email(p_mail.recipient));
begin
    return query select v_person, true where v_person is not null;
    -- Whoever is on one side of a case is not to learn of the other, nor get their link.
    return query
    select s.id, false
    from automatch.cases as c
    cross join lateral (values (c.profile_id), (c.reporter_id)) as s (id)
    where s.id is distinct from v_person and s.id is not null and (
        c.id = p_mail.case_id or p_mail.kind = 'case_news' and v_person in (c.profile_id, c.reporter_id)
    );
end
$$;
comment on function automatch.find_mail_people(automatch.mails) is
    'Whose mail it is (is_subject), and the sides of the cases that it is about.';

create function automatch.find_act_people(p_about text, p_id uuid)
returns table (profile_id uuid, is_subject boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query select p.id, true from public.profiles as p where p_about in ('person', 'held') and p.id = p_id;
    return query select f.profile_id, true from public.faces as f where p_about = 'held' and f.id = p_id;
    return query
    select s.id, s.is_subject
    from automatch.cases as c
    cross join lateral (values (c.profile_id, true), (c.reporter_id, false)) as s (id, is_subject)
    where p_about = 'case' and c.id = p_id and s.id is not null;
    return query
    select s.id, true
    from automatch.suspected_duplicates as d
    cross join lateral (values (d.profile_a_id), (d.profile_b_id)) as s (id)
    where p_about = 'pair' and d.id = p_id;
    return query
    select s.profile_id, s.is_subject
    from automatch.mails as m cross join lateral automatch.find_mail_people(m) as s
    where p_about = 'mail' and m.id = p_id;
end
$$;
comment on function automatch.find_act_people(text, uuid) is
    'Whom a person, held (a photo that waits, or its person), case, pair or mail is about (is_subject), and who else is '
    'a side of it.';

create function public.open_act(p_about text, p_id uuid, p_erases boolean default false)
returns table (profile_id uuid, role text, is_subject boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid := case p_about
        when 'case' then p_id
        when 'mail' then (select m.case_id from automatch.mails as m where m.id = p_id)
    end;
begin
    -- Whom anything else is about never changes.
    if exists (select from automatch.cases as c where c.id = v_case) then
        perform automatch.lock_case(v_case, p_erases);
    end if;
    return query
    select s.profile_id, o.role, s.is_subject
    from automatch.find_act_people(p_about, p_id) as s
    left join automatch.operators as o on o.profile_id = s.profile_id
    order by s.is_subject desc, s.profile_id;
end
$$;
comment on function public.open_act(text, uuid, boolean) is
    'Whom an act is about (is_subject) and who else is a side of it, with their roles as operators: until the end of the '
    'transaction it is about nobody else. p_erases: the account is locked too, as whatever erases it does.';

create function public.count_waiting(p_operator_id uuid default null)
returns table (
    open_cases bigint, unproven_cases bigint, held_photos bigint, membership_requests bigint, mails bigint,
    failed_mails bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.open, c.unproven,
        (
            select count(*) from automatch.held_faces as h
            where h.reason in ('another_person', 'another_account', 'challenge')
        ),
        (select count(*) from automatch.membership_requests as r where r.refused_at is null),
        m.waiting, m.failed
    from (
        select count(*) filter (where o.state = 'open') as open, count(*) filter (where o.state = 'unproven') as unproven
        from automatch.cases as o
        where o.state in ('open', 'unproven')
          and (p_operator_id = any (array[o.profile_id, o.reporter_id])) is not true
    ) as c
    cross join (
        select count(*) as waiting, count(*) filter (where l.failed) as failed
        from public.list_mails(1000, p_operator_id) as l
    ) as m
$$;
comment on function public.count_waiting(uuid) is
    'What waits for operators, without cases in which this one is a side, and their mail; of mails at most 1000.';
