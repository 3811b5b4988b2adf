-- What is left of people who erase their own account: whoever comes back with the same address begins with it.

create table automatch.departures (
    address_hash bytea primary key,
    left_at timestamptz not null default automatch.now(),
    searches timestamptz[] not null,
    choices jsonb not null
);
comment on table automatch.departures is
    'The searches of the last day and the changes of the last year, under a keyed hash of the address, so that leaving '
    'and coming back gives none of them again. Nothing of the person or the face.';
create index departures_left_idx on automatch.departures (left_at);

create function automatch.keep_departure(p_profile_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- The server sets it; without one there is nothing by which to know them again.
    v_hash constant bytea := decode(nullif(current_setting('automatch.address_hash', true), ''), 'hex');
    v_now constant timestamptz := automatch.now();
    v_case uuid;
begin
    if v_hash is null then
        return;
    end if;
    insert into automatch.departures as d (address_hash, searches, choices)
    select v_hash,
        array(
            select s.counted_at from automatch.photo_searches as s
            where s.profile_id = p_profile_id and s.counted_at > v_now - interval '1 day'
        ),
        coalesce((
            select jsonb_agg(to_jsonb(c) - 'profile_id' order by c.id) from automatch.profile_choices as c
            where c.profile_id = p_profile_id and (
                c.counted and c.chosen_at > v_now - interval '1 year'
                or c.id = (select max(l.id) from automatch.profile_choices as l where l.profile_id = p_profile_id)
            )
        ), '[]')
    on conflict (address_hash) do update
    set left_at = excluded.left_at, searches = excluded.searches, choices = excluded.choices;
    select c.id into v_case from automatch.cases as c
    where c.profile_id = p_profile_id and c.state in ('open', 'waiting') and c.hides
    order by c.opened_at
    limit 1;
    if v_case is null and exists (select from automatch.frozen_profiles as f where f.profile_id = p_profile_id) then
        -- Of the last decision; without a case the id only serves to lift the ban.
        v_case := coalesce((
            select c.id from automatch.cases as c where c.profile_id = p_profile_id
            order by c.decided_at desc nulls last, c.id
            limit 1
        ), gen_random_uuid());
    end if;
    if v_case is not null then
        insert into automatch.bans as b (address_hash, case_id, ends_at) values (v_hash, v_case, v_now + interval '90 days')
        on conflict (address_hash) do update set case_id = excluded.case_id, ends_at = excluded.ends_at
        where b.ends_at is not null;
    end if;
end
$$;
comment on function automatch.keep_departure(uuid) is
    'Keep what somebody who erases themselves has used up, and for 90 days refuse the address of who was frozen, or '
    'hidden by a report that is not decided.';

create function public.inherit_departure(p_profile_id uuid, p_address_hash bytea)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.photo_searches (job_id, profile_id, counted_at)
    select gen_random_uuid(), p.id, s.counted_at
    from public.profiles as p
    join automatch.departures as d on d.address_hash = p_address_hash
    cross join lateral unnest(d.searches) as s (counted_at)
    where p.id = p_profile_id and s.counted_at > automatch.now() - interval '1 day';
    insert into automatch.profile_choices (profile_id, school_id, gender, chosen_at, counted)
    select p.id, s.id, c.gender, c.chosen_at, c.counted
    from public.profiles as p
    join automatch.departures as d on d.address_hash = p_address_hash
    cross join lateral jsonb_to_recordset(d.choices) as c (
        id bigint, school_id uuid, gender text, chosen_at timestamptz, counted boolean
    )
    left join automatch.schools as s on s.id = c.school_id
    where p.id = p_profile_id
    order by c.id;
end
$$;
comment on function public.inherit_departure(uuid, bytea) is
    'Count for a new account what an erased one with the same address had used up.';
