-- Changing the model: the faces are embedded with the new one beside the old one, then the two are exchanged.
create schema automatch_shadow;
comment on schema automatch_shadow is 'Holds face_index of the model that is not searched with, while there is one.';
create schema automatch_exchange;
comment on schema automatch_exchange is 'Where tables are while they change places; empty at all other times.';

create table automatch.model_changes (
    id integer generated always as identity primary key,
    model text not null references public.embedding_models (id),
    before text not null references public.embedding_models (id),
    state text not null default 'preparing',
    total integer not null,
    done integer not null default 0,
    refused integer not null default 0,
    -- Faces up to this id are seen or written down; uuids are compared as bytes.
    listed_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    listed boolean not null default false,
    -- Matches with this scale were looked at up to this moment, and those with older scales.
    renewed_version integer not null default 0,
    renewed_upto timestamptz not null default '-infinity',
    renewed boolean not null default false,
    -- Faces up to this id are queued to be compared with all of their school for second accounts.
    checked_upto uuid not null default '00000000-0000-0000-0000-000000000000',
    checked boolean not null default true,
    given_up text,
    actor text,
    started_at timestamptz not null default automatch.now(),
    activated_at timestamptz,
    ended_at timestamptz,
    constraint state_is_known check (state in ('preparing', 'active', 'rolled_back', 'retired')),
    constraint models_differ check (model <> before),
    constraint retired_has_an_end check (
        (state = 'retired') = (ended_at is not null) and (state = 'retired') = (given_up is not null)
    )
);
comment on table automatch.model_changes is
    'preparing -> active -> retired; active -> rolled_back -> preparing or retired. docs/models.md tells it.';
create unique index model_changes_one_is_open on automatch.model_changes ((true)) where state <> 'retired';

create table automatch.faces_to_embed (
    face_id uuid primary key references public.faces (id) on delete cascade,
    fresh boolean not null default false,
    taken_until timestamptz not null default '-infinity',
    tries smallint not null default 0,
    code text,
    message text,
    constraint refusal_has_a_message check ((code is null) = (message is null))
);
comment on table automatch.faces_to_embed is
    'Faces that the shadow model has not seen. With a code: those that the new model refuses, and why.';
comment on column automatch.faces_to_embed.fresh is 'Came in since the change began.';
create index faces_to_embed_waiting_idx on automatch.faces_to_embed (fresh desc, face_id) where code is null;

create function automatch.has_shadow()
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select exists (select from automatch.model_changes as c where c.state <> 'retired') $$;
comment on function automatch.has_shadow() is 'Whether the columns and tables of the shadow are there.';

create function automatch.index_shadow(p_profile_id uuid, p_face_id uuid default null)
returns void
language plpgsql
security definer
set search_path = public, extensions, pg_temp
as $$
begin
    delete from automatch_shadow.face_index as i
    where i.profile_id = p_profile_id and (p_face_id is null or i.face_id = p_face_id);
    insert into automatch_shadow.face_index (school, gender, face_id, profile_id, embedding)
    select p.school, p.gender, f.id, p.id, f.shadow_embedding::halfvec
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    where p.id = p_profile_id
      and (p_face_id is null or f.id = p_face_id)
      and f.shadow_embedding is not null
      and p.profile_type = 'user'
      and p.discoverable
      and p.school is not null
      and p.gender is not null
      and automatch.has_consent(p.id);
end
$$;
comment on function automatch.index_shadow(uuid, uuid) is
    'index_faces() for the shadow, by the same rule, so that nobody who cannot be found is found once the '
    'models have changed places.';

