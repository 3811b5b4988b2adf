-- The way to another model: begin, let the workers look at every photo again, see how far they are.

set search_path = public, extensions;

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
            perform automatch.refuse('input_invalid', format(
                'The change from %s to %s is not over: go back (`automatch models rollback`) or give the '
                'other model up (`automatch models retire`).', v_change.before, v_change.model
            ));
        end if;
        update automatch.model_changes set state = 'preparing' where id = v_change.id;
        return v_change.id;
    end if;
    if v_before = p_model then
        perform automatch.refuse('input_invalid', format('%s is in use already.', p_model));
    end if;

    insert into public.embedding_models (
        id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u
    )
    values (p_model, p_dimensions, p_midpoint, p_width, p_same_person_u, p_same_person_same_gender_u)
    on conflict (id) do nothing;
    select m.dimensions into v_dimensions from public.embedding_models as m where m.id = p_model;
    if v_dimensions <> p_dimensions then
        perform automatch.refuse('input_invalid', format(
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
            where j.status = 'pending' and not j.deferred and j.priority < 3
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

do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in (
              'begin_model_change', 'get_model_change', 'list_refused_faces', 'preparing_model',
              'take_faces_to_embed', 'store_shadow_embeddings', 'refuse_faces_to_embed'
          )
    loop
        execute 'revoke execute on function ' || v_function || ' from public, anon, authenticated';
        execute 'grant execute on function ' || v_function || ' to service_role';
    end loop;
end
$$;
-- To the login itself, as all that workers do.
grant execute on function
    public.preparing_model(),
    public.take_faces_to_embed(text, integer, interval, boolean),
    public.store_shadow_embeddings(text, uuid[], vector[], jsonb[]),
    public.refuse_faces_to_embed(text, uuid[], text[], text[])
    to automatch_worker;
revoke execute on all functions in schema automatch from public;
