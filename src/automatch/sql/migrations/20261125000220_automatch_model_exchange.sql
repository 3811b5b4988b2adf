-- The models change places, forwards and back: names are exchanged, and nothing is copied.

set search_path = public, extensions;

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
        perform automatch.refuse('input_invalid', 'No change of the model is being prepared.');
    end if;
    lock table public.faces in access exclusive mode;
    lock table public.face_index, automatch_shadow.face_index in access exclusive mode;
    select c.* into strict v_change from automatch.model_changes as c where c.state = 'preparing' for update;
    if not v_change.listed or exists (select from automatch.faces_to_embed as t where t.code is null) then
        perform automatch.refuse('model_not_ready', 'Not every photo has been seen by the new model.');
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
        perform automatch.refuse('input_invalid', 'There is no model to go back to.');
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
        perform automatch.refuse('input_invalid', 'There is no other model to give up.');
    end if;
    -- Else matches that the model in use finds too would be taken for those that it does not.
    if v_change.state in ('active', 'rolled_back') and not v_change.renewed then
        perform automatch.refuse(
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

-- The change by force, which gives up what is there, knows of no shadow.
alter function automatch.use_embedding_model(text) rename to replace_embedding_model;
create function automatch.use_embedding_model(p_model text)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if automatch.has_shadow() then
        perform automatch.refuse(
            'input_invalid', 'A change of the model is not over: finish it, go back, or `automatch models retire`.'
        );
    end if;
    return automatch.replace_embedding_model(p_model);
end
$$;
comment on function automatch.use_embedding_model(text) is
    'replace_embedding_model(), where no change of the model goes on.';

do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in ('finish_model_change', 'roll_back_model_change', 'retire_model_change')
    loop
        execute 'revoke execute on function ' || v_function || ' from public, anon, authenticated';
        execute 'grant execute on function ' || v_function || ' to service_role';
    end loop;
end
$$;
revoke execute on all functions in schema automatch from public;
