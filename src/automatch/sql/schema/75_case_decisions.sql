-- What operators see of cases and do about them. Who may is checked, and recorded, by automatch.services.operators.acts.

create function public.list_cases(
    p_state text default null, p_limit integer default 50, p_operator_id uuid default null
)
returns table (
    id uuid, kind text, reason text, state text, opened_at timestamptz, hides boolean, decision text,
    decided_at timestamptz, decided_by text, appealed_at timestamptz, profile_id uuid, face_id uuid, others integer
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.kind, c.reason, c.state, c.opened_at, now.hides, c.decision, c.decided_at, c.decided_by,
        c.appealed_at, c.profile_id, c.face_id,
        (select count(*)::integer from automatch.cases as o where o.profile_id = c.profile_id and o.id <> c.id)
    from automatch.cases as c
    cross join lateral (
        select exists (select from automatch.held_faces as h where h.face_id = c.face_id)
            or exists (select from automatch.frozen_profiles as f where f.profile_id = c.profile_id) as hides
    ) as now
    where (c.state = p_state or p_state is null and c.state in ('open', 'waiting'))
      and (p_operator_id = any (array[c.profile_id, c.reporter_id])) is not true
    -- What is hidden already can wait a little longer than what is still shown.
    order by c.state <> 'open', now.hides or c.reason <> 'under_18', now.hides, c.opened_at, c.id
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_cases(text, integer, uuid) is
    'Cases of one state, or those that are not decided, in the order in which to look at them; without those in which '
    'the operator is a side.';

create function automatch.lock_case(p_case_id uuid, p_erases boolean default false)
returns automatch.cases language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
begin
    -- From here on a case may lose its person, who is erased, but not get another one.
    perform automatch.lock_reports('{}');
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such case.');
    end if;
    if p_erases and to_regclass('auth.users') is not null then
        -- Before the profile, as erase_person() does.
        perform from auth.users as u where u.id = v_case.profile_id for update;
    end if;
    -- Not the row: whoever erases somebody locks profiles and feeds first, and cases last.
    perform automatch.lock_reports(array[v_case.profile_id]);
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    return v_case;
end
$$;
comment on function automatch.lock_case(uuid, boolean) is
    'The case, which is about this person until the end of the transaction; p_erases: who may be erased in it.';

create function public.read_case(p_case_id uuid)
returns table (
    id uuid, kind text, reason text, state text, opened_at timestamptz, hides boolean, decision text,
    decided_at timestamptz, decided_by text, appealed_at timestamptz, profile_id uuid, face_id uuid, reporter_id uuid,
    name text, school text, gender text, birth_date date, frozen boolean, face_ids uuid[], hidden_face_ids uuid[],
    banned boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.kind, c.reason, c.state, c.opened_at, c.hides, c.decision, c.decided_at, c.decided_by,
        c.appealed_at, c.profile_id, c.face_id, c.reporter_id, p.name, p.school, p.gender, p.birth_date,
        exists (select from automatch.frozen_profiles as z where z.profile_id = c.profile_id),
        array(select f.id from public.faces as f where f.profile_id = c.profile_id order by f.created_at, f.id),
        array(
            select h.face_id from automatch.held_faces as h join public.faces as f on f.id = h.face_id
            where f.profile_id = c.profile_id order by f.created_at, f.id
        ),
        exists (select from automatch.bans as b where b.case_id = c.id)
    from automatch.cases as c
    left join public.profiles as p on p.id = c.profile_id
    where c.id = p_case_id
$$;
comment on function public.read_case(uuid) is 'A case with the person it is about; or no row.';

create function public.list_case_messages(p_case_id uuid)
returns table (author text, audience text, actor text, body text, written_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.author, m.audience, m.actor, m.body, m.written_at
    from automatch.case_messages as m where m.case_id = p_case_id order by m.id
$$;

create function public.list_case_viewers(p_case_id uuid)
returns table (profile_id uuid, shown_at timestamptz, is_shown boolean, seen_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- What is in a feed is in the other one too, so an index finds whom this person was shown to.
    select e.profile_id, e.created_at, e.match_id is not null and automatch.may_see(e.profile_id, e.other_profile_id),
        (
            select max(v.first_at)
            from automatch.photo_views as v join public.faces as f on f.id = v.face_id
            where v.viewer_id = e.profile_id and f.profile_id = c.profile_id
        )
    from automatch.cases as c
    join automatch.feed_entries as own on own.profile_id = c.profile_id
    join automatch.feed_entries as e on e.profile_id = own.other_profile_id and e.other_profile_id = c.profile_id
    where c.id = p_case_id
    order by e.created_at desc, e.profile_id
    limit 200
$$;
comment on function public.list_case_viewers(uuid) is
    'To whom the person of a case was shown, since when their card is as it is, whether it is there, and when its photo '
    'was looked at last.';

create function public.list_case_acts(p_case_id uuid)
returns table (recorded_at timestamptz, actor text, action text, reason text, details jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.recorded_at, a.actor, a.action, a.reason, a.details
    from automatch.audit_log as a
    where a.object_id = p_case_id
    order by a.id
$$;
comment on function public.list_case_acts(uuid) is 'Who looked at a case and did what, oldest first.';

create function automatch.choose_case_photo(p_case automatch.cases, p_face_id uuid)
returns uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[] := array(select f.id from public.faces as f where f.profile_id = p_case.profile_id limit 2);
    v_face uuid := coalesce(p_face_id, p_case.face_id);
begin
    if v_face is null and cardinality(v_faces) > 1 then
        perform automatch.raise_error('input_invalid', 'This person has several photos: choose which one.');
    end if;
    v_face := coalesce(v_face, v_faces[1]);
    if not exists (select from public.faces as f where f.id = v_face and f.profile_id = p_case.profile_id) then
        perform automatch.raise_error('not_found', 'The case has no such photo (any more).');
    end if;
    return v_face;
end
$$;
comment on function automatch.choose_case_photo(automatch.cases, uuid) is
    'The photo that is named, or else the reported one, or else the only one of the person.';

create function public.open_case_photo(p_case_id uuid, p_face_id uuid default null)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_face public.faces;
begin
    select c.* into v_case from automatch.cases as c where c.id = p_case_id;
    select f.* into v_face from public.faces as f where f.id = automatch.choose_case_photo(v_case, p_face_id);
    perform public.record_photo_views(array[null]::uuid[], array[v_face.id], '{true}', array[automatch.now()]);
    return v_face.image_path;
end
$$;
comment on function public.open_case_photo(uuid, uuid) is
    'Where a photo of the person of a case lies, for an operator; its person is told that one looked.';

create function public.point_case(p_case_id uuid, p_subject_id uuid, p_again boolean default true)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
    v_person uuid;
    v_face uuid;
begin
    -- What it hid by itself would stay hidden, with no case to show it again.
    if v_case.hides then
        perform automatch.raise_error('input_invalid', 'This case hides something: decide it first.');
    end if;
    select p.id, f.id into v_person, v_face
    from public.profiles as p
    left join public.faces as f on f.profile_id = p.id and f.id = p_subject_id
    where p.id = coalesce((select o.profile_id from public.faces as o where o.id = p_subject_id), p_subject_id);
    if not found then
        perform automatch.raise_error('not_found', 'Nobody has this id, and no photo.');
    end if;
    -- Or any case would open anybody's photos.
    if not p_again and (v_case.profile_id <> v_person or v_case.profile_id is null and v_case.kind <> 'take_down') then
        perform automatch.raise_error(
            'input_invalid', 'This case is about somebody already. Say why it is to be about somebody else.'
        );
    end if;
    update automatch.cases as c set profile_id = v_person, face_id = v_face where c.id = p_case_id;
    return v_person;
end
$$;
comment on function public.point_case(uuid, uuid, boolean) is
    'Say which photo or person a case is about, by its id; the person. Unless p_again, only of a take-down request that '
    'is about nobody yet, or of another photo of the same person.';

create function automatch.undo_report(p_case automatch.cases)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_case.hides and p_case.reason = 'under_18' then
        perform public.unfreeze_person(f.profile_id) from automatch.frozen_profiles as f
        where f.profile_id = p_case.profile_id and f.reason = 'reported';
    end if;
    if p_case.hides or automatch.hides_photos(p_case) then
        perform automatch.release_face(r.face_id)
        from (
            select h.face_id
            from automatch.held_faces as h join public.faces as f on f.id = h.face_id
            where f.profile_id = p_case.profile_id and h.reason = 'reported' and (
                p_case.hides and h.face_id = p_case.face_id and f.created_at <= p_case.opened_at
                -- What was sent since waits for every such case.
                or automatch.find_hiding_case(p_case.profile_id, p_case.id) is null
            )
            order by h.face_id
        ) as r;
    end if;
end
$$;
comment on function automatch.undo_report(automatch.cases) is 'Show again what the report alone has hidden.';

create function automatch.carry_out(p_case automatch.cases, p_act text, p_face_id uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_act in ('freeze', 'unfreeze', 'erase_person') and p_case.profile_id is null then
        perform automatch.raise_error('not_found', 'The case is about nobody who has an account.');
    end if;
    case p_act
        when 'hide' then
            perform automatch.hold_face(p_face_id, 'hidden');
            return 'hidden';
        when 'unhide' then
            perform automatch.release_face(p_face_id);
            return 'restored';
        when 'freeze' then
            perform public.freeze_person(p_case.profile_id, 'moderation');
            return 'frozen';
        when 'unfreeze' then
            perform public.unfreeze_person(p_case.profile_id);
            return 'restored';
        when 'erase_photo' then
            perform automatch.lock_for_erasing(p_case.profile_id);
            delete from public.faces where id = p_face_id;
            return 'photo_erased';
        when 'erase_person' then
            -- By decide_case(), which says what went.
            return 'person_erased';
        when 'dismiss' then
            perform automatch.undo_report(p_case);
            return 'dismissed';
        when 'close' then
            return 'closed';
        else
            perform automatch.raise_error('input_invalid', 'There is no such decision.');
            return null;
    end case;
end
$$;
comment on function automatch.carry_out(automatch.cases, text, uuid) is 'Do what was decided; return the decision.';

create function public.decide_case(
    p_actor text, p_case_id uuid, p_act text, p_face_id uuid default null, p_alone boolean default false,
    out decision text, out erased jsonb
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases;
    v_face uuid;
begin
    v_case := automatch.lock_case(p_case_id, p_act = 'erase_person');
    if v_case.appealed_at is not null and v_case.state <> 'decided' and v_case.decided_by = p_actor and not p_alone then
        perform automatch.raise_error(
            'input_invalid',
            'You decided this before the appeal: somebody else should look at it now. If there is nobody else, say so.'
        );
    end if;
    if p_act in ('hide', 'unhide', 'erase_photo') then
        v_face := automatch.choose_case_photo(v_case, p_face_id);
    end if;
    decision := automatch.carry_out(v_case, p_act, v_face);
    if p_act = 'erase_person' then
        erased := public.erase_person(v_case.profile_id, 'operator');
    end if;
    -- An erased photo is not named any more.
    update automatch.cases as c set face_id = v_face
    where c.id = p_case_id and exists (select from public.faces as f where f.id = v_face);
    perform automatch.close_case(p_case_id, decision, p_actor);
end
$$;
comment on function public.decide_case(text, uuid, text, uuid, boolean) is
    'Decide a case: hide, unhide, erase_photo, freeze, unfreeze, erase_person, dismiss or close. After an appeal it is '
    'for somebody else than before, unless p_alone says that there is nobody else. erased: what went with a person, for '
    'the receipt.';

create function public.answer_case(p_actor text, p_case_id uuid, p_audience text, p_body text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
begin
    perform automatch.write_case_message(p_case_id, 'operator', p_audience, p_body, p_actor);
    if p_audience <> 'operators' and v_case.state = 'open' then
        update automatch.cases as c set state = 'waiting' where c.id = p_case_id;
    end if;
end
$$;
comment on function public.answer_case(text, uuid, text, text) is
    'Write to one side of a case (reporter, reported), which then waits for it, or a note to all operators.';

create function public.find_case_recipient(p_case_id uuid, p_side text)
returns table (profile_id uuid, email text, address text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.id, p.email, k.address
    from automatch.cases as c
    left join public.profiles as p
        on p.id = case p_side when 'reporter' then c.reporter_id when 'reported' then c.profile_id end
    left join automatch.case_contacts as k on k.case_id = c.id and p_side = 'reporter'
    where c.id = p_case_id and (p.id is not null or k.address is not null)
$$;
comment on function public.find_case_recipient(uuid, text) is
    'How one side of a case is reached by mail: by the address of the account, or by one that is encrypted.';

-- An address that may have no account. There is nothing here from which the address or a face could be computed.
create table automatch.bans (
    address_hash bytea primary key,
    case_id uuid not null,
    banned_at timestamptz not null default automatch.now(),
    ends_at timestamptz
);
comment on table automatch.bans is 'Keyed hashes of addresses; kept when their people are erased, until lifted.';
comment on column automatch.bans.ends_at is 'Of somebody who erased themselves while they were frozen or a report was open.';
create index bans_case_idx on automatch.bans (case_id);
create index bans_ends_idx on automatch.bans (ends_at);

create function public.ban_address(p_actor text, p_case_id uuid, p_address_hash bytea)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_case automatch.cases := automatch.lock_case(p_case_id);
begin
    insert into automatch.bans (address_hash, case_id) values (p_address_hash, p_case_id)
    on conflict (address_hash) do update set ends_at = null;
    perform public.freeze_person(v_case.profile_id, 'moderation');
    perform automatch.close_case(p_case_id, 'frozen', p_actor);
end
$$;
comment on function public.ban_address(text, uuid, bytea) is
    'Freeze the person of a case and refuse their address from now on, also after they are erased.';

create function public.lift_ban(p_case_id uuid)
returns boolean language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with lifted as (
        delete from automatch.bans as b where b.case_id = p_case_id
        returning b.case_id
    )
    select exists (select from lifted)
$$;
comment on function public.lift_ban(uuid) is 'Lift the bans of a case. Whether there was one.';

create function public.find_ban(p_address_hash bytea)
returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select b.case_id from automatch.bans as b
    where b.address_hash = p_address_hash and (b.ends_at is null or b.ends_at > automatch.now())
$$;
comment on function public.find_ban(bytea) is 'The case in which an address was banned, if it is.';
