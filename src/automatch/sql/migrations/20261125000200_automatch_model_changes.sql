-- Another model beside the one in use: its embeddings in columns of their own, and an index of its own
-- in another schema. Changing the model is then an exchange of names, whatever the number of faces.
--
-- The shadow is the model that is not searched with: first the new one, after the change the old one, which
-- is kept for the way back. Erasing a face, withdrawing consent, pausing and moving reach both.

set search_path = public, extensions;

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

alter table automatch.search_settings add column exchanged_by xid8 not null default '0';
comment on column automatch.search_settings.exchanged_by is
    'The transaction that exchanged the models last: a copy of a group from before is worth nothing.';

do $$
declare
    v_table text;
begin
    foreach v_table in array array['automatch.model_changes', 'automatch.faces_to_embed'] loop
        execute 'alter table ' || v_table || ' enable row level security';
        execute 'alter table ' || v_table || ' force row level security';
        execute 'create policy service on ' || v_table
            || ' to service_role, current_user using (true) with check (true)';
        execute 'revoke all on ' || v_table || ' from anon, authenticated, service_role';
        execute 'grant select on ' || v_table || ' to service_role';
    end loop;
end
$$;

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

-- In plpgsql, which looks for the shadow only where it is there.
create or replace function automatch.index_faces(p_profile_id uuid, p_face_id uuid default null)
returns void
language plpgsql
security definer
set search_path = public, extensions, pg_temp
as $$
begin
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
      and automatch.has_consent(p.id);
    if automatch.has_shadow() then
        perform automatch.index_shadow(p_profile_id, p_face_id);
    end if;
end
$$;

create or replace function automatch.profile_leaves_index()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The foreign key carries a move to another school; it cannot carry a null.
    if new.school is null or new.gender is null then
        delete from public.face_index where profile_id = new.id;
        if automatch.has_shadow() then
            delete from automatch_shadow.face_index where profile_id = new.id;
        end if;
    end if;
    return new;
end
$$;

create or replace function automatch.faces_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.index_faces(new.profile_id, new.id);
    if new.embedding is not null and automatch.has_shadow() then
        insert into automatch.faces_to_embed (face_id, fresh) values (new.id, true)
        on conflict do nothing;
        -- A photo that the model in use sees only now may have matches of the other one: they were passed
        -- over when matches were scored anew.
        if tg_op = 'UPDATE' then
            if old.embedding is null and exists (
                select from public.matches as x where new.id in (x.face_a_id, x.face_b_id)
            ) then
                update automatch.model_changes
                set renewed = false, renewed_version = 0, renewed_upto = '-infinity'
                where state <> 'retired';
            end if;
        end if;
    end if;
    return null;
end
$$;

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
    execute format(
        'create policy service on %s to service_role, current_user using (true) with check (true)', p_table
    );
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

-- The fence of the model. Between the claim of a job and here the model may have changed: an embedding of
-- another than the one in use is not kept, and its job is given back, to be seen with the right one.
create or replace function public.store_face_embeddings(
    p_job_ids uuid[], p_tokens bigint[], p_embeddings vector[], p_model text, p_quality jsonb[],
    p_timings jsonb[]
)
returns setof uuid
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := automatch.now();
begin
    -- In the order of locks that lock_feeds() names; withdrawing consent takes the same.
    perform from public.profiles as p
    where p.id in (select j.user_id from public.match_jobs as j where j.id = any (p_job_ids))
    order by p.id
    for share;
    perform from public.faces as f
    where f.id in (select j.face_id from public.match_jobs as j where j.id = any (p_job_ids))
    order by f.id
    for no key update;
    -- From here on the models cannot change places: that takes faces for itself alone.
    if not exists (select from public.embedding_models as m where m.id = p_model and m.active) then
        perform public.release_match_jobs(p_job_ids, p_tokens);
        return;
    end if;
    return query
        with seen as materialized (
            select j.id, j.face_id, mine.embedding, mine.quality, mine.timings
            from public.match_jobs as j
            join unnest(p_job_ids, p_tokens, p_embeddings, p_quality, p_timings)
                as mine (id, token, embedding, quality, timings)
                on mine.id = j.id and mine.token = j.lease_token
            where j.id = any (p_job_ids) and j.status = 'processing'
            order by j.id
            for no key update of j
        ),
        told as (
            update public.match_jobs as j
            set timings = j.timings || s.timings
                          || jsonb_build_object('seen', round(extract(epoch from v_now - j.created_at), 4))
            from seen as s
            where j.id = s.id
        ),
        kept as (
            update public.faces as f
            set embedding = l2_normalize(s.embedding), embedding_model = p_model, quality = s.quality
            from seen as s
            where f.id = s.face_id
        )
        select s.id from seen as s;
end
$$;

create or replace function public.read_search_group(
    p_school text, p_gender text, p_horizon xid8 default null,
    out known bigint, out horizon xid8, out face_ids bytea, out profile_ids bytea, out embeddings bytea,
    out settled bytea
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, extensions, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    -- Every transaction below its snapshot's xmin had ended when the reader looked last. So a row
    -- of such a transaction that is here now was there then: when as many are counted as the reader
    -- kept, they are the very same ones, and all others come along anew.
    v_known_age integer := case when p_horizon is null then 2147483647 else age(p_horizon::xid) end;
    v_settled_age integer;
begin
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    v_settled_age := age(horizon::xid);
    select
        count(*) filter (where i.age > v_known_age),
        coalesce(string_agg(uuid_send(i.face_id), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(uuid_send(i.profile_id), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(halfvec_send(i.embedding), '') filter (where i.age <= v_known_age), ''),
        coalesce(string_agg(
            case when i.age > v_settled_age then '\x01'::bytea else '\x00'::bytea end, ''
        ) filter (where i.age <= v_known_age), '')
    into known, face_ids, profile_ids, embeddings, settled
    from (
        select g.face_id, g.profile_id, g.embedding, age(g.xmin) as age
        from public.face_index as g
        where g.school = p_school and g.gender = p_gender
        offset 0
    ) as i;
    -- The rows of another model are older than the exchange that brought them here, and would pass for
    -- the very same ones.
    if p_horizon <= (select s.exchanged_by from automatch.search_settings as s) then
        known := -1;
    end if;
end
$$;

create function public.active_embedding_model()
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select m.id from public.embedding_models as m where m.active $$;
comment on function public.active_embedding_model() is 'The model that is searched with: whoever looks at photos asks.';

revoke execute on function public.active_embedding_model() from public, anon, authenticated;
grant execute on function public.active_embedding_model() to service_role, automatch_worker;
revoke execute on all functions in schema automatch from public;