create function automatch.make_shadow(p_dimensions integer)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    -- Like face_index itself, down to the names: what exchanges them exchanges schemas.
    execute format(
        'create table automatch_shadow.face_index (
            school text not null,
            gender text not null,
            face_id uuid not null references public.faces (id) on delete cascade,
            profile_id uuid not null,
            embedding halfvec(%s) not null,
            primary key (school, gender, face_id),
            constraint face_index_follows_profile foreign key (profile_id, school, gender)
                references public.profiles (id, school, gender) on update cascade on delete cascade
        ) partition by hash (school)', p_dimensions
    );
    alter table automatch_shadow.face_index alter column embedding set storage plain;
    create index face_index_face_idx on automatch_shadow.face_index (face_id);
    create index face_index_profile_idx on automatch_shadow.face_index (profile_id, school, gender);
    for i in 0..15 loop
        execute format(
            'create table automatch_shadow.face_index_%s partition of automatch_shadow.face_index '
            'for values with (modulus 16, remainder %s)', i, i
        );
        perform automatch.close_shadow(format('automatch_shadow.face_index_%s', i));
    end loop;
    perform automatch.close_shadow('automatch_shadow.face_index');
    grant select, insert, update, delete on automatch_shadow.face_index to service_role;

    -- Not valid: there is nothing to look at, and a look would keep everybody waiting.
    execute format(
        'alter table public.faces
            add column shadow_embedding vector(%s),
            add column shadow_model text,
            add column shadow_quality jsonb,
            alter column shadow_embedding set storage main,
            add constraint shadow_names_its_model
                check ((shadow_embedding is null) = (shadow_model is null)) not valid,
            add constraint shadow_is_a_unit_vector
                check (abs(vector_norm(shadow_embedding) - 1) < 0.001) not valid,
            add constraint faces_shadow_model_fkey
                foreign key (shadow_model) references public.embedding_models (id) not valid', p_dimensions
    );
end
$$;
comment on function automatch.make_shadow(integer) is 'Room for the embeddings of another model; takes no look at any face.';

