-- The operator's functions for the list of schools.

create function automatch.set_school_names(
    p_school_id uuid, p_aliases text[], p_domains text[], p_dropped_aliases text[], p_dropped_domains text[]
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_alias text;
begin
    delete from automatch.school_spellings as p
    using automatch.schools as s
    where p.school_id = p_school_id and s.id = p_school_id and p.folded <> automatch.fold_school(s.name)
      and p.folded in (select automatch.fold_school(a) from unnest(p_dropped_aliases) as a);
    delete from automatch.school_domains as d where d.school_id = p_school_id and d.domain = any (p_dropped_domains);
    foreach v_alias in array coalesce(p_aliases, '{}') loop
        perform automatch.add_spelling(p_school_id, btrim(v_alias));
    end loop;
    insert into automatch.school_domains (domain, school_id)
    select distinct d, p_school_id from unnest(p_domains) as d
    on conflict do nothing;
end
$$;

create function public.add_school(
    p_name text, p_domains text[] default '{}', p_aliases text[] default '{}', p_open boolean default false,
    p_actor text default null
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := btrim(regexp_replace(normalize(p_name, nfc), '\s+', ' ', 'g'));
    v_other automatch.schools := automatch.find_school(v_name);
    v_id uuid;
begin
    if v_other.id is not null then
        perform automatch.raise_error('school_exists', v_name || ' is a spelling of ' || v_other.name || '.');
    end if;
    insert into automatch.schools (name, is_open) values (v_name, p_open) returning id into v_id;
    perform automatch.set_school_names(v_id, p_aliases, p_domains, '{}', '{}');
    perform automatch.audit(p_actor, 'add_school', jsonb_build_object(
        'school', v_name, 'open', p_open, 'domains', to_jsonb(p_domains), 'aliases', to_jsonb(p_aliases)
    ));
end
$$;
comment on function public.add_school(text, text[], text[], boolean, text) is
    'Put a school on the list. p_open: nobody has to prove that they belong to it.';

create function public.change_school(
    p_school text, p_domains text[] default '{}', p_aliases text[] default '{}', p_dropped_domains text[] default '{}',
    p_dropped_aliases text[] default '{}', p_actor text default null
)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.lock_school(p_school);
begin
    perform automatch.set_school_names(v_school.id, p_aliases, p_domains, p_dropped_aliases, p_dropped_domains);
    perform automatch.audit(p_actor, 'change_school', jsonb_build_object(
        'school', v_school.name, 'domains', to_jsonb(p_domains), 'aliases', to_jsonb(p_aliases),
        'dropped_domains', to_jsonb(p_dropped_domains), 'dropped_aliases', to_jsonb(p_dropped_aliases)
    ));
end
$$;
comment on function public.change_school(text, text[], text[], text[], text[], text) is
    'Add and drop domains and aliases of a school; then refresh_school_proofs().';

create function public.set_school_open(p_school text, p_open boolean, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    -- In one transaction 20,000 people take minutes.
    perform set_config('automatch.in_steps', 'on', true);
    update automatch.schools as s set is_open = p_open where s.id = v_school.id and s.is_open <> p_open;
    if found then
        perform automatch.audit(
            p_actor, case when p_open then 'open_school' else 'close_school' end, jsonb_build_object('school', v_school.name)
        );
    end if;
    perform set_config('automatch.in_steps', '', true);
end
$$;
comment on function public.set_school_open(text, boolean, text) is
    'Open: whoever names the school belongs to it. Closed: only its members. Then refresh_school_proofs().';

create function public.get_schools(p_school text default null)
returns table (
    name text, is_open boolean, domains text[], aliases text[], people bigint, members bigint, requests bigint,
    invitations bigint, created_at timestamptz, findable bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_model constant text := public.active_embedding_model();
    v_id constant uuid := case when p_school is not null then (automatch.require_school(p_school)).id end;
    v_name constant text := (select s.name from automatch.schools as s where s.id = v_id);
begin
    return query
    with findable as materialized (
        select i.school, count(distinct i.profile_id) as people
        from public.face_index as i
        where i.model = v_model and i.gender = any (array['male', 'female']) and (v_name is null or i.school = v_name)
        group by i.school
    )
    select s.name, s.is_open,
        array(select d.domain from automatch.school_domains as d where d.school_id = s.id order by 1),
        array(
            select p.spelling from automatch.school_spellings as p
            where p.school_id = s.id and p.folded <> automatch.fold_school(s.name) order by 1
        ),
        (select count(*) from public.profiles as p where p.school = s.name and p.profile_type = 'user'),
        (select count(*) from automatch.memberships as m where m.school_id = s.id),
        (select count(*) from automatch.membership_requests as r where r.school_id = s.id and r.refused_at is null),
        (select count(*) from public.list_invitations(s.name)),
        s.created_at, coalesce(f.people, 0)
    from public.list_schools() as l
    join automatch.schools as s on s.name = l.school
    left join findable as f on f.school = s.name
    where v_id is null or s.id = v_id
    order by lower(s.name), s.name;
end
$$;
comment on function public.get_schools(text) is 'The list of schools as an operator sees it, or one of them.';

create function public.rename_school(p_school text, p_name text, p_actor text default null)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old automatch.schools := automatch.require_school(p_school);
    v_name text := btrim(regexp_replace(normalize(p_name, nfc), '\s+', ' ', 'g'));
    v_other automatch.schools := automatch.find_school(v_name);
    v_people bigint;
begin
    if v_other.id <> v_old.id then
        perform automatch.raise_error(
            'school_exists', v_other.name || ' is already a school; merge them to make one of two.'
        );
    end if;
    if exists (select from automatch.smoke_test_runs as t where t.school = v_old.name) then
        perform automatch.raise_error('input_invalid', 'This school is that of a smoke test.');
    end if;
    -- In one transaction: if some were moved before others, they would not find each other in between.
    perform automatch.lock_pauses_exclusive();
    perform set_config('automatch.renaming', 'on', true);
    update automatch.schools as s set name = v_name where s.id = v_old.id;
    perform from public.profiles as p where p.school = v_old.name order by p.id for no key update;
    update public.profiles as p set school = v_name where p.school = v_old.name;
    get diagnostics v_people = row_count;
    perform automatch.rename_index_school(v_old.name, v_name);
    -- An index of a group is of rows with its name: `automatch tune --build` makes a new one.
    update automatch.group_indexes as g set school = v_name, ready = false where g.school = v_old.name;
    update automatch.paused_schools as s set school = v_name where s.school = v_old.name;
    update automatch.search_audits as a set school = v_name where a.school = v_old.name;
    perform from public.match_jobs as j
    where j.completed_at is null and j.school = v_old.name order by j.id for no key update;
    update public.match_jobs as j set school = v_name where j.completed_at is null and j.school = v_old.name;
    perform set_config('automatch.renaming', '', true);
    perform automatch.audit(p_actor, 'rename_school', jsonb_build_object('from', v_old.name, 'to', v_name, 'people', v_people));
    return v_people;
end
$$;
comment on function public.rename_school(text, text, text) is
    'Give a school another name, wherever that is written; its old one becomes an alias. Nothing is searched for '
    'again. The number of people. Then rename_finished_jobs().';

create function public.rename_finished_jobs(p_limit integer default 2000)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    update public.match_jobs as j set school = (automatch.find_school(j.school)).name
    where j.id = any (array(
        select o.id from public.match_jobs as o
        where o.completed_at is not null
          and not exists (select from automatch.schools as s where s.name = o.school)
          and (automatch.find_school(o.school)).id is not null
        order by o.id
        limit p_limit
        for no key update skip locked
    ));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.rename_finished_jobs(integer) is
    'Write the names of schools that were renamed or merged into some finished jobs. How many; call again until it is 0.';

create function public.merge_schools(p_from text, p_into text, p_limit integer default 100, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_from automatch.schools := automatch.require_school(p_from);
    v_into automatch.schools := automatch.require_school(p_into);
    v_ids uuid[];
begin
    if v_from.id = v_into.id then
        perform automatch.raise_error('input_invalid', 'These are two spellings of one school.');
    end if;
    perform from automatch.schools as s where s.id in (v_from.id, v_into.id) order by s.id for update;
    v_ids := array(
        select p.id from public.profiles as p where p.school = v_from.name order by p.id limit p_limit for no key update
    );
    if cardinality(v_ids) > 0 then
        perform automatch.lock_related_feeds(v_ids);
        insert into automatch.memberships (profile_id, school_id, proof, proven_at)
        select m.profile_id, v_into.id, m.proof, m.proven_at from automatch.memberships as m
        where m.school_id = v_from.id and m.profile_id = any (v_ids)
        on conflict do nothing;
        update automatch.membership_requests as r set school_id = v_into.id
        where r.school_id = v_from.id and r.profile_id = any (v_ids);
        -- What the move is for: they are searched for in their new school.
        update public.profiles as p set school = v_into.name where p.id = any (v_ids);
        return cardinality(v_ids);
    end if;
    update automatch.profile_choices as c set school_id = v_into.id where c.school_id = v_from.id;
    update automatch.school_invitations as i set school_id = v_into.id where i.school_id = v_from.id;
    update automatch.school_spellings as p set school_id = v_into.id where p.school_id = v_from.id;
    insert into automatch.school_domains (domain, school_id)
    select d.domain, v_into.id from automatch.school_domains as d where d.school_id = v_from.id
    on conflict do nothing;
    delete from automatch.schools as s where s.id = v_from.id;
    delete from automatch.paused_schools as s where s.school = v_from.name;
    perform automatch.audit(p_actor, 'merge_schools', jsonb_build_object('from', v_from.name, 'into', v_into.name));
    return 0;
end
$$;
comment on function public.merge_schools(text, text, integer, text) is
    'Move some people of a school with their proofs to another, where they are searched for. How many; call again '
    'until it is 0: then the school is gone, and its names, domains and invitations are the other''s.';

create function public.remove_school(p_school text, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    perform from automatch.schools as s where s.id = v_school.id for update;
    if exists (select from public.profiles as p where p.school = v_school.name) then
        perform automatch.raise_error(
            'school_in_use', 'People belong to this school: merge it with another one, or let them leave first.'
        );
    end if;
    delete from automatch.paused_schools as s where s.school = v_school.name;
    delete from automatch.schools as s where s.id = v_school.id;
    perform automatch.audit(p_actor, 'remove_school', jsonb_build_object('school', v_school.name));
end
$$;
comment on function public.remove_school(text, text) is 'Take a school without people off the list.';
