-- Reports and take-down requests: who may make one, what it hides by itself, and what both sides read and write.
--
-- A case outlives whom it is about. It has no name, address or photo, and ids only while they lead to somebody.

create table automatch.cases (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    reason text not null,
    state text not null default 'open',
    -- No foreign keys: erased people leave the cases, as nobody's.
    profile_id uuid,
    face_id uuid,
    reporter_id uuid,
    opened_at timestamptz not null default automatch.now(),
    hides boolean not null default false,
    decision text,
    decided_at timestamptz,
    decided_by text,
    appealed_at timestamptz,
    unproven_until timestamptz,
    constraint kind_is_known check (kind in ('report', 'take_down')),
    constraint reason_is_known check (reason in ('not_their_photo', 'harassment', 'under_18', 'fake', 'other')),
    constraint state_is_known check (state in ('unproven', 'open', 'waiting', 'decided')),
    constraint decision_is_known check (
        decision in ('hidden', 'frozen', 'photo_erased', 'person_erased', 'restored', 'dismissed', 'closed', 'gone',
            'withdrawn')
    ),
    constraint decided_has_a_decision check ((state = 'decided') = (decided_at is not null)),
    constraint unproven_ends check ((state = 'unproven') = (unproven_until is not null))
);
comment on table automatch.cases is 'Reports of people, and take-down requests of people without an account.';
comment on column automatch.cases.state is
    'unproven: the link in the mail was not used yet; open: an operator looks; waiting: for an answer of one side.';
comment on column automatch.cases.hides is
    'Whether the report alone hid the photo, or for `under_18` froze the person, until it is decided.';
comment on column automatch.cases.decision is
    '`gone`: the person erased their account before. `withdrawn`: the reporter took it back at once.';
create index cases_state_idx on automatch.cases (state, opened_at);
create index cases_profile_idx on automatch.cases (profile_id) where profile_id is not null;
create index cases_face_idx on automatch.cases (face_id) where face_id is not null;
create index cases_reporter_idx on automatch.cases (reporter_id) where reporter_id is not null;
create index cases_hides_idx on automatch.cases (opened_at) where hides;
create index cases_decided_idx on automatch.cases (decided_at);
create index cases_unproven_idx on automatch.cases (unproven_until);

create table automatch.case_contacts (
    case_id uuid primary key references automatch.cases (id) on delete cascade,
    address text not null,
    address_hash bytea not null,
    token_sha256 bytea,
    token_expires_at timestamptz,
    closed_at timestamptz,
    constraint token_is_single unique (token_sha256)
);
comment on table automatch.case_contacts is
    'Where somebody without an account gets an answer: the address encrypted, and a keyed hash to count requests by.';
comment on column automatch.case_contacts.closed_at is 'Since when nobody needs it: the decision, if there is no appeal.';
create index case_contacts_hash_idx on automatch.case_contacts (address_hash);
create index case_contacts_closed_idx on automatch.case_contacts (closed_at);

create table automatch.case_messages (
    id bigint generated always as identity primary key,
    case_id uuid not null references automatch.cases (id) on delete cascade,
    written_at timestamptz not null default automatch.now(),
    author text not null,
    audience text not null,
    actor text,
    body text not null,
    closed_at timestamptz,
    constraint author_is_known check (author in ('reporter', 'reported', 'operator')),
    constraint audience_is_known check (audience in ('reporter', 'reported', 'operators')),
    constraint body_is_a_text check (length(body) between 1 and 2000)
);
comment on table automatch.case_messages is
    'Insert-only, and deleted some time after the decision: what people wrote may name people.';
create index case_messages_case_idx on automatch.case_messages (case_id, id);
create index case_messages_closed_idx on automatch.case_messages (closed_at);