create function automatch.close_shadow(p_table text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('create policy owner on %s to current_user using (true) with check (true)', p_table);
    execute format('create policy service on %s to service_role using (true)', p_table);
    execute format('revoke all on %s from public, anon, authenticated, service_role', p_table);
end
$$;
comment on function automatch.close_shadow(text) is 'A table is for the service alone.';

create function automatch.drop_shadow()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
begin
    drop table automatch_shadow.face_index;
    alter table public.faces
        drop column shadow_embedding, drop column shadow_model, drop column shadow_quality;
    delete from automatch.faces_to_embed;
end
$$;

create function public.begin_model_change(
    p_model text, p_dimensions integer, p_midpoint double precision, p_width double precision,
    p_same_person_u double precision, p_same_person_same_gender_u double precision default null,
    p_actor text default null
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
-- Uploads that queue behind a waiting lock wait no longer than this.
set lock_timeout = '1s'
as $$
declare
    v_change automatch.model_changes;
    v_before text := public.active_embedding_model();
    v_dimensions integer;
    v_total integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('automatch.model_change', 0));
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    if found then
        if v_change.model <> p_model or v_change.state = 'active' then
            perform automatch.raise_error('input_invalid', format(
                'The change from %s to %s is not over: go back (`automatch models rollback`) or give the '
                'other model up (`automatch models retire`).', v_change.before, v_change.model
            ));
        end if;
        update automatch.model_changes set state = 'preparing' where id = v_change.id;
        return v_change.id;
    end if;
    if v_before = p_model then
        perform automatch.raise_error('input_invalid', format('%s is in use already.', p_model));
    end if;

    insert into public.embedding_models (
        id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u
    )
    values (p_model, p_dimensions, p_midpoint, p_width, p_same_person_u, p_same_person_same_gender_u)
    on conflict (id) do nothing;
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if v_dimensions <> p_dimensions then
        perform automatch.raise_error('input_invalid', format(
            'The database knows %s with %s numbers, and not %s; give the other one another name.',
            p_model, v_dimensions, p_dimensions
        ));
    end if;
    -- Of the row above: the check that it waits for would keep the tables below from being altered.
    set constraints automatch.similarity_scales_model_fkey immediate;
    set constraints automatch.similarity_scales_model_fkey deferred;
    select count(*) into v_total from public.faces as f where f.embedding_model = v_before;
    -- In the order in which everybody takes them.
    lock table public.profiles in share row exclusive mode;
    lock table public.faces in access exclusive mode;
    delete from automatch.faces_to_embed;
    insert into automatch.model_changes (model, before, total, actor)
    values (p_model, v_before, v_total, p_actor)
    returning * into v_change;
    perform automatch.make_shadow(p_dimensions);
    perform automatch.audit(p_actor, 'begin_model_change', jsonb_build_object(
        'model', p_model, 'before', v_before, 'photos', v_total
    ));
    return v_change.id;
end
$$;
comment on function public.begin_model_change(
    text, integer, double precision, double precision, double precision, double precision, text
) is
    'Let the workers look at every photo with another model, beside the one in use. Asked again it goes on. '
    'The number of the change.';

create function public.get_model_change()
returns table (
    model text, before text, state text, is_ready boolean, total integer, done integer, refused integer,
    waiting bigint, started_at timestamptz, activated_at timestamptz
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
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
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.code, min(t.message), count(*), (array_agg(t.face_id order by t.face_id))[:p_examples]
    from automatch.faces_to_embed as t
    where t.code is not null
    group by t.code
    order by count(*) desc, t.code
$$;
comment on function public.list_refused_faces(integer) is 'Photos that the new model does not see, by reason.';

create function public.preparing_model()
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select c.model from automatch.model_changes as c where c.state = 'preparing' $$;
comment on function public.preparing_model() is 'The model with which workers look at every photo once more.';

create function public.take_faces_to_embed(
    p_model text, p_limit integer, p_lease interval, p_anyway boolean default false
)
returns table (face_id uuid, image_path text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := automatch.now();
    v_change automatch.model_changes;
    v_gives_way boolean;
    v_window uuid[];
    v_crashed integer;
begin
    -- One worker at a time; nothing below waits for anybody.
    select c.* into v_change from automatch.model_changes as c
    where c.state = 'preparing' and c.model = p_model
    for update;
    if not found then
        return;
    end if;
    -- Somebody waits for these: what came in before the change does not take their place.
    v_gives_way := not p_anyway
        and not (select q.paused from automatch.queue_settings as q)
        and exists (
            select from public.match_jobs as j
            where j.status = 'pending' and not j.scheduled and j.priority < 3
        );
    if not (v_change.listed or v_gives_way) and not exists (
        select from automatch.faces_to_embed as t
        where t.code is null and not t.fresh and t.taken_until < v_now
    ) then
        -- Who is erased this moment is left out, and gone.
        v_window := array(
            select f.id from public.faces as f
            where f.id > v_change.listed_upto
            order by f.id
            limit 200
            for key share skip locked
        );
        insert into automatch.faces_to_embed (face_id)
        select f.id from public.faces as f
        where f.id = any (v_window) and f.embedding_model = v_change.before and f.shadow_model is null
        on conflict do nothing;
        if cardinality(v_window) > 0 then
            update automatch.model_changes
            set listed_upto = v_window[cardinality(v_window)]
            where id = v_change.id;
        else
            -- Once more from the beginning: somebody who was being erased may be here after all.
            insert into automatch.faces_to_embed (face_id)
            select f.id from public.faces as f
            where f.embedding_model = v_change.before and f.shadow_model is null
            on conflict do nothing;
            update automatch.model_changes set listed = true where id = v_change.id;
        end if;
    end if;
    -- A photo that workers are lost with is not looked at for ever.
    with crashed as (
        update automatch.faces_to_embed as t
        set code = 'job_crashed', message = 'Looking at the photo broke every time.'
        where t.code is null and t.tries >= 3 and t.taken_until < v_now
        returning 1
    )
    select count(*) into v_crashed from crashed;
    if v_crashed > 0 then
        update automatch.model_changes set refused = refused + v_crashed where id = v_change.id;
    end if;
    return query
        with next as materialized (
            select t.face_id from automatch.faces_to_embed as t
            where t.code is null and t.taken_until < v_now and (t.fresh or not v_gives_way)
            order by t.fresh desc, t.face_id
            limit p_limit
            for update skip locked
        ),
        taken as (
            update automatch.faces_to_embed as t
            set taken_until = v_now + p_lease, tries = t.tries + 1
            from next as n
            where t.face_id = n.face_id
            returning t.face_id
        )
        select f.id, f.image_path from taken as t join public.faces as f on f.id = t.face_id;
end
$$;
comment on function public.take_faces_to_embed(text, integer, interval, boolean) is
    'The next photos to be looked at with the new model, for as long as the lease lasts. While uploads wait '
    'for their turn, only those that came in since the change began; p_anyway takes others too.';

create function public.store_shadow_embeddings(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[]
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
    v_done integer;
begin
    -- As store_face_embeddings() takes them.
    perform from public.profiles as p
    where p.id in (select f.profile_id from public.faces as f where f.id = any (p_face_ids))
    order by p.id
    for share;
    perform from public.faces as f where f.id = any (p_face_ids) order by f.id for no key update;
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    with seen as (
        update public.faces as f
        set shadow_embedding = l2_normalize(mine.embedding), shadow_model = p_model,
            shadow_quality = mine.quality
        from unnest(p_face_ids, p_embeddings, p_quality) as mine (id, embedding, quality)
        where f.id = mine.id and f.id = any (p_face_ids)
        returning 1
    )
    select count(*) into v_done from seen as s;
    perform automatch.index_shadow(f.profile_id, f.id) from public.faces as f where f.id = any (p_face_ids);
    delete from automatch.faces_to_embed as t where t.face_id = any (p_face_ids);
    update automatch.model_changes set done = done + v_done where state = 'preparing';
    return v_done;
end
$$;
comment on function public.store_shadow_embeddings(text, uuid[], vector[], jsonb[]) is
    'Keep what the new model saw. How many; 0 when that model is not prepared any more.';

create function public.refuse_faces_to_embed(
    p_model text, p_face_ids uuid[], p_codes text[], p_messages text[]
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused integer;
begin
    if public.preparing_model() is distinct from p_model then
        return 0;
    end if;
    with refused as (
        update automatch.faces_to_embed as t
        set code = mine.code, message = mine.message
        from unnest(p_face_ids, p_codes, p_messages) as mine (id, code, message)
        where t.face_id = mine.id and t.code is null
        returning 1
    )
    select count(*) into v_refused from refused;
    update automatch.model_changes set refused = refused + v_refused where state = 'preparing';
    return v_refused;
end
$$;
comment on function public.refuse_faces_to_embed(text, uuid[], text[], text[]) is
    'Write down why the new model does not see photos; they cannot be found once it is in use.';

create function automatch.exchange_columns()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_columns smallint[] := array(
        select a.attnum from pg_attribute as a
        where a.attrelid = 'public.faces'::regclass
          and a.attname in (
              'embedding', 'embedding_model', 'quality', 'shadow_embedding', 'shadow_model', 'shadow_quality'
          )
    );
    -- What hangs on a column follows it under its new name: triggers are made anew by their text, and who
    -- may read a column is said again.
    v_triggers text[] := array(
        select pg_get_triggerdef(t.oid) from pg_trigger as t
        where t.tgrelid = 'public.faces'::regclass and not t.tgisinternal
          and t.tgattr::smallint[] && v_columns
    );
    v_name text;
    v_pair text[];
begin
    for v_name in
        select t.tgname from pg_trigger as t
        where t.tgrelid = 'public.faces'::regclass and not t.tgisinternal
          and t.tgattr::smallint[] && v_columns
    loop
        execute format('drop trigger %I on public.faces', v_name);
    end loop;
    foreach v_pair slice 1 in array array[
        array['embedding', 'shadow_embedding'], array['embedding_model', 'shadow_model'],
        array['quality', 'shadow_quality']
    ] loop
        execute format('alter table public.faces rename column %I to exchanged', v_pair[1]);
        execute format('alter table public.faces rename column %I to %I', v_pair[2], v_pair[1]);
        execute format('alter table public.faces rename column exchanged to %I', v_pair[2]);
    end loop;
    foreach v_pair slice 1 in array array[
        array['embedding_names_its_model', 'shadow_names_its_model'],
        array['embedding_is_a_unit_vector', 'shadow_is_a_unit_vector'],
        array['faces_embedding_model_fkey', 'faces_shadow_model_fkey']
    ] loop
        execute format('alter table public.faces rename constraint %I to exchanged', v_pair[1]);
        execute format('alter table public.faces rename constraint %I to %I', v_pair[2], v_pair[1]);
        execute format('alter table public.faces rename constraint exchanged to %I', v_pair[2]);
    end loop;
    foreach v_name in array v_triggers loop
        execute v_name;
    end loop;
    revoke select (shadow_model, shadow_quality) on public.faces from authenticated;
    grant select (embedding_model, quality) on public.faces to authenticated;
end
$$;

create function automatch.exchange_tables()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tables text[] := array['face_index'] || array(select 'face_index_' || n from generate_series(0, 15) as n);
    v_table text;
    -- Of what is searched, and not of what is kept beside it.
    v_triggers text[] := array(
        select pg_get_triggerdef(t.oid) from pg_trigger as t
        where t.tgrelid = 'public.face_index'::regclass and not t.tgisinternal
    );
    v_trigger text;
begin
    for v_trigger in
        select t.tgname from pg_trigger as t
        where t.tgrelid = 'public.face_index'::regclass and not t.tgisinternal
    loop
        execute format('drop trigger %I on public.face_index', v_trigger);
    end loop;
    foreach v_table in array v_tables loop
        execute format('alter table public.%I set schema automatch_exchange', v_table);
        execute format('alter table automatch_shadow.%I set schema public', v_table);
        execute format('alter table automatch_exchange.%I set schema automatch_shadow', v_table);
    end loop;
    foreach v_trigger in array v_triggers loop
        execute v_trigger;
    end loop;
end
$$;

create function automatch.exchange_models(p_model text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_index record;
begin
    -- What is being worked on was seen with the other model: it is given back and claimed again.
    perform public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
    from public.match_jobs as j where j.status = 'processing' having count(*) > 0;
    -- The indexes of large groups belong to a model; `automatch tune --build` makes those of the other.
    for v_index in delete from automatch.group_indexes returning index_name loop
        execute format('drop index if exists public.%I', v_index.index_name);
    end loop;
    perform automatch.exchange_tables(), automatch.exchange_columns();
    -- One after the other: a unique index allows one active model at any moment.
    update public.embedding_models set active = false where active;
    update public.embedding_models set active = true where id = p_model;
    update automatch.search_settings set exchanged_by = pg_current_xact_id();
end
$$;
comment on function automatch.exchange_models(text) is
    'The shadow takes the place of what is searched. All of it has to be locked.';

create function public.finish_model_change(p_actor text default null)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
-- Everybody queues behind a lock that is waited for, so it is not waited for long; ask again.
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_photos integer;
begin
    if not exists (select from automatch.model_changes as c where c.state = 'preparing') then
        perform automatch.raise_error('input_invalid', 'No change of the model is being prepared.');
    end if;
    lock table public.faces in access exclusive mode;
    lock table public.face_index, automatch_shadow.face_index in access exclusive mode;
    select c.* into strict v_change from automatch.model_changes as c where c.state = 'preparing' for update;
    if not v_change.listed or exists (select from automatch.faces_to_embed as t where t.code is null) then
        perform automatch.raise_error('model_not_ready', 'Not every photo has been seen by the new model.');
    end if;
    perform automatch.exchange_models(v_change.model);
    update automatch.model_changes
    set state = 'active', activated_at = automatch.now(),
        renewed = false, renewed_version = 0, renewed_upto = '-infinity', checked = false, checked_upto = default
    where id = v_change.id;
    -- Everybody is searched for again, behind all uploads.
    update automatch.reruns set finished_at = automatch.now() where finished_at is null;
    insert into automatch.reruns (reason, actor) values ('model ' || v_change.model, p_actor);
    v_photos := v_change.done;
    perform automatch.audit(p_actor, 'use_model', jsonb_build_object(
        'model', v_change.model, 'before', v_change.before, 'photos', v_photos, 'refused', v_change.refused
    ));
    return v_photos;
end
$$;
comment on function public.finish_model_change(text) is
    'Put the new model in use, all at once; the other one is kept. How many photos it has seen. Refused while a '
    'photo is missing; fails when the locks cannot be had in half a second, and then changed nothing.';

create function public.roll_back_model_change(p_actor text default null)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_faces uuid[];
    v_photos integer;
begin
    if not exists (select from automatch.model_changes as c where c.state = 'active') then
        perform automatch.raise_error('input_invalid', 'There is no model to go back to.');
    end if;
    lock table public.faces in access exclusive mode;
    lock table public.face_index, automatch_shadow.face_index in access exclusive mode;
    select c.* into strict v_change from automatch.model_changes as c where c.state = 'active' for update;
    perform automatch.exchange_models(v_change.before);
    update automatch.model_changes
    set state = 'rolled_back', renewed = false, renewed_version = 0, renewed_upto = '-infinity',
        checked = false, checked_upto = default
    where id = v_change.id;
    update automatch.reruns set finished_at = automatch.now()
    where finished_at is null and reason = 'model ' || v_change.model;
    -- What came in since was seen by the other model alone.
    with unseen as (
        delete from automatch.faces_to_embed as t where t.code is null returning t.face_id
    )
    select array_agg(u.face_id order by u.face_id) into v_faces from unseen as u;
    select count(public.enqueue_match_job(f.id)) into v_photos
    from public.faces as f
    where f.id = any (v_faces) and f.embedding_model is null and automatch.has_consent(f.profile_id);
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
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set lock_timeout = '500ms'
as $$
declare
    v_change automatch.model_changes;
    v_gone text;
begin
    lock table public.profiles, public.faces in access exclusive mode;
    select c.* into v_change from automatch.model_changes as c where c.state <> 'retired' for update;
    if not found then
        perform automatch.raise_error('input_invalid', 'There is no other model to give up.');
    end if;
    -- Else matches that the model in use finds too would be taken for those that it does not.
    if v_change.state in ('active', 'rolled_back') and not v_change.renewed then
        perform automatch.raise_error(
            'model_not_ready', 'The workers are still scoring the matches with the model in use; wait a moment.'
        );
    end if;
    v_gone := case v_change.state when 'active' then v_change.before else v_change.model end;
    perform automatch.drop_shadow();
    update automatch.model_changes
    set state = 'retired', ended_at = automatch.now(), given_up = v_gone
    where id = v_change.id;
    perform automatch.audit(p_actor, 'retire_model', jsonb_build_object('model', v_gone));
    return v_gone;
end
$$;
comment on function public.retire_model_change(text) is
    'Give the model up that is not in use, with its embeddings: the old one after a change, the new one '
    'before it or after a way back. Which one it was.';

create function automatch.find_in_shadow(
    p_embedding vector, p_school text, p_gender text, p_exclude_profile_ids uuid[],
    p_threshold double precision, p_count integer, p_model text
)
returns table (face_id uuid, profile_id uuid, similarity double precision)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_half halfvec := p_embedding::halfvec;
    v_model public.embedding_models;
    v_bound double precision;
begin
    select m.* into v_model from public.embedding_models as m where m.id = p_model;
    v_bound := automatch.cosine_bound(p_threshold, v_model.midpoint, v_model.width);
    return query
        with near as materialized (
            -- As in find_candidates(): half precision is off by less than 0.002.
            select i.face_id, i.profile_id
            from automatch_shadow.face_index as i
            where i.school = p_school and i.gender = p_gender
              and (i.embedding <#> v_half) <= 0.002 - v_bound
              and not (i.profile_id = any (p_exclude_profile_ids))
        ),
        best as (
            select distinct on (n.profile_id) n.face_id, n.profile_id, -(f.shadow_embedding <#> p_embedding) as cosine
            from near as n
            join public.faces as f on f.id = n.face_id
            order by n.profile_id, -(f.shadow_embedding <#> p_embedding) desc, n.face_id
        )
        select b.face_id, b.profile_id, automatch.similarity(b.cosine, v_model.midpoint, v_model.width)
        from best as b
        where b.cosine >= v_bound
        order by b.cosine desc, b.face_id
        limit p_count;
end
$$;
comment on function automatch.find_in_shadow(
    vector, text, text, uuid[], double precision, integer, text
) is 'find_candidates() among the embeddings of the other model.';

create function public.compare_models(p_photos integer default 200, p_examples integer default 5, p_seed bigint default 1)
returns table (
    photos bigint, matches_before bigint, matches_after bigint, in_both bigint,
    without_before bigint, without_after bigint, examples jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_model text;
begin
    select c.model into v_model from automatch.model_changes as c where c.state in ('preparing', 'rolled_back');
    if not found then
        perform automatch.raise_error('input_invalid', 'No other model is being prepared.');
    end if;
    return query
        with asked as materialized (
            select i.face_id, i.profile_id, i.school,
                case i.gender when 'male' then 'female' else 'male' end as wanted,
                f.embedding, f.shadow_embedding, s.threshold, s.match_count,
                array(select automatch.excluded_profile_ids(i.profile_id)) || i.profile_id as hidden
            from automatch_shadow.face_index as i
            join public.face_index as o
                on o.school = i.school and o.gender = i.gender and o.face_id = i.face_id
            join public.faces as f on f.id = i.face_id
            cross join public.match_settings as s
            order by uuid_hash_extended(i.face_id, p_seed)
            limit p_photos
        ),
        old as materialized (
            select a.face_id, c.face_id as other_face_id, c.profile_id, c.similarity
            from asked as a
            cross join lateral automatch.find_candidates(
                a.embedding, a.school, a.wanted, a.hidden, a.threshold, a.match_count
            ) as c
        ),
        new as materialized (
            select a.face_id, c.face_id as other_face_id, c.profile_id, c.similarity
            from asked as a
            cross join lateral automatch.find_in_shadow(
                a.shadow_embedding, a.school, a.wanted, a.hidden, a.threshold, a.match_count, v_model
            ) as c
        ),
        pairs as materialized (
            select coalesce(o.face_id, n.face_id) as face_id,
                coalesce(n.other_face_id, o.other_face_id) as other_face_id,
                o.similarity as before, n.similarity as after
            from old as o
            full join new as n on n.face_id = o.face_id and n.profile_id = o.profile_id
        )
        select
            (select count(*) from asked),
            count(p.before), count(p.after), count(*) filter (where p.before is not null and p.after is not null),
            (select count(*) from asked as a where not exists (select from old as o where o.face_id = a.face_id)),
            (select count(*) from asked as a where not exists (select from new as n where n.face_id = a.face_id)),
            (
                select coalesce(jsonb_agg(to_jsonb(e)), '[]')
                from (
                    (
                        select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                        where q.after is null order by q.before desc, q.face_id limit p_examples
                    )
                    union all
                    (
                        select q.face_id, q.other_face_id, q.before, q.after from pairs as q
                        where q.before is null order by q.after desc, q.face_id limit p_examples
                    )
                ) as e
            )
        from pairs as p;
end
$$;
comment on function public.compare_models(integer, integer, bigint) is
    'Search for some photos with both models: how many matches there are now, would be, and are in both, and '
    'the strongest that would go and come, by the ids of their faces. Changes nothing.';

create function automatch.bump_feed_entries(p_match_ids uuid[])
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
        select e.profile_id, e.other_profile_id, row_number() over (partition by e.profile_id order by e.position) as step
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
        update automatch.feed_counters as h
        set last_position = h.last_position + c.entries
        from (select s.profile_id, count(*) as entries from shown as s group by s.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_position - c.entries as before
    )
    update automatch.feed_entries as e
    set position = h.before + s.step
    from shown as s
    join heads as h on h.profile_id = s.profile_id
    where e.profile_id = s.profile_id and e.other_profile_id = s.other_profile_id;
    if found then
        perform pg_notify('automatch_feed', '');
    end if;
end
$$;
comment on function automatch.bump_feed_entries(uuid[]) is
    'Show matches anew in both feeds, which have to be locked: their number as people see it has changed.';

create function public.rescore_matches_for_model(p_limit integer default 200)
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
    perform pg_advisory_xact_lock_shared(automatch.lock_key('scales'));
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
        perform automatch.bump_feed_entries(v_told);
    end if;
    update automatch.model_changes
    set renewed_version = v_version, renewed_upto = v_upto
    where id = v_change.id;
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches_for_model(integer) is
    'Score some matches of the other model with the one in use, where that finds the pair alike too. How many '
    'were looked at; call it again until that is 0.';

create function public.delete_unrescored_matches(p_limit integer default 200)
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
comment on function public.delete_unrescored_matches(integer) is
    'Delete some matches that only a model found which was given up. How many; call it again until that is 0.';

create function public.recheck_duplicates(p_limit integer default 500)
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
    'Queue some photos to be compared with all of their school by the model in use now: what a person''s two '
    'accounts have in common, each model sees in its own way. How many were looked at; 0 when all are queued.';
