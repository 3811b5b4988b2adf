-- The search copy. Who is in it is who can be found; a search reads the rows of one model, school and gender, in
-- place, and nothing else (vectors of 264 bytes, never out of line; cosine = inner product of unit vectors).
create table public.face_index (
    -- Of the transaction that wrote the row: what is newer than a worker's copy of a group is read again.
    version xid8 not null default pg_current_xact_id(),
    face_id uuid not null,
    profile_id uuid not null,
    model text not null,
    school text not null,
    gender text not null,
    embedding halfvec not null,
    primary key (model, school, gender, face_id)
) partition by list (model);
-- PostgreSQL 15 cannot say so when the table is made.
alter table public.face_index alter column embedding set storage plain;
comment on table public.face_index is
    'The faces that can be found, by model, school and gender; kept true by triggers of profiles, faces and '
    'face_embeddings. The partition of a model is partitioned by hash of the school.';

create function automatch.add_index_partition(p_table text, p_model text, p_by_school boolean)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_index text := format('public.%I', p_table || '_' || p_model);
    v_part text;
begin
    execute format(
        'create table %s (like public.face_index including defaults including constraints including storage) %s',
        v_index, case when p_by_school then 'partition by hash (school)' end
    );
    for i in 0..15 loop
        exit when not p_by_school;
        v_part := format('public.%I', format('%s_%s_%s', p_table, p_model, i));
        execute format(
            'create table %s partition of %s for values with (modulus 16, remainder %s)', v_part, v_index, i
        );
        perform automatch.apply_table_rules(v_part::regclass);
    end loop;
    execute format('alter table %s alter column embedding set statistics 0', v_index);
    execute format('alter table public.%I attach partition %s for values in (%L)', p_table, v_index, p_model);
    perform automatch.apply_table_rules(v_index::regclass);
end
$$;
comment on function automatch.add_index_partition(text, text, boolean) is
    'Make the partition of a model of a search copy; p_by_school: with 16 parts of its own, which shards are instead.';

create view automatch.findable_faces with (security_invoker = true) as
select e.model, p.school, p.gender, f.id as face_id, p.id as profile_id, e.embedding
from public.face_embeddings as e
join public.faces as f on f.id = e.face_id
join public.profiles as p on p.id = f.profile_id
where p.profile_type = 'user'
  and p.discoverable
  and p.admitted
  and p.school is not null
  and p.gender is not null
  and exists (select from automatch.consenting_profiles as c where c.profile_id = p.id)
  and not exists (select from automatch.held_faces as h where h.face_id = f.id);
comment on view automatch.findable_faces is 'The rule of who can be found, with the embeddings of every model.';

-- From the faces to their people, in the order of the view: with statistics from when the tables were empty,
-- the planner began with all people and asked for the consent of each. A bitmap scan needs a condition, where an
-- index scan may be of a whole index.
create function automatch.index_faces(p_face_ids uuid[], p_model text default null)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
-- Said here, whoever calls: set_search_plans() changes it where Citus could not plan.
set plan_cache_mode = force_generic_plan
set join_collapse_limit = 1 set enable_seqscan = off set enable_indexscan = off
as $$
declare
    v_active constant text := public.active_embedding_model();
    v_version constant xid8 := pg_current_xact_id();
    v_face record;
    v_embedding halfvec;
begin
    -- Row by row: a sharded Postgres sends each straight to its shard, and would plan a join as one of all shards.
    for v_face in
        select f.* from automatch.findable_faces as f
        where f.face_id = any (p_face_ids) and (p_model is null or f.model = p_model)
    loop
        -- First: a statement in a shard of this server cannot ask other shards.
        v_embedding := coalesce(v_face.embedding, automatch.read_sharded_embedding(v_face.model, v_face.face_id));
        insert into public.face_index as i (version, face_id, profile_id, model, school, gender, embedding)
        values (
            v_version, v_face.face_id, v_face.profile_id, v_face.model, v_face.school, v_face.gender,
            v_embedding
        )
        on conflict (model, school, gender, face_id) do update
            set version = excluded.version, profile_id = excluded.profile_id, embedding = excluded.embedding;
        -- Whoever can be found from now on, or somewhere else, may be the second account of somebody there. Not "do
        -- nothing": a check that is under way may have read the embedding before this one.
        if v_face.model = v_active then
            insert into automatch.duplicate_checks (face_id) values (v_face.face_id)
            on conflict (face_id) do update set queued_at = excluded.queued_at;
        end if;
    end loop;