create function automatch.write_case_message(
    p_case_id uuid, p_author text, p_audience text, p_body text, p_actor text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.case_messages (case_id, author, audience, body, actor)
    select p_case_id, p_author, p_audience, left(btrim(p_body), 2000), p_actor
    where btrim(coalesce(p_body, '')) <> ''
$$;

create function automatch.hide_by_report(
    p_reason text, p_profile_id uuid, p_face_id uuid, p_reporter_id uuid, p_address_hash bytea
)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_day constant timestamptz := automatch.now() - interval '1 day';
    v_most constant integer := case when p_reporter_id is null then 5 else 20 end;
begin
    -- A photo hidden for nothing comes back; nobody without an account takes a person out of everything.
    if p_reason = 'under_18' and p_reporter_id is null then
        return false;
    end if;
    if p_profile_id is null or p_reason not in ('not_their_photo', 'under_18') then
        return false;
    end if;
    if p_reason = 'not_their_photo' and p_face_id is null then
        return false;
    end if;
    -- An operator has looked and found nothing; or this reporter's last one was for nothing.
    if exists (
        select from automatch.cases as c
        left join automatch.case_contacts as k on k.case_id = c.id
        where c.decision in ('dismissed', 'restored') and c.reason = p_reason and (
            c.face_id = p_face_id
            or p_reason = 'under_18' and c.profile_id = p_profile_id
            or c.hides and (c.reporter_id = p_reporter_id or k.address_hash = p_address_hash)
        )
    ) then
        return false;
    end if;
    -- One a day of one person or address; twenty of all people, and five of all requests without an account.
    if (
        select count(*) filter (where (c.kind = 'take_down') = (p_reporter_id is null)) >= v_most or count(*) filter (
            where c.reporter_id = p_reporter_id or k.address_hash = p_address_hash
        ) >= 1
        from automatch.cases as c
        left join automatch.case_contacts as k on k.case_id = c.id
        where (c.hides or c.decision = 'withdrawn') and c.opened_at > v_day
    ) then
        return false;
    end if;
    if p_reason = 'under_18' then
        if exists (select from automatch.frozen_profiles as f where f.profile_id = p_profile_id) then
            return false;
        end if;
        perform public.freeze_person(p_profile_id, 'reported');
    else
        if exists (select from automatch.held_faces as h where h.face_id = p_face_id) then
            return false;
        end if;
        perform automatch.hold_face(p_face_id, 'reported');
    end if;
    return true;
end
$$;
comment on function automatch.hide_by_report(text, uuid, uuid, uuid, bytea) is
    'Hide a photo that is said to be stolen, or freeze somebody who is said to be a minor, until it is decided; unless '
    'that was found wrong before, or there were too many. Whether it did. The caller has locked the person and reports.';

create function automatch.hides_photos(p_case automatch.cases)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p_case.state <> 'unproven'
        and coalesce(p_case.decided_at, automatch.now()) > automatch.now() - interval '1 year'
        and case
            when p_case.decision in ('hidden', 'photo_erased') then true
            when p_case.decision is null or p_case.decision in ('closed', 'frozen')
                then p_case.hides and p_case.reason = 'not_their_photo'
            else false
        end
$$;
comment on function automatch.hides_photos(automatch.cases) is
    'Whether a case hides a photo or has hidden one within a year: then it is asked about each new photo of its person.';

create function automatch.find_hiding_case(p_profile_id uuid, p_except uuid default null)
returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id from automatch.cases as c
    where c.profile_id = p_profile_id and c.id is distinct from p_except and automatch.hides_photos(c)
    order by c.state = 'decided', c.opened_at desc, c.id
    limit 1
$$;
comment on function automatch.find_hiding_case(uuid, uuid) is
    'The case because of which new photos of a person wait, if there is one but p_except.';

create function automatch.add_photos_to_cases(p_face_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_new record;
begin
    for v_new in
        select c.id, c.face_id
        from (
            select distinct on (f.profile_id) automatch.find_hiding_case(f.profile_id) as id, f.id as face_id
            from public.faces as f where f.id = any (p_face_ids)
            order by f.profile_id, f.created_at desc, f.id
        ) as c
        where c.id is not null
        order by c.id
    loop
        update automatch.cases as c
        set state = 'open', decided_at = null, face_id = coalesce(c.face_id, v_new.face_id)
        where c.id = v_new.id;
        update automatch.case_messages as m set closed_at = null where m.case_id = v_new.id;
        update automatch.case_contacts as k set closed_at = null where k.case_id = v_new.id;
        perform automatch.write_case_message(
            v_new.id, 'operator', 'operators', 'The person has sent another photo, which is hidden until you decide.',
            'automatch'
        );
    end loop;
end
$$;
comment on function automatch.add_photos_to_cases(uuid[]) is
    'Put new photos, which are held, before those who decide the cases of their people, again where that was decided. '
    'The people are locked.';

create function automatch.lock_reports(p_profile_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- One report after the other, so that each counts those before it.
    perform pg_advisory_xact_lock(automatch.lock_key('reports'));
    perform from public.profiles as p where p.id = any (p_profile_ids) order by p.id for no key update;
end
$$;

create function public.find_shown_person(p_profile_id uuid)
returns table (profile_id uuid, name text, face_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Also somebody whose card is gone: hiding is no way to escape a report. Their name and photo are not shown again.
    select p.id,
        case when m.id is not null then p.name end,
        case when m.profile_a_id = p.id then m.face_a_id else m.face_b_id end
    from automatch.feed_entries as e
    join public.profiles as p on p.id = e.other_profile_id
    left join public.matches as m on m.id = e.match_id and automatch.may_see(e.profile_id, e.other_profile_id)
    where e.profile_id = (select automatch.uid()) and e.other_profile_id = p_profile_id
$$;
comment on function public.find_shown_person(uuid) is
    'Somebody who is or was in the caller''s feed, with what its card shows; or no row.';

create function public.report_profile(
    p_profile_id uuid, p_reason text, p_statement text default null, p_face_id uuid default null
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_shown record;
    v_has_card boolean;
    v_shared text;
    v_viewers uuid[];
    v_case uuid;
begin
    perform automatch.lock_reports(array[v_me, p_profile_id]);
    select s.* into v_shown from public.find_shown_person(p_profile_id) as s;
    -- What the reporter was not shown is answered as what does not exist.
    if not found or p_face_id is not null and not exists (
        select from public.matches as m
        where v_me in (m.profile_a_id, m.profile_b_id) and p_face_id in (m.face_a_id, m.face_b_id)
          and p_profile_id in (m.profile_a_id, m.profile_b_id)
          and exists (select from public.faces as f where f.id = p_face_id and f.profile_id = p_profile_id)
    ) then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    v_has_card := exists (
        select from automatch.feed_entries as e
        where e.profile_id = v_me and e.other_profile_id = p_profile_id and e.match_id is not null
    );
    -- As the card says it now, before it goes: it may be what the report is about.
    select 'They shared with the reporter: ' || concat_ws(' / ', l.sentence, l.handle) into v_shared
    from automatch.shown_likes as l
    where l.profile_id = v_me and l.other_profile_id = p_profile_id and v_shown.face_id is not null
      and coalesce(l.sentence, l.handle) is not null;
    select c.id into v_case from automatch.cases as c
    where c.reporter_id = v_me and c.profile_id = p_profile_id and c.reason = p_reason and c.state <> 'decided';
    if v_case is null then
        v_case := gen_random_uuid();
        insert into automatch.cases (id, kind, reason, profile_id, face_id, reporter_id, hides)
        values (
            v_case, 'report', p_reason, p_profile_id, coalesce(p_face_id, v_shown.face_id), v_me,
            automatch.hide_by_report(
                p_reason, p_profile_id, coalesce(p_face_id, v_shown.face_id), v_me, null
            )
        );
    end if;
    perform automatch.write_case_message(v_case, 'reporter', 'operators', p_statement);
    perform automatch.write_case_message(v_case, 'operator', 'operators', v_shared, 'automatch');
    -- Hiding has locked the feeds of all cards of the person; to lock another one now would be out of order.
    if v_has_card then
        v_viewers := automatch.list_viewers(v_me, p_profile_id);
    end if;
    insert into public.profile_blocks (profile_id, blocked_profile_id)
    values (v_me, p_profile_id) on conflict do nothing;
    if v_has_card then
        perform automatch.refresh_feeds(v_me, p_profile_id, v_viewers);
    end if;
    return v_case;
end
$$;
comment on function public.report_profile(uuid, text, text, uuid) is
    'Report somebody who is or was in the caller''s feed, and block them. The same again adds to the open case.';

create function public.withdraw_report(p_case_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_me constant uuid := automatch.uid();
    v_other constant uuid := (select c.profile_id from automatch.cases as c where c.id = p_case_id and c.reporter_id = v_me);
    v_case automatch.cases;
    v_viewers uuid[];
begin
    perform automatch.lock_reports(array[v_me, v_other]);
    select c.* into v_case from automatch.cases as c
    where c.id = p_case_id and c.reporter_id = v_me and c.state = 'open' and c.profile_id is not null
      and c.opened_at > automatch.now() - interval '1 minute'
      and not exists (
          select from automatch.case_messages as m
          where m.case_id = c.id and m.author = 'operator' and m.actor is distinct from 'automatch'
      );
    if not found then
        perform automatch.raise_error('not_found', 'This report cannot be taken back any more. You can add to it.');
    end if;
    -- All at once: what was hidden comes back into feeds too.
    perform automatch.lock_related_feeds(array[v_me, v_other]);
    v_viewers := automatch.list_viewers(v_me, v_other);
    perform automatch.undo_report(v_case);
    perform automatch.close_case(p_case_id, 'withdrawn', null);
    delete from public.profile_blocks as b
    where b.profile_id = v_me and b.blocked_profile_id = v_other and b.created_at >= v_case.opened_at;
    if found then
        perform automatch.unhide_profile(v_other, v_case.opened_at, v_viewers);
    end if;
end
$$;
comment on function public.withdraw_report(uuid) is
    'Take back a report of the last minute that nobody has looked at, with the block that came with it. It still counts as '
    'the reporter''s one a day that hides something.';

create function public.request_take_down(
    p_subject_id uuid, p_reason text, p_statement text, p_address text, p_address_hash bytea
)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid;
    v_face public.faces;
begin
    select f.* into v_face from public.faces as f where f.id = p_subject_id;
    insert into automatch.cases (kind, reason, state, unproven_until, profile_id, face_id)
    values (
        'take_down', p_reason, 'unproven', automatch.now() + interval '2 days',
        coalesce(v_face.profile_id, (select p.id from public.profiles as p where p.id = p_subject_id)), v_face.id
    )
    returning id into v_case;
    insert into automatch.case_contacts (case_id, address, address_hash) values (v_case, p_address, p_address_hash);
    perform automatch.write_case_message(v_case, 'reporter', 'operators', p_statement);
    return v_case;
end
$$;
comment on function public.request_take_down(uuid, text, text, text, bytea) is
    'Keep a request of somebody without an account until the link in the mail proves the address. p_subject_id is the '
    'id of a photo or a person, or of neither.';

create function public.create_case_token(p_case_id uuid, p_token_sha256 bytea, p_life interval)
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with stored as (
        update automatch.case_contacts as k
        set token_sha256 = p_token_sha256, token_expires_at = automatch.now() + p_life
        where k.case_id = p_case_id
        returning k.case_id
    )
    select exists (select from stored)
$$;
comment on function public.create_case_token(uuid, bytea, interval) is
    'Keep the hash of a token for whoever asked without an account; false once their address is forgotten.';

create function public.find_case_token(p_token_sha256 bytea)
returns table (id uuid, reason text, state text, decision text, opened_at timestamptz, may_write boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.reason, c.state, c.decision, c.opened_at, c.state <> 'decided' or c.appealed_at is null
    from automatch.case_contacts as k
    join automatch.cases as c on c.id = k.case_id
    where k.token_sha256 = p_token_sha256 and k.token_expires_at > automatch.now()
$$;
comment on function public.find_case_token(bytea) is 'The case that a mailed link is for, or no row.';

create function public.prove_take_down(p_token_sha256 bytea)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_hash bytea;
begin
    select c.* into v_case
    from public.find_case_token(p_token_sha256) as t join automatch.cases as c on c.id = t.id
    where c.state = 'unproven';
    if not found then
        return false;
    end if;
    perform automatch.lock_reports(array[v_case.profile_id]);
    -- The first of several uses at once; the link goes on to show the case.
    update automatch.cases as c set state = 'open', unproven_until = null, opened_at = automatch.now()
    where c.id = v_case.id and c.state = 'unproven';
    if not found then
        return false;
    end if;
    select k.address_hash into v_hash from automatch.case_contacts as k where k.case_id = v_case.id;
    if automatch.hide_by_report(v_case.reason, v_case.profile_id, v_case.face_id, null, v_hash) then
        update automatch.cases as c set hides = true where c.id = v_case.id;
    end if;
    return true;
end
$$;
comment on function public.prove_take_down(bytea) is
    'Open the case of a take-down request by its mailed link; false when it was opened before, or the link is too old.';

create function automatch.add_to_case(p_case_id uuid, p_author text, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
begin
    select c.* into v_case from automatch.cases as c where c.id = p_case_id for update;
    if v_case.state = 'unproven' or v_case.state = 'decided' and v_case.appealed_at is not null or 10 <= (
        select count(*) from automatch.case_messages as m where m.case_id = p_case_id and m.author = p_author
    ) then
        perform automatch.raise_error('input_invalid', 'Nothing more can be added here.');
    end if;
    if btrim(coalesce(p_body, '')) = '' then
        perform automatch.raise_error('input_invalid', 'Write a sentence.');
    end if;
    perform automatch.write_case_message(p_case_id, p_author, 'operators', p_body);
    if v_case.state = 'decided' then
        update automatch.cases as c
        set state = 'open', decided_at = null, appealed_at = automatch.now()
        where c.id = p_case_id;
        update automatch.case_messages as m set closed_at = null where m.case_id = p_case_id;
        update automatch.case_contacts as k set closed_at = null where k.case_id = p_case_id;
    elsif v_case.state = 'waiting' then
        update automatch.cases as c set state = 'open' where c.id = p_case_id;
    end if;
end
$$;
comment on function automatch.add_to_case(uuid, text, text) is
    'Add what one side writes. After a decision it is the appeal, of which there is one: the case is open again.';

create function public.write_to_case(p_case_id uuid, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_side text := (select o.side from public.list_own_cases() as o where o.id = p_case_id);
begin
    if v_side is null then
        perform automatch.raise_error('not_found', 'There is nothing here, or it is not yours to see.');
    end if;
    perform automatch.add_to_case(p_case_id, v_side, p_body);
end
$$;
comment on function public.write_to_case(uuid, text) is 'Answer or appeal, in one of the cases of list_own_cases().';

create function public.write_to_case_by_token(p_token_sha256 bytea, p_body text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case uuid := (select t.id from public.find_case_token(p_token_sha256) as t);
begin
    if v_case is null then
        return false;
    end if;
    perform automatch.add_to_case(v_case, 'reporter', p_body);
    return true;
end
$$;

create function automatch.cases_of(p_profile_id uuid)
returns table (
    id uuid, side text, reason text, state text, decision text, effect text, face_id uuid, opened_at timestamptz,
    may_write boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select o.id, o.side, o.reason, o.state, o.decision, o.effect, o.face_id, o.opened_at,
        o.state <> 'decided' or o.appealed_at is null
    from (
        select c.*, 'reporter' as side, null as effect
        from automatch.cases as c where c.reporter_id = p_profile_id
        union all
        -- Whoever is reported learns of what was done or asked, and of nothing else.
        select c.*, 'reported', case
            when exists (select from automatch.held_faces as h where h.face_id = c.face_id) then 'hidden'
            when exists (select from automatch.frozen_profiles as f where f.profile_id = c.profile_id) then 'frozen'
        end
        from automatch.cases as c
        where c.profile_id = p_profile_id and (
            c.hides or c.decision in ('hidden', 'frozen', 'photo_erased', 'restored')
            or exists (
                select from automatch.case_messages as m where m.case_id = c.id and m.audience = 'reported'
            )
        )
    ) as o
    where o.decision is distinct from 'withdrawn'
    order by o.opened_at desc, o.id
    limit 50
$$;
comment on function automatch.cases_of(uuid) is
    'A person''s reports, and cases about them in which something was done; never who reported.';

create function public.list_own_cases()
returns table (
    id uuid, side text, reason text, state text, decision text, effect text, face_id uuid, opened_at timestamptz,
    may_write boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select o.* from automatch.cases_of((select automatch.uid())) as o $$;

create function public.read_own_cases(p_claims jsonb[])
returns table (
    reader integer, id uuid, side text, reason text, state text, decision text, effect text, face_id uuid,
    opened_at timestamptz, may_write boolean
)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    for v_reader in 1..coalesce(cardinality(p_claims), 0) loop
        if public.take_role_of(p_claims[v_reader]) then
            return query select v_reader, o.* from public.list_own_cases() as o;
        end if;
        perform set_config('role', 'none', true);
    end loop;
end
$$;
comment on function public.read_own_cases(jsonb[]) is
    'list_own_cases() as each of many people, under row level security as that person; nothing of ended sessions.';

create function automatch.messages_of(p_case_ids uuid[], p_side text)
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.case_id, m.author, m.body, m.written_at
    from automatch.case_messages as m
    where m.case_id = any (p_case_ids) and p_side in (m.author, m.audience)
    order by m.id
$$;

create function public.list_own_case_messages()
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.*
    from unnest('{reporter,reported}'::text[]) as side (name)
    cross join lateral automatch.messages_of(array(
        select o.id from public.list_own_cases() as o where o.side = side.name
    ), side.name) as m
$$;
comment on function public.list_own_case_messages() is 'What the caller wrote and was answered, oldest first.';

create function public.list_case_messages_by_token(p_token_sha256 bytea)
returns table (case_id uuid, author text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.* from automatch.messages_of(array(
        select t.id from public.find_case_token(p_token_sha256) as t
    ), 'reporter') as m
$$;

create function automatch.close_case(p_case_id uuid, p_decision text, p_actor text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_now constant timestamptz := automatch.now();
begin
    update automatch.cases as c
    set state = 'decided', unproven_until = null, decision = p_decision, decided_at = coalesce(c.decided_at, v_now),
        decided_by = coalesce(p_actor, c.decided_by)
    where c.id = p_case_id;
    update automatch.case_messages as m set closed_at = v_now where m.case_id = p_case_id and m.closed_at is null;
    update automatch.case_contacts as k set closed_at = v_now where k.case_id = p_case_id and k.closed_at is null;
end
$$;

create function automatch.person_left_cases()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.case_messages as m using automatch.cases as c
    where c.id = m.case_id and (
        c.profile_id = old.id or c.reporter_id = old.id and 'reporter' in (m.author, m.audience)
    );
    update automatch.cases as c set reporter_id = null where c.reporter_id = old.id;
    perform automatch.close_case(c.id, coalesce(c.decision, 'gone'), null)
    from automatch.cases as c where c.profile_id = old.id;
    update automatch.cases as c set profile_id = null, face_id = null where c.profile_id = old.id;
    return null;
end
$$;

create trigger profiles_left_cases after delete on public.profiles
for each row execute function automatch.person_left_cases();

create function automatch.face_left_cases()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.cases as c set face_id = null where c.face_id = old.id;
    return null;
end
$$;

create trigger faces_left_cases after delete on public.faces
for each row execute function automatch.face_left_cases();
