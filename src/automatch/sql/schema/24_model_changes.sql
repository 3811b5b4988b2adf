-- Changing the model. The faces are embedded with the new one beside the one in use; then another row of
-- embedding_models is the active one.
create table automatch.model_changes (
    id integer generated always as identity primary key,
    model text not null references public.embedding_models (id),
    before text not null references public.embedding_models (id),
    state text not null default 'preparing',
    total integer not null,
    done integer not null default 0,
    refused integer not null default 0,
    -- Faces up to this id have an embedding of the new model or a row of faces_to_embed; uuids are compared as bytes.
    listed_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    listed boolean not null default false,
    -- Matches with this scale were scored again up to this moment, and all with older scales.
    rescored_version integer not null default 0,
    rescored_upto timestamptz not null default '-infinity',
    rescored boolean not null default false,
    -- Faces up to this id are queued to be compared with all of their school for second accounts.
    checked_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    checked boolean not null default true,
    retired text,
    actor text,
    started_at timestamptz not null default automatch.now(),
    activated_at timestamptz,
    ended_at timestamptz,
    constraint state_is_known check (state in ('preparing', 'active', 'rolled_back', 'retired')),
    constraint models_differ check (model <> before),
    constraint retired_has_an_end check (
        (state = 'retired') = (ended_at is not null) and (state = 'retired') = (retired is not null)
    )
);
comment on table automatch.model_changes is
    'preparing -> active -> retired; active -> rolled_back -> preparing or retired. See docs/models.md.';
create index model_changes_model_idx on automatch.model_changes (model);
create index model_changes_before_idx on automatch.model_changes (before);
create unique index model_changes_one_is_open on automatch.model_changes ((true)) where state <> 'retired';

create table automatch.faces_to_embed (
    face_id uuid primary key references public.faces (id) on delete cascade,
    fresh boolean not null default false,
    leased_until timestamptz not null default '-infinity',
    attempts smallint not null default 0,
    code text,
    message text,
    constraint refusal_has_a_message check ((code is null) = (message is null))
);
comment on table automatch.faces_to_embed is
    'Faces that wait for the new model or are leased to a worker. With a code: those that it refuses, and why.';
comment on column automatch.faces_to_embed.fresh is 'Uploaded since the change began.';
create index faces_to_embed_waiting_idx on automatch.faces_to_embed (fresh desc, attempts, face_id)
    where code is null;

create function public.begin_model_change(
    p_model text, p_dimensions integer, p_midpoint double precision, p_width double precision,
    p_same_person_u double precision, p_same_person_same_gender_u double precision default null,
    p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
-- Bounds how long others wait behind this function's lock requests.
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_before text := public.active_embedding_model();
    v_dimensions integer;
    v_total integer;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model_change'));
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    if found and (v_change.model <> p_model or v_change.state = 'active') then
        perform automatch.raise_error('input_invalid', format(
            'The change from %s to %s is not over: go back (`automatch models rollback`) or give the '
            'other model up (`automatch models retire`).', v_change.before, v_change.model
        ));
    elsif v_change.state = 'rolled_back' then
        -- Later uploads are not listed.
        update automatch.model_changes
        set state = 'preparing', listed = automatch.are_faces_listed(v_change), listed_upto = default
        where id = v_change.id;
    end if;
    if v_change.id is not null then
        return v_change.id;
    end if;
    if v_before = p_model then
        perform automatch.raise_error('input_invalid', format('%s is in use already.', p_model));
    end if;

    insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u)
    values (p_model, p_dimensions, p_midpoint, p_width, p_same_person_u, p_same_person_same_gender_u)
    on conflict (id) do nothing;
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if v_dimensions <> p_dimensions then
        perform automatch.raise_error('input_invalid', format(
            'The database knows %s with %s numbers, and not %s; give the other one another name.',
            p_model, v_dimensions, p_dimensions
        ));
    end if;
    perform automatch.add_model_partitions(p_model);
    -- An embedding that is being written is waited for, to be listed; a later one is queued by its trigger.
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select count(*) into v_total from public.face_embeddings as e where e.model = v_before;
    insert into automatch.model_changes (model, before, total, actor)
    values (p_model, v_before, v_total, p_actor)
    returning * into v_change;
    perform automatch.audit(p_actor, 'begin_model_change', jsonb_build_object(
        'model', p_model, 'before', v_before, 'photos', v_total
    ));
    return v_change.id;
