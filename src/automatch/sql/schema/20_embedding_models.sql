-- The models that embed faces, and how each turns a distance into a similarity.
create table public.embedding_models (
    -- Part of the names of its partitions.
    id text primary key check (octet_length(id) between 1 and 40),
    dimensions integer not null check (dimensions > 0),
    midpoint double precision not null,
    width double precision not null check (width > 0),
    same_person_u double precision not null,
    active boolean not null default false,
    scale_version integer not null,
    same_person_same_gender_u double precision,
    constraint own_gender_bound_is_no_wider check (same_person_same_gender_u <= same_person_u)
);
comment on table public.embedding_models is
    'Similarity scale per model: u = sqrt(2 - 2 cos), similarity = 1 / (1 + exp((u - midpoint) / width)).';
comment on column public.embedding_models.scale_version is
    'The scale in use. Writing it takes midpoint and width from there; writing those makes a new version.';
comment on column public.embedding_models.same_person_u is
    'Two faces with a u at or below this are taken for one person.';
comment on column public.embedding_models.same_person_same_gender_u is
    'The same for two people of one gender, who look more alike; null: the same bound.';
create unique index embedding_models_one_is_active on public.embedding_models (active) where active;

create table automatch.similarity_scales (
    version integer generated always as identity primary key,
    -- Deferred, because a model and its first scale are inserted by one statement.
    model text not null references public.embedding_models (id) on delete cascade deferrable initially deferred,
    midpoint double precision not null,
    width double precision not null check (width > 0),
    fit jsonb,
    actor text,
    created_at timestamptz not null default automatch.now()
);
create index similarity_scales_model_idx on automatch.similarity_scales (model);
comment on table automatch.similarity_scales is
    'Every scale that a model has had. embedding_models holds a copy of the one in use: what a search reads.';
comment on column automatch.similarity_scales.fit is
    'How it was calibrated: people, pairs, rates. Null: it came with the model, or was set by hand.';

create function automatch.similarity(p_cosine double precision, p_midpoint double precision, p_width double precision)
-- benchmarks/queue: twice as quick as in SQL, and called for each face found.
returns double precision language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    -- Rounding can take a cosine of one's own face above 1.
    return 1 / (1 + exp((sqrt(greatest(2 - 2 * p_cosine, 0)) - p_midpoint) / p_width));
end
$$;

create function automatch.cosine_bound(p_similarity double precision, p_midpoint double precision, p_width double precision)
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- The inverse of automatch.similarity(); 2 lets nothing through, -1 everything.
    select case
        when p_similarity <= 0 then -1
        when p_similarity >= 1 then 2
        when p_midpoint + p_width * ln((1 - p_similarity) / p_similarity) < 0 then 2
        else 1 - power(p_midpoint + p_width * ln((1 - p_similarity) / p_similarity), 2) / 2
    end
$$;

create function automatch.shown_similarity(p_similarity double precision)
returns double precision language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$ select least(round(p_similarity::numeric * 20), 19)::double precision / 20 $$;
comment on function automatch.shown_similarity(double precision) is
    'What a person sees of a similarity: in steps of 0.05, and 0.95 for that or more. From enough exact values a '
    'template could be computed, and the top would tell who is whom.';

-- Whoever writes an embedding or a match reads which model is in use, and its scale, and holds lock_key('model') shared
-- until it is committed; a change of either waits for it. So nothing of the old model or scale appears after the
-- change, where nobody would look for it any more. In memory, unlike a lock on the row: matches are many.
create function automatch.model_scaled()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(automatch.lock_key('model'));
    if tg_op = 'UPDATE' and new.scale_version is distinct from old.scale_version then
        select s.midpoint, s.width into new.midpoint, new.width
        from automatch.similarity_scales as s
        where s.version = new.scale_version and s.model = new.id;
        if not found then
            perform automatch.raise_error('not_found', 'This model has no such version of its scale.');
        end if;
    else
        insert into automatch.similarity_scales (model, midpoint, width)
        values (new.id, new.midpoint, new.width)
        returning version into new.scale_version;
    end if;
    return new;
