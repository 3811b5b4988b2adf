-- The embeddings of faces in the shards of a Citus cluster, beside the search copy. A row of face_embeddings whose
-- embedding is null has it here; which of the two is so row by row, so embeddings move while everything goes on.
create table automatch.sharded_embeddings (
    face_id uuid not null,
    model text not null,
    -- Of the person; '' while there is none.
    school text not null,
    embedding vector not null,
    primary key (model, school, face_id),
    constraint embedding_is_a_unit_vector check (abs(vector_norm(embedding) - 1) < 0.001)
) partition by list (model);
alter table automatch.sharded_embeddings alter column embedding set storage main;
comment on table automatch.sharded_embeddings is
    'The embeddings of face_embeddings in a cluster, in the shards of face_index; kept true by the same triggers.';

create function automatch.add_sharded_partition(p_model text, p_dimensions integer)
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_part text := format('automatch.%I', 'sharded_embeddings_' || p_model);
begin
    execute format(
        'create table %s (like automatch.sharded_embeddings including defaults including constraints including storage)',
        v_part
    );
    execute format(
        'alter table %s add constraint embedding_has_the_dimensions check (vector_dims(embedding) = %s)',
        v_part, p_dimensions
    );
    execute format('alter table %s alter column embedding set statistics 0', v_part);
    execute format('alter table automatch.sharded_embeddings attach partition %s for values in (%L)', v_part, p_model);
    perform automatch.apply_table_rules(v_part::regclass);
end
$$;

create function automatch.read_sharded_embeddings(p_model text, p_face_ids uuid[])
returns table (face_id uuid, embedding vector)
language plpgsql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
-- Whoever calls: Citus plans for the values of parameters only.
set plan_cache_mode = auto
as $$
declare
    v_group record;
begin
    -- School by school: each is read in one shard.
    for v_group in
        select coalesce(p.school, '') as school, array_agg(f.id) as face_ids
        from public.faces as f
        join public.profiles as p on p.id = f.profile_id
        where f.id = any (p_face_ids)
        group by coalesce(p.school, '')
    loop
        return query
            select s.face_id, s.embedding
            from automatch.sharded_embeddings as s
            where s.model = p_model and s.school = v_group.school and s.face_id = any (v_group.face_ids);
    end loop;
end
$$;
comment on function automatch.read_sharded_embeddings(text, uuid[]) is
    'The embeddings of faces whose rows of face_embeddings have none.';

-- coalesce(embedding, …) stands with each reader: a function of both is called for every row, since all functions pin
-- their path and none is inlined; a view of both may be computed for all faces where Citus joins it with shards.
create function automatch.read_sharded_embedding(p_model text, p_face_id uuid)
returns vector language sql stable security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$ select s.embedding from automatch.read_sharded_embeddings(p_model, array[p_face_id]) as s $$;
comment on function automatch.read_sharded_embedding(text, uuid) is
    'read_sharded_embeddings() of one face; for coalesce(), which does not call it on one server.';