end
$$;
comment on function public.begin_model_change(
    text, integer, double precision, double precision, double precision, double precision, text
) is
    'Let the workers embed every face with another model, beside the one in use. Asked again it goes on. The '
    'number of the change.';

create function public.get_model_change()
returns table (
    model text, before text, state text, is_ready boolean, total integer, done integer, refused integer,
    waiting bigint, started_at timestamptz, activated_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.model, c.before, c.state,
        c.state = 'preparing' and c.listed and w.waiting = 0,
        c.total, c.done, c.refused, w.waiting, c.started_at, c.activated_at
    from automatch.model_changes as c
    cross join lateral (
        select count(*) as waiting from automatch.faces_to_embed as t where t.code is null
    ) as w
    where c.state <> 'retired'
$$;
comment on function public.get_model_change() is 'The change of the model that is not over, and how far it is.';

create function public.list_refused_faces(p_examples integer default 5)
returns table (code text, message text, faces bigint, examples uuid[])
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select t.code, min(t.message), count(*), (array_agg(t.face_id order by t.face_id))[:p_examples]
    from automatch.faces_to_embed as t
    where t.code is not null
    group by t.code
    order by count(*) desc, t.code
$$;
comment on function public.list_refused_faces(integer) is 'Photos that the new model refuses, by reason.';

create function public.preparing_model()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select c.model from automatch.model_changes as c where c.state = 'preparing' $$;
comment on function public.preparing_model() is 'The model with which workers embed every face once more.';

create function automatch.are_faces_listed(p_change automatch.model_changes)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from public.face_embeddings as e
        where e.model = p_change.before
          and not exists (
              select from public.face_embeddings as n where n.model = p_change.model and n.face_id = e.face_id
          )
          and not exists (select from automatch.faces_to_embed as t where t.face_id = e.face_id)
    )
$$;
comment on function automatch.are_faces_listed(automatch.model_changes) is
    'Whether the new model has seen every face that the model in use has, or has it in its queue.';

