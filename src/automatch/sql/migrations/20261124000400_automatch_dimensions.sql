-- The active model decides how long an embedding is: nothing but its row and two columns know it.

set search_path = public, extensions;

-- In the row whatever its length: a search looks at some 20 of them, and a vector(512) that lies
-- elsewhere takes 25 microseconds to fetch (in the row 3).
alter table public.faces alter column embedding set storage main;

create or replace function automatch.index_faces(p_profile_id uuid, p_face_id uuid default null)
returns void
language sql
security definer
set search_path = public, extensions, pg_temp
as $$
    delete from public.face_index as i
    where i.profile_id = p_profile_id and (p_face_id is null or i.face_id = p_face_id);
    insert into public.face_index (school, gender, face_id, profile_id, embedding)
    -- Without a length: the column has one, and refuses an embedding of another.
    select p.school, p.gender, f.id, p.id, f.embedding::halfvec
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    where p.id = p_profile_id
      and (p_face_id is null or f.id = p_face_id)
      and p.profile_type = 'user'
      and p.discoverable
      and p.school is not null
      and p.gender is not null
      and automatch.has_consent(p.id)
$$;

create function automatch.embedding_dimensions()
returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    -- What pgvector keeps as the type modifier is the number of dimensions.
    select a.atttypmod
    from pg_attribute as a
    where a.attrelid = 'public.face_index'::regclass and a.attname = 'embedding'
$$;
comment on function automatch.embedding_dimensions() is 'The length of the embeddings that are searched.';

create function automatch.use_embedding_model(p_model text)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_dimensions integer;
    v_queued integer;
begin
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if not found then
        perform automatch.refuse('input_invalid', 'embedding_models has no such model: add its row first.');
    end if;
    if exists (select from public.embedding_models as m where m.id = p_model and m.active) then
        return 0;
    end if;
    -- Nobody searches or uploads meanwhile. In this order, as a deletion of a face takes them.
    lock table public.faces, public.face_index in access exclusive mode;
    -- What is being worked on was seen with the other model: it is given back and claimed again.
    perform public.release_match_jobs(array_agg(j.id), array_agg(j.lease_token))
    from public.match_jobs as j where j.status = 'processing' having count(*) > 0;
    -- One after the other: a unique index allows one active model at any moment.
    update public.embedding_models set active = false where active;
    update public.embedding_models set active = true where id = p_model;

    truncate public.face_index;
    if v_dimensions <> automatch.embedding_dimensions() then
        -- The type of a column that a trigger names cannot be changed.
        drop trigger faces_changed on public.faces;
        -- Vectors of another length have no place in the column.
        update public.faces set embedding = null, embedding_model = null where embedding is not null;
        -- A new type takes its own storage along, and then the vectors would lie elsewhere.
        execute format(
            'alter table public.faces alter column embedding type vector(%s), '
            'alter column embedding set storage main', v_dimensions
        );
        execute format(
            'alter table public.face_index alter column embedding type halfvec(%s), '
            'alter column embedding set storage plain', v_dimensions
        );
        create trigger faces_changed
        after insert or update of embedding, embedding_model, profile_id on public.faces
        for each row execute function automatch.faces_changed();
    end if;
    -- Whom this model has seen before can be found at once; all the others are looked at again.
    perform automatch.index_faces(p.profile_id)
    from (select distinct f.profile_id from public.faces as f where f.embedding_model = p_model) as p;
    select count(public.enqueue_match_job(f.id, 3::smallint))::integer into v_queued
    from public.faces as f
    where f.embedding_model is distinct from p_model and automatch.has_consent(f.profile_id);
    return v_queued;
end
$$;
comment on function automatch.use_embedding_model(text) is
    'Make a row of embedding_models the model that is searched with: faces.embedding and '
    'face_index.embedding take its dimensions, and every photo that it has not seen is queued to be looked '
    'at again. The number of those photos. Embeddings of another length are given up.';

revoke execute on all functions in schema automatch from public;