end
$$;

create trigger embedding_models_scaled before insert on public.embedding_models
for each row execute function automatch.model_scaled();

create trigger embedding_models_rescaled
before update on public.embedding_models
for each row
when (
    old.midpoint <> new.midpoint or old.width <> new.width
    or old.scale_version is distinct from new.scale_version
)
execute function automatch.model_scaled();

-- Fitted on 42,120 pairs of strangers of opposite gender (454 official portraits): 0.5 means closer
-- than 99 of 100 of them. None of 9,240 such pairs of 221 portraits is as close as 0.385, but 40 of
-- 15,070 pairs of one gender are (2.5 in 1000 of men, 3.9 of women): each of 2,000 men would be suspected
-- of five others. None of those is as close as 0.32; photos of one person are 0.16 to 0.31 apart.
insert into public.embedding_models
    (id, dimensions, midpoint, width, same_person_u, same_person_same_gender_u, active)
values ('dlib', 128, 0.482, 0.030, 0.385, 0.32, true);
-- An unchecked constraint would keep the table from being altered again in this transaction.
set constraints all immediate;

create function public.add_similarity_scale(
    p_model text, p_midpoint double precision, p_width double precision, p_fit jsonb, p_actor text default null
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
begin
    -- The same order as whoever writes midpoint and width by hand: the model, then the scale's lock.
    perform from public.embedding_models as m where m.id = p_model for no key update;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such model.');
    end if;
    if not (p_width > 0 and p_width < 2 and p_midpoint > 0 and p_midpoint < 2) then
        perform automatch.raise_error('input_invalid', 'Midpoint and width are distances of unit vectors, between 0 and 2.');
    end if;
    insert into automatch.similarity_scales (model, midpoint, width, fit, actor)
    values (p_model, p_midpoint, p_width, p_fit, p_actor)
    returning version into v_version;
    update public.embedding_models as m set scale_version = v_version where m.id = p_model;
    perform automatch.audit(p_actor, 'calibrate', jsonb_build_object(
        'model', p_model, 'version', v_version, 'midpoint', p_midpoint, 'width', p_width, 'fit', p_fit
    ));
    return v_version;
end
$$;
comment on function public.add_similarity_scale(text, double precision, double precision, jsonb, text) is
    'Put a new scale in use for a model; the older ones stay. Its version. rescore_matches() follows.';

create function public.use_similarity_scale(p_version integer, p_actor text default null)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before integer;
    v_model text;
begin
    select m.id, m.scale_version into v_model, v_before
    from public.embedding_models as m
    join automatch.similarity_scales as s on s.model = m.id
    where s.version = p_version
    for no key update of m;
    if not found then
        perform automatch.raise_error('not_found', 'There is no such version of a scale.');
    end if;
    update public.embedding_models as m set scale_version = p_version where m.id = v_model;
    perform automatch.audit(p_actor, 'use_scale', jsonb_build_object(
        'model', v_model, 'version', p_version, 'before', v_before
    ));
end
$$;
comment on function public.use_similarity_scale(integer, text) is
    'Go back to an earlier scale, or forward again. rescore_matches() follows.';

create function public.list_similarity_scales()
returns table (
    version integer, model text, midpoint double precision, width double precision, fit jsonb, actor text,
    created_at timestamptz, is_in_use boolean, matches bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.version, s.model, s.midpoint, s.width, s.fit, s.actor, s.created_at, m.scale_version = s.version,
        (select count(*) from public.matches as x where x.scale_version = s.version)
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model
    order by s.version desc
$$;
comment on function public.list_similarity_scales() is
    'All scales, newest first, each with the number of matches that are scored with it.';

create function public.active_embedding_model()
returns text language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select m.id from public.embedding_models as m where m.active $$;
comment on function public.active_embedding_model() is 'The model in use: the one active row.';
