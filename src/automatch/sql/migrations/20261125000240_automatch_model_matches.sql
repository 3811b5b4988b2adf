-- What becomes of the matches of the other model. While it is kept they stay: a pair that the model in use
-- finds alike too is scored by that one, back and forth; the others wait with their old number. Once it is
-- given up, they go.

set search_path = public, extensions;

create function automatch.tell_feeds(p_match_ids uuid[])
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    -- In their old order, above all else: as rescore_matches() does it.
    with shown as (
        select e.profile_id, e.other_profile_id, row_number() over (partition by e.profile_id order by e.pos) as step
        from public.matches as m
        cross join lateral (
            values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
        ) as side (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = side.profile_id and e.other_profile_id = side.other_profile_id
            and e.match_id = m.id
        where m.id = any (p_match_ids)
    ),
    heads as (
        update automatch.feed_heads as h
        set last_pos = h.last_pos + c.entries
        from (select s.profile_id, count(*) as entries from shown as s group by s.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_pos - c.entries as before
    )
    update automatch.feed_entries as e
    set pos = h.before + s.step
    from shown as s
    join heads as h on h.profile_id = s.profile_id
    where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id;
    if found then
        perform pg_notify('automatch_feed', '');
    end if;
end
$$;
comment on function automatch.tell_feeds(uuid[]) is
    'Show matches anew in both feeds, which have to be locked: their number as people see it has changed.';

create function public.renew_matches(p_limit integer default 200)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_change automatch.model_changes;
    v_model text := public.active_embedding_model();
    v_threshold double precision;
    v_version integer;
    v_upto timestamptz;
    v_ids uuid[];
    v_told uuid[];
begin
    select c.* into v_change from automatch.model_changes as c
    where c.state in ('active', 'rolled_back') and not c.renewed
    for update skip locked;
    if not found then
        return 0;
    end if;
    select s.threshold into v_threshold from public.match_settings as s;
    -- Scale by scale, which is how an index has them.
    select s.version into v_version
    from automatch.similarity_scales as s
    where s.model <> v_model and s.version >= v_change.renewed_version
      and exists (
          select from public.matches as x
          where x.scale_version = s.version
            and (s.version > v_change.renewed_version or x.created_at > v_change.renewed_upto)
      )
    order by s.version
    limit 1;
    if not found then
        update automatch.model_changes set renewed = true where id = v_change.id;
        return 0;
    end if;
    if v_version > v_change.renewed_version then
        v_change.renewed_upto := '-infinity';
    end if;
    -- All of one moment together: a batch of the queue gives its matches one time.
    select max(o.created_at) into v_upto
    from (
        select x.created_at from public.matches as x
        where x.scale_version = v_version and x.created_at > v_change.renewed_upto
        order by x.created_at
        limit p_limit
    ) as o;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
          and x.created_at > v_change.renewed_upto and x.created_at <= v_upto
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    perform pg_advisory_xact_lock_shared(automatch.scale_lock());
    with old as materialized (
        select x.id, x.similarity, greatest(least(-(a.embedding <#> b.embedding), 1), -1) as cosine
        from public.matches as x
        join public.faces as a on a.id = x.face_a_id and a.embedding_model = v_model
        join public.faces as b on b.id = x.face_b_id and b.embedding_model = v_model
        where x.id = any (v_ids)
    ),
    scored as (
        update public.matches as x
        set cosine = o.cosine, scale_version = m.scale_version,
            similarity = automatch.similarity(o.cosine, m.midpoint, m.width)
        from old as o
        join public.embedding_models as m on m.active
        where x.id = o.id and automatch.similarity(o.cosine, m.midpoint, m.width) >= v_threshold
        returning x.id, round(x.similarity::numeric * 20) <> round(o.similarity::numeric * 20) as looks_other
    )
    select array_agg(s.id) into v_told from scored as s where s.looks_other;
    if v_told is not null then
        perform automatch.tell_feeds(v_told);
    end if;
    update automatch.model_changes
    set renewed_version = v_version, renewed_upto = v_upto
    where id = v_change.id;
    return cardinality(v_ids);
end
$$;
comment on function public.renew_matches(integer) is
    'Score some matches of the other model with the one in use, where that finds the pair alike too. How many '
    'were looked at; call it again until that is 0.';

create function public.drop_unrenewed_matches(p_limit integer default 200)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Only of a model whose embeddings are gone: until then everything can be taken back.
    v_ids := array(
        select x.id
        from public.matches as x
        where x.scale_version = any (array(
            select s.version from automatch.similarity_scales as s
            join public.embedding_models as m on m.id = s.model and not m.active
            where s.model in (select c.given_up from automatch.model_changes as c where c.state = 'retired')
              and not exists (
                  select from automatch.model_changes as c
                  where c.state <> 'retired' and s.model in (c.model, c.before)
              )
        ))
        limit p_limit
    );
    if cardinality(v_ids) = 0 then
        return 0;
    end if;
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    delete from public.matches as x where x.id = any (v_ids);
    return cardinality(v_ids);
end
$$;
comment on function public.drop_unrenewed_matches(integer) is
    'Delete some matches that only a model found which was given up. How many; call it again until that is 0.';

create function public.check_same_person_again(p_limit integer default 500)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_change automatch.model_changes;
    v_faces uuid[];
begin
    select c.* into v_change from automatch.model_changes as c where not c.checked order by c.id limit 1
    for update skip locked;
    if not found then
        return 0;
    end if;
    v_faces := array(
        select f.id from public.faces as f
        where f.id > v_change.checked_upto
        order by f.id
        limit p_limit
        for key share skip locked
    );
    insert into automatch.same_person_checks (face_id)
    select i.face_id from public.face_index as i where i.face_id = any (v_faces)
    on conflict do nothing;
    update automatch.model_changes
    set checked_upto = coalesce(v_faces[cardinality(v_faces)], checked_upto), checked = cardinality(v_faces) = 0
    where id = v_change.id;
    return cardinality(v_faces);
end
$$;
comment on function public.check_same_person_again(integer) is
    'Queue some photos to be compared with all of their school by the model in use now: what a person''s two '
    'accounts have in common, each model sees in its own way. How many were looked at; 0 when all are queued.';

do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in ('renew_matches', 'drop_unrenewed_matches', 'check_same_person_again')
    loop
        execute 'revoke execute on function ' || v_function || ' from public, anon, authenticated';
        execute 'grant execute on function ' || v_function || ' to service_role, automatch_worker';
    end loop;
end
$$;
revoke execute on all functions in schema automatch from public;
