-- The embeddings of faces, with a partition for each model.
create table public.face_embeddings (
    face_id uuid not null references public.faces (id) on delete cascade,
    model text not null,
    embedding vector not null,
    quality jsonb,
    detector text,
    created_at timestamptz not null default automatch.now(),
    primary key (model, face_id),
    constraint embedding_is_a_unit_vector check (abs(vector_norm(embedding) - 1) < 0.001)
) partition by list (model);
-- In the row whatever its length: a search reads some 20 of them, and a vector(512) that is stored out of
-- line takes 25 microseconds to fetch (in the row 3). PostgreSQL 15 cannot say so when the table is made.
alter table public.face_embeddings alter column embedding set storage main;
comment on table public.face_embeddings is
    'Embeddings of faces by model. Those of a model that is not in use are kept while a change of the model is open.';
comment on column public.face_embeddings.embedding is
    'float32, unit length, as many numbers as the model has dimensions; null in a cluster, see sharded_embeddings.';
comment on column public.face_embeddings.quality is
    'What was measured of the face, and under "eyes" where they are in the copies of the photo.';
comment on column public.face_embeddings.detector is 'What found the face; null where the AI service does not tell.';
-- For the cascade from faces.
create index face_embeddings_face_idx on public.face_embeddings (face_id);

create function automatch.add_model_partitions(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_dimensions integer;
    v_embeddings text := format('public.%I', 'face_embeddings_' || p_model);
begin
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if not found then
        perform automatch.raise_error('input_invalid', 'embedding_models has no such model: add its row first.');
    end if;
    if to_regclass(v_embeddings) is not null then
        return;
    end if;
    -- Attached when they are complete: a table that is created as a partition waits for every reader of the parent.
    execute format(
        'create table %s (like public.face_embeddings including defaults including constraints including storage)',
        v_embeddings
    );
    execute format(
        'alter table %s add constraint embedding_has_the_dimensions check (vector_dims(embedding) = %s)',
        v_embeddings, v_dimensions
    );
    -- A partition does not take this from its parent.
    execute format('alter table %s alter column embedding set statistics 0', v_embeddings);
    execute format('alter table public.face_embeddings attach partition %s for values in (%L)', v_embeddings, p_model);
    perform automatch.apply_table_rules(v_embeddings::regclass);
    perform automatch.add_index_partition('face_index', p_model, not automatch.is_distributed());
    perform automatch.add_sharded_partition(p_model, v_dimensions);
end
$$;
comment on function automatch.add_model_partitions(text) is
    'Make the partitions of a model, if it has none. Waits for nobody but writers of faces.';

create function automatch.drop_model_partitions(p_model text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from automatch.group_indexes as g where g.model = p_model;
    execute format('drop table if exists public.%I', 'face_index_' || p_model);
    execute format('drop table if exists public.%I', 'face_embeddings_' || p_model);
    execute format('drop table if exists automatch.%I', 'sharded_embeddings_' || p_model);
end
$$;
comment on function automatch.drop_model_partitions(text) is
    'Delete everything that a model made of faces. Waits for readers of both tables.';

create function automatch.lock_owners(p_face_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- In the order of locks that lock_feeds() names; withdrawing consent takes the same.
    select from public.profiles as p
    where p.id = any (array(select f.profile_id from public.faces as f where f.id = any (p_face_ids)))
    order by p.id
    for no key update
$$;
comment on function automatch.lock_owners(uuid[]) is
    'Lock the people of faces: nobody moves, pauses, is deleted, or has another photo stored until the transaction ends.';

create function automatch.store_embeddings(
    p_model text, p_face_ids uuid[], p_embeddings vector[], p_quality jsonb[], p_detectors text[]
)
returns integer language sql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
    with stored as (
        insert into public.face_embeddings as e (model, face_id, embedding, quality, detector)
        select p_model, new.face_id, l2_normalize(new.embedding), new.quality, new.detector
        from unnest(p_face_ids, p_embeddings, p_quality, p_detectors) as new (face_id, embedding, quality, detector)
        -- One may have been deleted since the photo was read.
        join public.faces as f on f.id = new.face_id
        on conflict (model, face_id) do update
            set embedding = excluded.embedding, quality = excluded.quality, detector = excluded.detector,
                created_at = excluded.created_at
        returning 1
    )
    select count(*)::integer from stored
$$;
comment on function automatch.store_embeddings(text, uuid[], vector[], jsonb[], text[]) is
    'Write what a model made of faces, whose people have to be locked; how many there were.';

create function automatch.embeddings_changed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text;
    v_change automatch.model_changes;
begin
    -- A change of the model waits for this transaction, and this one for it.
    perform pg_advisory_xact_lock_shared(automatch.lock_key('model'));
    for v_model in select distinct c.model from changed as c loop
        perform automatch.index_faces(array(select c.face_id from changed as c where c.model = v_model), v_model);
    end loop;
    select m.* into v_change from automatch.model_changes as m where m.state <> 'retired';
    if v_change.state = 'preparing' then
        insert into automatch.faces_to_embed (face_id, fresh)
        select c.face_id, true from changed as c
        where c.model = v_change.before and not exists (
            select from public.face_embeddings as e where e.model = v_change.model and e.face_id = c.face_id
        )
        on conflict do nothing;
    elsif tg_op = 'INSERT' and exists (
        -- Matches of a face that the model in use sees only now were passed over when matches were scored anew.
        select from changed as c
        join public.embedding_models as m on m.id = c.model and m.active
        join public.matches as x on c.face_id in (x.face_a_id, x.face_b_id)
        where v_change.state is not null
    ) then
        update automatch.model_changes
        set rescored = false, rescored_version = 0, rescored_upto = '-infinity'
        where id = v_change.id;
    end if;
    return null;
end
$$;

create function automatch.is_moving_embeddings()
returns boolean language sql stable set search_path = pg_catalog, pg_temp
as $$ select coalesce(current_setting('automatch.moving_embeddings', true), '') = 'on' $$;
comment on function automatch.is_moving_embeddings() is
    'Whether embeddings change their place and nothing else: see move_embeddings().';

create trigger face_embeddings_added
after insert on public.face_embeddings
referencing new table as changed
for each statement execute function automatch.embeddings_changed();

create trigger face_embeddings_changed
after update on public.face_embeddings
referencing new table as changed
for each statement when (not automatch.is_moving_embeddings()) execute function automatch.embeddings_changed();

create function automatch.embeddings_removed()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group record;
begin
    -- With a deleted face or person nothing is left to do here: their own triggers come first.
    for v_group in
        select p.school, array_agg(r.face_id) as face_ids, array_agg(distinct r.model) as models
        from removed as r
        join public.faces as f on f.id = r.face_id
        join public.profiles as p on p.id = f.profile_id
        group by p.school
    loop
        perform automatch.forget_sharded_embeddings(v_group.school, v_group.face_ids, v_group.models);
    end loop;
    for v_group in
        select p.school, p.gender, array_agg(distinct r.face_id) as face_ids
        from removed as r
        join public.faces as f on f.id = r.face_id
        join public.profiles as p on p.id = f.profile_id
        where p.school is not null and p.gender is not null
        group by p.school, p.gender
    loop
        perform automatch.unindex_faces(v_group.school, v_group.gender, v_group.face_ids);
        perform automatch.index_faces(v_group.face_ids);
    end loop;
    return null;
end
$$;

create trigger face_embeddings_removed
after delete on public.face_embeddings
referencing old table as removed
for each statement execute function automatch.embeddings_removed();