end
$$;
comment on function automatch.index_faces(uuid[], text) is
    'Put those of the faces that can be found into the search copy, for one model or for all.';

create function automatch.unindex_faces(p_school text, p_gender text, p_face_ids uuid[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
begin
    delete from public.face_index as i
    where i.model = any (v_models) and i.school = p_school and i.gender = p_gender and i.face_id = any (p_face_ids);
end
$$;
comment on function automatch.unindex_faces(text, text, uuid[]) is
    'Take faces out of the search copy of one school and gender, for all models.';

create function automatch.rename_index_school(p_school text, p_name text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
    v_version constant xid8 := pg_current_xact_id();
begin
    -- Not "update": under another name the rows may belong on another machine.
    with moved as (
        delete from public.face_index as i
        where i.model = any (v_models) and i.school = p_school and i.gender = any (array['male', 'female'])
        returning i.face_id, i.profile_id, i.model, i.gender, i.embedding
    )
    insert into public.face_index (version, face_id, profile_id, model, school, gender, embedding)
    select v_version, m.face_id, m.profile_id, m.model, p_name, m.gender, m.embedding from moved as m;
    perform automatch.move_sharded_embeddings(p_school, p_name);
end
$$;
comment on function automatch.rename_index_school(text, text) is
    'Write another name for a school into the search copy.';

create function automatch.faces_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
begin
    -- The faces of a deleted person are gone already: profile_leaves_index() took them out.
    for v_group in
        select p.school, p.gender, array_agg(r.id) as face_ids
        from removed as r
        join public.profiles as p on p.id = r.profile_id
        group by p.school, p.gender
    loop
        if v_group.school is not null and v_group.gender is not null then
            perform automatch.unindex_faces(v_group.school, v_group.gender, v_group.face_ids);
        end if;
        perform automatch.forget_sharded_embeddings(v_group.school, v_group.face_ids);
    end loop;
    return null;
end
$$;

create trigger faces_removed
after delete on public.faces
referencing old table as removed
for each statement execute function automatch.faces_removed();

create function automatch.profile_leaves_index()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces constant uuid[] := array(select f.id from public.faces as f where f.profile_id = old.id);
begin
    if old.school is not null and old.gender is not null then
        perform automatch.unindex_faces(old.school, old.gender, v_faces);
    end if;
    perform automatch.forget_sharded_embeddings(old.school, v_faces);
    return old;
end
$$;

-- After profiles_erased, by the order of their names: that takes the locks.
create trigger profiles_leave_index before delete on public.profiles
for each row execute function automatch.profile_leaves_index();

create function automatch.profile_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_faces uuid[] := array(select f.id from public.faces as f where f.profile_id = new.id);
begin
    if cardinality(v_faces) > 0 then
        if old.school is not null and old.gender is not null then
            perform automatch.unindex_faces(old.school, old.gender, v_faces);
        end if;
        if old.school is distinct from new.school then
            perform automatch.move_sharded_embeddings(old.school, new.school, v_faces);
        end if;
        if not new.simulated and (old.school is distinct from new.school or new.admitted and not old.admitted) then
            perform automatch.hold_lookalike(new.id, new.school, new.gender);
        end if;
        perform automatch.index_faces(v_faces);
    end if;
    return null;
end
$$;

create trigger profiles_changed
after update of school, gender, profile_type, discoverable, admitted on public.profiles
for each row
when (
    (old.school is distinct from new.school and not automatch.is_renaming())
    or old.gender is distinct from new.gender or old.profile_type <> new.profile_type
    or old.discoverable <> new.discoverable or old.admitted <> new.admitted
)
execute function automatch.profile_changed();

create function automatch.consent_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Withdrawal takes the photos, templates, jobs and matches along (they cascade).
    if new.action = 'withdrawn' then
        perform automatch.lock_for_erasing(new.profile_id);
        delete from public.faces where profile_id = new.profile_id;
    end if;
    return null;
end
$$;

create trigger biometric_consents_changed after insert on public.biometric_consents
for each row execute function automatch.consent_changed();
