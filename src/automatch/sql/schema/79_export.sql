-- What is kept about one person, for their export: other people are pseudonyms that mean nothing outside of it.

create function automatch.pseudonym(p_salt text, p_profile_id uuid)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select 'person-' || left(encode(sha256(convert_to(p_salt || p_profile_id, 'UTF8')), 'hex'), 12)
$$;
comment on function automatch.pseudonym(text, uuid) is 'The same for a person within one export, whose salt is random.';

create function automatch.export_account(p_profile_id uuid)
returns table (part text, item jsonb) language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select 'profile', jsonb_build_object(
        'id', p.id, 'email', p.email, 'name', p.name, 'school', p.school, 'gender', p.gender,
        'birth_date', p.birth_date, 'profile_type', p.profile_type, 'discoverable', p.discoverable, 'language', p.language,
        'created_at', p.created_at, 'updated_at', p.updated_at, 'imported_at', i.imported_at
    )
    from public.profiles as p
    left join automatch.imported_people as i on i.profile_id = p.id
    where p.id = p_profile_id;
    return query
    select 'consents', jsonb_build_object(
        'action', c.action, 'recorded_at', c.recorded_at, 'version', c.text_version, 'text', t.body,
        'text_sha256', c.text_sha256, 'source', c.source, 'given_at', c.given_at, 'evidence', c.evidence
    )
    from public.biometric_consents as c
    join public.consent_texts as t on t.version = c.text_version
    where c.profile_id = p_profile_id
    order by c.id;
    -- Where people sign in elsewhere, that server has these.
    if to_regclass('auth.users') is not null then
        return query
        select 'account', jsonb_build_object(
            'email', u.email, 'created_at', u.created_at, 'last_sign_in_at', u.last_sign_in_at,
            'user_metadata', u.raw_user_meta_data
        )
        from auth.users as u where u.id = p_profile_id;
    end if;
    if to_regclass('auth.sessions') is not null then
        return query
        select 'sessions', jsonb_build_object('created_at', s.created_at, 'last_used_at', s.refreshed_at)
        from auth.sessions as s where s.user_id = p_profile_id
        order by s.created_at;
    end if;
    if to_regclass('auth.email_changes') is not null then
        return query
        select 'email_changes', jsonb_build_object('new_email', c.new_email, 'expires_at', c.expires_at)
        from auth.email_changes as c where c.user_id = p_profile_id;
    end if;
end
$$;
comment on function automatch.export_account(uuid) is 'Profile, consents with their texts, account and sessions.';