create function automatch.list_faces_to_embed(p_change automatch.model_changes, p_limit integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[];
begin
    -- Faces that are being deleted are skipped.
    v_faces := array(
        select f.id
        from public.face_embeddings as e
        join public.faces as f on f.id = e.face_id
        where e.model = p_change.before and e.face_id > p_change.listed_upto
          and not exists (
              select from public.face_embeddings as n where n.model = p_change.model and n.face_id = e.face_id
          )
          and not exists (select from automatch.faces_to_embed as t where t.face_id = e.face_id)
        order by e.face_id
        limit p_limit
        for key share of f skip locked
    );
    insert into automatch.faces_to_embed (face_id) select unnest(v_faces) on conflict do nothing;
    if cardinality(v_faces) > 0 then
        update automatch.model_changes set listed_upto = v_faces[cardinality(v_faces)] where id = p_change.id;
    else
        -- From the beginning again, should somebody who was being deleted be here after all.
        update automatch.model_changes set listed = automatch.are_faces_listed(p_change), listed_upto = default
        where id = p_change.id;
    end if;
end
$$;
comment on function automatch.list_faces_to_embed(automatch.model_changes, integer) is
    'Queue the next faces that the new model has not seen, in the order of their ids.';

create function public.take_faces_to_embed(
    p_model text, p_limit integer, p_lease interval, p_anyway boolean default false
)
returns table (face_id uuid, image_path text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := automatch.now();
    v_change automatch.model_changes;
    v_yields boolean;
    v_alone boolean;
    v_crashed integer;
    v_waiting integer;
begin
    -- One worker at a time; nothing below waits for anybody.
    select c.* into v_change from automatch.model_changes as c
    where c.state = 'preparing' and c.model = p_model
    for update;
    if not found then
        return;
    end if;
    -- A photo that workers are lost with comes after all others: twice beside others, which need not be to blame, and
    -- then alone, three times.
    update automatch.faces_to_embed as t
    set code = 'job_crashed', message = 'Looking at the photo broke every time.'
    where t.code is null and t.attempts >= 5 and t.leased_until < v_now;
    get diagnostics v_crashed = row_count;
    if v_crashed > 0 then
        update automatch.model_changes set refused = refused + v_crashed where id = v_change.id;
    end if;
    -- While an upload waits, only what came in since the change began is taken.
    v_yields := not p_anyway
        and not (select q.paused from automatch.queue_settings as q)
        and exists (
            select from public.match_jobs as j
            where j.completed_at is null and j.status = 'pending' and not j.scheduled and j.priority < 3
        );
    if not (v_change.listed or v_yields) then
        select count(*) into v_waiting from (
            select from automatch.faces_to_embed as t
            where t.code is null and t.attempts = 0 and t.leased_until < v_now
            limit p_limit
        ) as waiting;
        if v_waiting < p_limit then
            perform automatch.list_faces_to_embed(v_change, p_limit - v_waiting);
        end if;
    end if;
    select t.attempts >= 2 into v_alone
    from automatch.faces_to_embed as t
    where t.code is null and t.leased_until < v_now and (t.fresh or not v_yields)
    order by t.fresh desc, t.attempts, t.face_id
    limit 1;
    return query
        with next as materialized (
            select t.face_id from automatch.faces_to_embed as t
            where t.code is null and t.leased_until < v_now and (t.fresh or not v_yields)
              and (v_alone or t.attempts < 2)
            order by t.fresh desc, t.attempts, t.face_id
            limit case when v_alone then 1 else p_limit end
            for update skip locked
        ),
        leased as (
            update automatch.faces_to_embed as t
            set leased_until = v_now + p_lease, attempts = t.attempts + 1
            from next as n
            where t.face_id = n.face_id
            returning t.face_id
        )
        select f.id, f.image_path from leased as l join public.faces as f on f.id = l.face_id;
end
$$;
comment on function public.take_faces_to_embed(text, integer, interval, boolean) is
    'Lease the next faces to be embedded with the new model. While uploads wait for their turn, only those that '
    'came in since the change began; p_anyway takes others too.';

create function public.store_prepared_embeddings(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[] default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_stored integer;
begin
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    perform automatch.lock_owners(p_face_ids);
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    v_stored := automatch.store_embeddings(p_model, p_face_ids, p_embeddings, p_quality, p_detectors);
    delete from automatch.faces_to_embed as t where t.face_id = any (p_face_ids);
    update automatch.model_changes set done = done + v_stored where state = 'preparing';
    return v_stored;
end
$$;
comment on function public.store_prepared_embeddings(text, uuid[], vector[], jsonb[], text[]) is
    'Write embeddings of the new model; how many. 0 when that model is not prepared any more.';

create function public.refuse_faces_to_embed(p_model text, p_face_ids uuid[], p_codes text[], p_messages text[])
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused integer;
begin
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    update automatch.faces_to_embed as t
    set code = new.code, message = new.message
    from unnest(p_face_ids, p_codes, p_messages) as new (id, code, message)
    where t.face_id = new.id and t.code is null;
    get diagnostics v_refused = row_count;
    update automatch.model_changes set refused = refused + v_refused where state = 'preparing';
    return v_refused;
end
$$;
comment on function public.refuse_faces_to_embed(text, uuid[], text[], text[]) is
    'Record why the new model refuses photos; those cannot be found once it is in use.';

create function automatch.activate_model(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Whoever queues photos of everybody does it alone: see enqueue_searches().
    perform from automatch.reruns as r where r.finished_at is null for update;
    -- What is being worked on was seen with the other model: it is released and claimed again.
    perform public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
    from automatch.held_jobs as j having count(*) > 0;
    -- One after the other: a unique index allows one active model at any moment.
    update public.embedding_models set active = false where active;
    update public.embedding_models set active = true where id = p_model;
end
$$;
comment on function automatch.activate_model(text) is 'Search with another model from now on; the caller holds the lock of the model.';

create function public.finish_model_change(p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state = 'preparing' for update;
    if not found then
        perform automatch.raise_error('input_invalid', 'No change of the model is being prepared.');
    end if;
    if not v_change.listed or exists (select from automatch.faces_to_embed as t where t.code is null) then
        perform automatch.raise_error('model_not_ready', 'Not every photo has been seen by the new model.');
    end if;
    perform automatch.activate_model(v_change.model);
    update automatch.model_changes
    set state = 'active', activated_at = automatch.now(), rescored = false, rescored_version = 0,
        rescored_upto = default, checked = false, checked_upto = default
    where id = v_change.id;
    -- Everybody is searched for again, behind all uploads.
    update automatch.reruns set finished_at = automatch.now() where finished_at is null;
    insert into automatch.reruns (reason, actor) values ('model ' || v_change.model, p_actor);
    perform automatch.audit(p_actor, 'use_model', jsonb_build_object(
        'model', v_change.model, 'before', v_change.before, 'photos', v_change.done, 'refused', v_change.refused
    ));
    return v_change.done;
end
$$;
comment on function public.finish_model_change(text) is
    'Put the new model in use, all at once; the other one is kept. How many photos it has seen. Refused while a '
    'photo is missing; fails when writers are not done in half a second, and then changed nothing.';

create function public.roll_back_model_change(p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_photos integer;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state = 'active' for update;
    if not found then
        perform automatch.raise_error('input_invalid', 'There is no model to go back to.');
    end if;
    perform automatch.activate_model(v_change.before);
    update automatch.model_changes
    set state = 'rolled_back', rescored = false, rescored_version = 0, rescored_upto = default,
        checked = false, checked_upto = default
    where id = v_change.id;
    update automatch.reruns set finished_at = automatch.now()
    where finished_at is null and reason = 'model ' || v_change.model;
    -- What came in since was seen by the other model alone.
    select count(public.enqueue_match_job(f.id)) into v_photos
    from public.face_embeddings as e
    join public.faces as f on f.id = e.face_id
    where e.model = v_change.model and automatch.has_consent(f.profile_id) and not exists (
        select from public.face_embeddings as b where b.model = v_change.before and b.face_id = e.face_id
    );
    perform automatch.audit(p_actor, 'roll_back_model', jsonb_build_object(
        'model', v_change.before, 'before', v_change.model, 'photos', v_photos
    ));
    return v_photos;
end
$$;
comment on function public.roll_back_model_change(text) is
    'Put the model of before in use again, all at once. Photos that came in since are queued to be seen by it; '
    'how many. The new model is kept until retire_model_change().';

create function public.retire_model_change(p_actor text default null)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_retired text;
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    -- Else matches that the model in use finds too would be taken for those that it does not.
    if v_change.state in ('active', 'rolled_back') and not v_change.rescored then
        perform automatch.raise_error(
            'model_not_ready', 'The workers are still scoring the matches with the model in use; wait a moment.'
        );
    end if;
    -- Without a change, what use_embedding_model() left behind.
    select string_agg(m.id, ', ' order by m.id) into v_retired
    from public.embedding_models as m
    where not m.active and to_regclass(format('public.%I', 'face_embeddings_' || m.id)) is not null;
    if v_retired is null then
        perform automatch.raise_error('input_invalid', 'There is no other model to give up.');
    end if;
    -- An autovacuum gives way to a waiter only after deadlock_timeout (1 s). It is waited for in a mode that stops nobody else.
    perform set_config('lock_timeout', '5s', true);
    lock table public.faces, public.face_embeddings, public.face_index in share update exclusive mode;
    perform set_config('lock_timeout', '500ms', true);
    -- In the order in which a search takes them, or the two would wait for each other.
    lock table public.faces, public.face_embeddings, public.face_index in access exclusive mode;
    perform automatch.drop_model_partitions(m.id) from public.embedding_models as m where not m.active;
    delete from automatch.faces_to_embed;
    update automatch.model_changes set state = 'retired', ended_at = automatch.now(), retired = v_retired
    where id = v_change.id;
    perform automatch.audit(p_actor, 'retire_model', jsonb_build_object('model', v_retired));
    return v_retired;
end
$$;
comment on function public.retire_model_change(text) is
    'Delete all embeddings of the model that is not in use: the old one after a change, the new one before it or '
    'after a way back. Which one it was.';

create function automatch.use_embedding_model(p_model text)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queued integer;
begin
    if exists (select from automatch.model_changes as c where c.state <> 'retired') then
        perform automatch.raise_error(
            'input_invalid', 'A change of the model is not over: finish it, go back, or `automatch models retire`.'
        );
    end if;
    perform automatch.add_model_partitions(p_model);
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    if public.active_embedding_model() = p_model then
        return 0;
    end if;
    perform automatch.activate_model(p_model);
    -- Whom this model has seen before can be found at once; all the others are looked at again.
    insert into automatch.duplicate_checks (face_id)
    select i.face_id from public.face_index as i where i.model = p_model
    on conflict do nothing;
    select count(public.enqueue_match_job(f.id, 3::smallint)) into v_queued
    from public.faces as f
    where automatch.has_consent(f.profile_id) and not exists (
        select from public.face_embeddings as e where e.model = p_model and e.face_id = f.id
    );
    return v_queued;
end
$$;
comment on function automatch.use_embedding_model(text) is
    'Search with a row of embedding_models from now on, and queue every photo that it has not seen; how many. '
    'Until a photo was seen its person is not found. The embeddings of the model before stay until retire_model_change().';

create function public.compare_models(p_photos integer default 200, p_examples integer default 5, p_seed bigint default 1)
returns table (
    photos bigint, matches_before bigint, matches_after bigint, in_both bigint, without_before bigint,
    without_after bigint, examples jsonb
)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_before text := public.active_embedding_model();
    v_after text;
begin
    select c.model into v_after from automatch.model_changes as c where c.state in ('preparing', 'rolled_back');
    if not found then
        perform automatch.raise_error('input_invalid', 'No other model is being prepared.');
    end if;
    return query
        with drawn as materialized (
            select i.face_id, i.profile_id, i.school, i.gender
            from public.face_index as i
            join public.face_index as o
                on o.model = v_before and o.school = i.school and o.gender = i.gender and o.face_id = i.face_id
            where i.model = v_after
            order by uuid_hash_extended(i.face_id, p_seed)
            limit p_photos
        ),
        asked as materialized (
            select d.face_id, d.profile_id, d.school, case d.gender when 'male' then 'female' else 'male' end as wanted,
                s.threshold, s.match_count, array(select automatch.excluded_profile_ids(d.profile_id)) || d.profile_id as hidden
            from drawn as d
            cross join public.match_settings as s
        ),
        found as materialized (
            select e.model, a.face_id, c.face_id as other_face_id, c.profile_id, c.similarity
            from asked as a
            join public.face_embeddings as e on e.face_id = a.face_id and e.model = any (array[v_before, v_after])
            cross join lateral automatch.find_candidates(
                coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id)),
                a.school, a.wanted, a.hidden, a.threshold, a.match_count, e.model
            ) as c
        ),
        old as materialized (select * from found as f where f.model = v_before),
        new as materialized (select * from found as f where f.model = v_after),
        pairs as materialized (
            select coalesce(o.face_id, n.face_id) as face_id,
                coalesce(n.other_face_id, o.other_face_id) as other_face_id,
                o.similarity as before, n.similarity as after
            from old as o
            full join new as n on n.face_id = o.face_id and n.profile_id = o.profile_id
        ),
        strongest as (
            (
                select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                where q.after is null order by q.before desc, q.face_id limit p_examples
            )
            union all
            (
                select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                where q.before is null order by q.after desc, q.face_id limit p_examples
            )
        )
        select
            (select count(*) from asked),
            count(p.before), count(p.after), count(*) filter (where p.before is not null and p.after is not null),
            (select count(*) from asked as a where not exists (select from old as o where o.face_id = a.face_id)),
            (select count(*) from asked as a where not exists (select from new as n where n.face_id = a.face_id)),
            (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from strongest as s)
        from pairs as p;
end
$$;
comment on function public.compare_models(integer, integer, bigint) is
    'Search for some photos with both models: how many matches there are now, would be, and are in both, and '
    'the strongest that would go and come, by the ids of their faces. Changes nothing.';

create function automatch.next_scale_to_rescore(p_model text, p_version integer, p_upto timestamptz)
returns integer language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.version
    from automatch.similarity_scales as s
    where s.model <> p_model and s.version >= p_version
      and exists (
          select from public.matches as x
          where x.scale_version = s.version and (s.version > p_version or x.created_at > p_upto)
      )
    order by s.version
    limit 1
$$;
comment on function automatch.next_scale_to_rescore(text, integer, timestamptz) is
    'The next scale of another model that still has matches: scale by scale, because matches_scale_idx has them so.';

create function public.rescore_matches_for_model(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_change automatch.model_changes;
    v_model text;
    v_threshold double precision;
    v_version integer;
    v_upto timestamptz;
    v_ids uuid[];
    v_changed uuid[];
begin
    if not exists (select from automatch.model_changes as c where c.state in ('active', 'rolled_back') and not c.rescored) then
        return 0;
    end if;
    -- Before the row of the change, as a change of the model takes them.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    select c.* into v_change from automatch.model_changes as c
    where c.state in ('active', 'rolled_back') and not c.rescored
    for update skip locked;
    if not found then
        return 0;
    end if;
    v_model := public.active_embedding_model();
    select s.threshold into v_threshold from public.match_settings as s;
    v_version := automatch.next_scale_to_rescore(v_model, v_change.rescored_version, v_change.rescored_upto);
    if v_version is null then
        update automatch.model_changes set rescored = true where id = v_change.id;
        return 0;
    end if;
    if v_version > v_change.rescored_version then
        v_change.rescored_upto := '-infinity';
    end if;
    -- All matches of one moment together: those of a batch have the same created_at.
    select max(o.created_at) into v_upto
    from (
        select x.created_at from public.matches as x
        where x.scale_version = v_version and x.created_at > v_change.rescored_upto
        order by x.created_at
        limit p_limit
    ) as o;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
          and x.created_at > v_change.rescored_upto and x.created_at <= v_upto
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    with old as materialized (
        select x.id, x.similarity, greatest(least(-(
                coalesce(a.embedding, automatch.read_sharded_embedding(v_model, a.face_id))
                <#> coalesce(b.embedding, automatch.read_sharded_embedding(v_model, b.face_id))
            ), 1), -1) as cosine
        from public.matches as x
        join public.face_embeddings as a on a.model = v_model and a.face_id = x.face_a_id
        join public.face_embeddings as b on b.model = v_model and b.face_id = x.face_b_id
        where x.id = any (v_ids)
    ),
    scored as (
        update public.matches as x
        set cosine = o.cosine, scale_version = m.scale_version,
            similarity = automatch.similarity(o.cosine, m.midpoint, m.width)
        from old as o
        join public.embedding_models as m on m.active
        where x.id = o.id and automatch.similarity(o.cosine, m.midpoint, m.width) >= v_threshold
        returning x.id, automatch.shown_similarity(x.similarity) <> automatch.shown_similarity(o.similarity) as is_shown_otherwise
    )
    select array_agg(s.id) into v_changed from scored as s where s.is_shown_otherwise;
    if v_changed is not null then
        perform automatch.bump_feed_entries(v_changed);
    end if;
    update automatch.model_changes
    set rescored_version = v_version, rescored_upto = v_upto
    where id = v_change.id;
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches_for_model(integer) is
    'Rescore some matches of the other model with the one in use, if that finds the pair similar too. How many '
    'were considered; call again until it is 0.';

create function public.delete_unrescored_matches(p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Only those of a retired model: until then the change can be rolled back.
    v_ids := array(
        select x.id
        from public.matches as x
        where x.scale_version = any (array(
            select s.version from automatch.similarity_scales as s
            join public.embedding_models as m on m.id = s.model and not m.active
            where s.model in (select c.retired from automatch.model_changes as c where c.state = 'retired')
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
comment on function public.delete_unrescored_matches(integer) is
    'Delete some matches that only a retired model found. How many; call again until it is 0.';

create function public.recheck_duplicates(p_limit integer default 500)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
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
    insert into automatch.duplicate_checks (face_id)
    select i.face_id from public.face_index as i where i.face_id = any (v_faces)
    on conflict do nothing;
    update automatch.model_changes
    set checked_upto = coalesce(v_faces[cardinality(v_faces)], checked_upto), checked = cardinality(v_faces) = 0
    where id = v_change.id;
    return cardinality(v_faces);
end
$$;
comment on function public.recheck_duplicates(integer) is
    'Queue some photos for detect_duplicates() by the model in use now. How many were considered; 0 when all '
    'are queued.';