create function automatch.forget_sharded_embeddings(p_school text, p_face_ids uuid[], p_models text[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_models constant text[] := coalesce(p_models, array(select m.id from public.embedding_models as m));
begin
    delete from automatch.sharded_embeddings as s
    where s.model = any (v_models) and s.school = coalesce(p_school, '') and s.face_id = any (p_face_ids);
end
$$;
comment on function automatch.forget_sharded_embeddings(text, uuid[], text[]) is
    'Delete the embeddings of faces of one school from its shard, of some models or of all.';

create function automatch.move_sharded_embeddings(p_school text, p_to text, p_face_ids uuid[] default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_models constant text[] := array(select m.id from public.embedding_models as m);
begin
    with moved as (
        delete from automatch.sharded_embeddings as s
        where s.model = any (v_models) and s.school = coalesce(p_school, '')
          and (p_face_ids is null or s.face_id = any (p_face_ids))
        returning s.face_id, s.model, s.embedding
    )
    insert into automatch.sharded_embeddings (face_id, model, school, embedding)
    select m.face_id, m.model, coalesce(p_to, ''), m.embedding from moved as m;
end
$$;
comment on function automatch.move_sharded_embeddings(text, text, uuid[]) is
    'Put embeddings of faces into the shard of another school; without faces, all of the school.';

create function automatch.embedding_goes_to_shard()
returns trigger language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = auto
as $$
declare
    v_school text;
begin
    if new.embedding is null then
        return new;
    end if;
    select coalesce(p.school, '') into v_school
    from public.faces as f join public.profiles as p on p.id = f.profile_id
    where f.id = new.face_id;
    insert into automatch.sharded_embeddings as s (face_id, model, school, embedding)
    values (new.face_id, new.model, v_school, new.embedding)
    on conflict (model, school, face_id) do update set embedding = excluded.embedding;
    new.embedding := null;
    return new;
end
$$;

-- Enabled in a cluster alone: on one server it costs nothing.
create trigger face_embeddings_go_to_shards
before insert or update on public.face_embeddings
for each row execute function automatch.embedding_goes_to_shard();
alter table public.face_embeddings disable trigger face_embeddings_go_to_shards;

create function automatch.are_embeddings_sharded()
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_trigger as t
        where t.tgrelid = 'public.face_embeddings'::regclass and t.tgname = 'face_embeddings_go_to_shards'
          and t.tgenabled <> 'D'
    )
$$;
comment on function automatch.are_embeddings_sharded() is 'Whether embeddings that are written go into shards.';

create function automatch.begin_sharding()
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_distribute constant regproc := to_regproc('pg_catalog.create_distributed_table');
begin
    if v_distribute is not null and not automatch.is_distributed('automatch.sharded_embeddings') then
        execute format('select %s($1, $2, colocate_with => $3)', v_distribute) using
            'automatch.sharded_embeddings'::regclass, 'school', 'public.face_index';
    end if;
    if not automatch.are_embeddings_sharded() then
        alter table public.face_embeddings alter column embedding drop not null;
        alter table public.face_embeddings enable trigger face_embeddings_go_to_shards;
    end if;
end
$$;
comment on function automatch.begin_sharding() is
    'Write embeddings into shards from now on, those of face_index; move_embeddings() takes the others there.';

create function automatch.end_sharding()
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    -- Fails while one lies here; `automatch db distribute` and a check of the doctor see by it that all are moved.
    alter table public.face_embeddings add constraint embedding_is_in_a_shard check (embedding is null)
$$;
comment on function automatch.end_sharding() is 'Note that all embeddings are in shards.';

create function automatch.begin_unsharding()
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    alter table public.face_embeddings drop constraint if exists embedding_is_in_a_shard;
    alter table public.face_embeddings disable trigger face_embeddings_go_to_shards;
$$;
comment on function automatch.begin_unsharding() is
    'Write embeddings into face_embeddings from now on; move_embeddings() takes the others there.';

create function automatch.move_embeddings(p_school text, p_upto uuid, p_people integer)
returns table (upto uuid, people integer)
language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_is_sharded constant boolean := automatch.are_embeddings_sharded();
    v_people uuid[];
    v_faces uuid[];
    v_model text;
begin
    -- None of them moves or is erased meanwhile.
    v_people := array(
        select p.id from public.profiles as p
        where coalesce(p.school, '') = p_school and p.id > p_upto
        order by p.id
        limit p_people
        for no key update
    );
    v_faces := array(select f.id from public.faces as f where f.profile_id = any (v_people));
    perform set_config('automatch.moving_embeddings', 'on', true);
    for v_model in select m.id from public.embedding_models as m loop
        if v_is_sharded then
            insert into automatch.sharded_embeddings as s (face_id, model, school, embedding)
            select e.face_id, e.model, p_school, e.embedding
            from public.face_embeddings as e
            where e.model = v_model and e.face_id = any (v_faces) and e.embedding is not null
            on conflict (model, school, face_id) do update set embedding = excluded.embedding;
            update public.face_embeddings as e set embedding = null
            where e.model = v_model and e.face_id = any (v_faces) and e.embedding is not null;
        else
            update public.face_embeddings as e set embedding = s.embedding
            from automatch.read_sharded_embeddings(v_model, v_faces) as s
            where e.model = v_model and e.face_id = s.face_id and e.embedding is null;
        end if;
    end loop;
    perform set_config('automatch.moving_embeddings', '', true);
    return query select v_people[cardinality(v_people)], cardinality(v_people);
end
$$;
comment on function automatch.move_embeddings(text, uuid, integer) is
    'Put the embeddings of the next people of a school where they are written now; up to whom, and how many people.';

create function automatch.end_unsharding()
returns void language plpgsql security definer set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_comment constant text := obj_description('automatch.sharded_embeddings'::regclass, 'pg_class');
    v_model public.embedding_models;
    v_lost uuid[];
    v_found record;
begin
    -- A backup of a cluster may have caught a person between two shards.
    for v_model in select m.* from public.embedding_models as m loop
        v_lost := array(
            select e.face_id from public.face_embeddings as e where e.model = v_model.id and e.embedding is null
        );
        for v_found in
            select s.face_id, s.embedding from automatch.sharded_embeddings as s
            where s.model = v_model.id and s.face_id = any (v_lost)
        loop
            update public.face_embeddings as e set embedding = v_found.embedding
            where e.model = v_model.id and e.face_id = v_found.face_id;
        end loop;
    end loop;
    -- Or after a photo went there: it is looked at again.
    with lost as (delete from public.face_embeddings as e where e.embedding is null returning e.face_id)
    select array_agg(l.face_id) into v_lost from lost as l;
    perform public.enqueue_match_job(f.id) from public.faces as f where f.id = any (v_lost);
    alter table public.face_embeddings alter column embedding set not null;
    alter table automatch.sharded_embeddings rename to sharded_embeddings_before;
    create table automatch.sharded_embeddings (
        like automatch.sharded_embeddings_before including defaults including constraints including storage
    ) partition by list (model);
    drop table automatch.sharded_embeddings_before;
    alter table automatch.sharded_embeddings
        add primary key (model, school, face_id), alter column embedding set statistics 0;
    execute format('comment on table automatch.sharded_embeddings is %L', v_comment);
    perform automatch.apply_table_rules('automatch.sharded_embeddings'::regclass);
    for v_model in
        select m.* from public.embedding_models as m
        where to_regclass(format('public.%I', 'face_embeddings_' || m.id)) is not null
    loop
        perform automatch.add_sharded_partition(v_model.id, v_model.dimensions);
    end loop;
end
$$;
comment on function automatch.end_unsharding() is 'Give up the shards, when all embeddings are in face_embeddings again.';