create function automatch.export_photos(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'photos', jsonb_build_object(
        'id', f.id, 'path', f.image_path, 'sha256', f.image_sha256, 'created_at', f.created_at,
        'chosen_box', f.chosen_box,
        'templates', (
            select jsonb_agg(jsonb_build_object(
                'model', e.model, 'quality', e.quality, 'detector', e.detector, 'created_at', e.created_at
            ) order by e.model)
            from public.face_embeddings as e where e.face_id = f.id
        ),
        'imported_row', (select i.row_number from automatch.imported_photos as i where i.face_id = f.id)
    )
    from public.faces as f
    where f.profile_id = p_profile_id
    union all
    select 'jobs', jsonb_build_object(
        'id', j.id, 'photo', j.face_id, 'status', j.status, 'attempts', j.attempts, 'created_at', j.created_at,
        'started_at', j.started_at, 'completed_at', j.completed_at, 'match_count', j.match_count,
        'error_code', j.error_code, 'error_message', j.error_message
    )
    from public.match_jobs as j
    where j.user_id = p_profile_id
    union all
    select 'searches_counted', jsonb_build_object('job', s.job_id, 'created_at', s.counted_at)
    from automatch.photo_searches as s
    where s.profile_id = p_profile_id
$$;
comment on function automatch.export_photos(uuid) is 'Photos, what was computed from them, and the jobs that did it.';

create function automatch.export_standing(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'memberships', jsonb_build_object('school', s.name, 'proof', m.proof, 'proven_at', m.proven_at)
    from automatch.memberships as m
    join automatch.schools as s on s.id = m.school_id
    where m.profile_id = p_profile_id
    union all
    select 'membership_requests', jsonb_build_object(
        'school', s.name, 'message', r.message, 'created_at', r.requested_at, 'refused_at', r.refused_at,
        'reason', r.reason
    )
    from automatch.membership_requests as r
    join automatch.schools as s on s.id = r.school_id
    where r.profile_id = p_profile_id
    union all
    select 'choices', jsonb_build_object(
        'school', s.name, 'gender', c.gender, 'created_at', c.chosen_at, 'counted', c.counted
    )
    from automatch.profile_choices as c
    left join automatch.schools as s on s.id = c.school_id
    where c.profile_id = p_profile_id
    union all
    select 'settling', jsonb_build_object('settles_at', w.settles_at)
    from automatch.settling_profiles as w
    where w.profile_id = p_profile_id
    union all
    select 'shares', jsonb_build_object('sentence', h.sentence, 'handle', h.handle, 'updated_at', h.updated_at)
    from automatch.shares as h
    where h.profile_id = p_profile_id
    union all
    select 'devices_told', jsonb_build_object(
        'push_service', split_part(s.endpoint, '/', 3), 'renewed_at', s.renewed_at, 'told_at', s.told_at
    )
    from automatch.push_subscriptions as s
    where s.profile_id = p_profile_id
    union all
    select 'digest', jsonb_build_object('every_days', extract(day from d.every), 'due_at', d.due_at)
    from automatch.digests as d
    where d.profile_id = p_profile_id
    union all
    select 'operator', jsonb_build_object('role', o.role, 'since', o.since)
    from automatch.operators as o
    where o.profile_id = p_profile_id
    union all
    select 'frozen', jsonb_build_object('reason', z.reason, 'frozen_at', z.frozen_at)
    from automatch.frozen_profiles as z
    where z.profile_id = p_profile_id
    union all
    select 'photos_held', jsonb_build_object('photo', h.face_id, 'reason', h.reason, 'held_at', h.held_at)
    from automatch.held_faces as h
    join public.faces as f on f.id = h.face_id
    where f.profile_id = p_profile_id
    union all
    select 'last_seen', jsonb_build_object('seen_at', l.seen_at)
    from automatch.last_seen as l
    where l.profile_id = p_profile_id
    union all
    select 'inactivity_warnings', jsonb_build_object('warned_at', w.warned_at, 'mailed_at', w.mailed_at)
    from automatch.inactivity_warnings as w
    where w.profile_id = p_profile_id
$$;
comment on function automatch.export_standing(uuid) is
    'Whether a person belongs to a school, is frozen, has photos that wait, and when they were last here.';

create function automatch.export_people(p_profile_id uuid, p_salt text)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- Only matches that the feed shows, and as it shows them: more would tell who hid the person.
    select 'matches', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, e.other_profile_id),
        'photo', case when fa.profile_id = p_profile_id then m.face_a_id else m.face_b_id end,
        'similarity', automatch.shown_similarity(m.similarity), 'created_at', m.created_at, 'seen_at', e.seen_at
    )
    from automatch.feed_entries as e
    join public.matches as m on m.id = e.match_id
    join public.faces as fa on fa.id = m.face_a_id
    where e.profile_id = p_profile_id and automatch.may_see(p_profile_id, e.other_profile_id)
    union all
    select 'blocks', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, b.blocked_profile_id), 'created_at', b.created_at
    )
    from public.profile_blocks as b where b.profile_id = p_profile_id
    union all
    select 'dismissals', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, d.other_profile_id), 'created_at', d.created_at
    )
    from public.match_dismissals as d where d.profile_id = p_profile_id
    union all
    -- Own likes only, and of both only what the feed shows: nobody finds out here who likes them.
    select 'likes', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, l.other_profile_id), 'created_at', l.created_at,
        'mutual', l.mutual and p.discoverable and automatch.may_see(p_profile_id, l.other_profile_id)
    )
    from automatch.likes as l join public.profiles as p on p.id = l.profile_id
    where l.profile_id = p_profile_id
    union all
    select 'photos_seen', jsonb_build_object(
        'person', automatch.pseudonym(p_salt, f.profile_id), 'day', v.day, 'full_size', v.full_size
    )
    from automatch.photo_views as v
    join public.faces as f on f.id = v.face_id
    where v.viewer_id = p_profile_id
    union all
    -- Not who: with the matches beside it, a pseudonym would be a name.
    select 'views_of_photos', jsonb_build_object(
        'photo', v.face_id, 'week', date_trunc('week', v.day)::date,
        'people', automatch.blur_count(count(distinct v.viewer_id)),
        'by_operators_on_days', count(*) filter (where v.viewer_id is null)
    )
    from automatch.photo_views as v
    join public.faces as f on f.id = v.face_id
    where f.profile_id = p_profile_id
    group by v.face_id, date_trunc('week', v.day)
    union all
    select 'possible_same_person', jsonb_build_object(
        'state', s.state, 'found_at', s.found_at, 'decided_at', s.decided_at
    )
    from automatch.suspected_duplicates as s
    where p_profile_id in (s.profile_a_id, s.profile_b_id)
$$;
comment on function automatch.export_people(uuid, text) is 'What a person has to do with others, who are pseudonyms.';

create function automatch.export_records(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'mails', jsonb_build_object('kind', m.kind, 'requested_at', m.requested_at, 'attempts', m.attempts)
    from automatch.mails as m
    where m.profile_id = p_profile_id
        or m.recipient = (select lower(p.email) from public.profiles as p where p.id = p_profile_id)
    union all
    -- The operator is a role here, and never a name.
    select 'acts_of_operators', jsonb_build_object(
        'recorded_at', a.recorded_at, 'action', a.action, 'reason', a.reason, 'by', 'operator'
    )
    from automatch.audit_log as a
    where a.object_id = p_profile_id or automatch.people_of(a.details) @> array[p_profile_id::text]
$$;
comment on function automatch.export_records(uuid) is 'Mails that wait, and what operators did.';

create function automatch.export_cases(p_profile_id uuid)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select 'reports', jsonb_build_object(
        'side', o.side, 'reason', o.reason, 'state', o.state, 'decision', o.decision, 'created_at', o.opened_at,
        'photo', case o.side when 'reported' then o.face_id end, 'decided_at', c.decided_at,
        'messages', (
            select jsonb_agg(jsonb_build_object('by', m.author, 'text', m.body, 'written_at', m.written_at))
            from automatch.messages_of(array[o.id], o.side) as m
        )
    )
    from automatch.cases_of(p_profile_id) as o
    join automatch.cases as c on c.id = o.id
$$;
comment on function automatch.export_cases(uuid) is 'Reports of a person, and those about them of which they know.';

create function public.export_person(p_profile_id uuid, p_salt text)
returns table (part text, item jsonb) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.part, e.item from (
        select 1 as place, part, item from automatch.export_account(p_profile_id)
        union all
        select 2, part, item from automatch.export_photos(p_profile_id)
        union all
        select 2, part, item from automatch.export_standing(p_profile_id)
        union all
        select 3, part, item from automatch.export_people(p_profile_id, p_salt)
        union all
        select 4, part, item from automatch.export_cases(p_profile_id)
        union all
        select 5, part, item from automatch.export_records(p_profile_id)
    ) as e
    order by e.place, e.part, coalesce(e.item ->> 'created_at', e.item ->> 'recorded_at', e.item ->> 'day')
$$;
comment on function public.export_person(uuid, text) is
    'All that is kept about a person, by part; docs/privacy.md says what is in none. p_salt is random for each export.';
