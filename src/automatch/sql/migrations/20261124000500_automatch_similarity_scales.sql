-- The similarity scale of a model in versions, and matches that can be scored again under any of them.

set search_path = public, extensions;

create table automatch.similarity_scales (
    version integer generated always as identity primary key,
    -- Written in the same statement as its model, so it is looked at when that is over.
    model text not null references public.embedding_models (id) on delete cascade deferrable initially deferred,
    midpoint double precision not null,
    width double precision not null check (width > 0),
    fit jsonb,
    actor text,
    created_at timestamptz not null default automatch.now()
);
comment on table automatch.similarity_scales is
    'Every scale that a model has had. embedding_models holds a copy of the one in use: what a search reads.';
comment on column automatch.similarity_scales.fit is
    'How it was calibrated: people, pairs, rates. Null: it came with the model, or was written by hand.';

alter table public.embedding_models add column scale_version integer;
comment on column public.embedding_models.scale_version is
    'The scale in use. Writing it takes midpoint and width from there; writing those makes a new version.';

insert into automatch.similarity_scales (model, midpoint, width)
select m.id, m.midpoint, m.width from public.embedding_models as m order by m.id;
update public.embedding_models as m
set scale_version = s.version
from automatch.similarity_scales as s
where s.model = m.id;
-- Its deferred check would keep the table from being altered again in this transaction.
set constraints all immediate;
alter table public.embedding_models alter column scale_version set not null;

-- A match that is written reads the scale and holds this lock shared until it is committed; a
-- change of the scale waits for it. So no match with the old scale appears after the change, where
-- nobody would look for it any more. In memory, unlike a lock on the row: matches are many.
create function automatch.scale_lock()
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.hashtextextended('automatch.similarity_scale', 0) $$;
comment on function automatch.scale_lock() is 'Key of the advisory lock between matches and changes of the scale.';

create function automatch.model_scaled()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(automatch.scale_lock());
    if tg_op = 'UPDATE' and new.scale_version is distinct from old.scale_version then
        select s.midpoint, s.width into new.midpoint, new.width
        from automatch.similarity_scales as s
        where s.version = new.scale_version and s.model = new.id;
        if not found then
            perform automatch.refuse('not_found', 'This model has no such version of its scale.');
        end if;
    else
        insert into automatch.similarity_scales (model, midpoint, width)
        values (new.id, new.midpoint, new.width)
        returning version into new.scale_version;
    end if;
    return new;
end
$$;

create trigger embedding_models_scaled
before insert on public.embedding_models
for each row execute function automatch.model_scaled();

create trigger embedding_models_rescaled
before update on public.embedding_models
for each row
when (
    old.midpoint <> new.midpoint or old.width <> new.width
    or old.scale_version is distinct from new.scale_version
)
execute function automatch.model_scaled();

-- scale_version refers to nothing: the check would lock one row of similarity_scales for every match.
alter table public.matches
    add column cosine double precision,
    add column scale_version integer,
    add constraint cosine_is_a_cosine check (cosine between -1 and 1);
comment on column public.matches.cosine is 'Of the two embeddings: what similarity is scored from.';
comment on column public.matches.scale_version is 'The scale that similarity was scored with, and so the model.';

-- So far only the similarity was kept; the scale is the same, so its inverse is exact.
update public.matches as x
set cosine = least(automatch.cosine_bound(x.similarity, m.midpoint, m.width), 1), scale_version = m.scale_version
from public.embedding_models as m
where m.active;
alter table public.matches alter column cosine set not null, alter column scale_version set not null;
-- What is left to be scored again, in the order in which feeds show it.
create index matches_scale_idx on public.matches (scale_version, created_at);

create function automatch.score_match()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, extensions, pg_temp
as $$
declare
    v_model record;
begin
    perform pg_advisory_xact_lock_shared(automatch.scale_lock());
    -- From the embeddings, and not back from the similarity: the scale may have changed since the
    -- search of this very transaction.
    select -(a.embedding <#> b.embedding) as cosine, m.midpoint, m.width, m.scale_version into v_model
    from public.faces as a
    join public.faces as b on b.id = new.face_b_id and b.embedding_model = a.embedding_model
    join public.embedding_models as m on m.id = a.embedding_model
    where a.id = new.face_a_id;
    if found then
        new.cosine := greatest(least(v_model.cosine, 1), -1);
        new.similarity := automatch.similarity(new.cosine, v_model.midpoint, v_model.width);
    else
        -- Written by hand, for photos that no worker has seen: the similarity is all there is.
        select m.midpoint, m.width, m.scale_version into v_model from public.embedding_models as m where m.active;
        new.cosine := least(automatch.cosine_bound(new.similarity, v_model.midpoint, v_model.width), 1);
    end if;
    new.scale_version := v_model.scale_version;
    return new;
end
$$;
comment on function automatch.score_match() is
    'A match keeps the cosine of its embeddings and is scored with the scale of this moment, whoever writes it.';

create trigger matches_score
before insert on public.matches
for each row execute function automatch.score_match();

create function public.rescore_matches(p_limit integer default 500)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
    v_ids uuid[];
begin
    select s.version into v_version
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model and m.scale_version <> s.version
    where exists (select from public.matches as x where x.scale_version = s.version)
    order by s.version
    limit 1;
    if not found then
        return 0;
    end if;
    v_ids := array(
        select x.id from public.matches as x
        where x.scale_version = v_version
        order by x.created_at
        limit p_limit
    );
    perform automatch.lock_feeds(array(
        select unnest(array[x.profile_a_id, x.profile_b_id]) from public.matches as x where x.id = any (v_ids)
    ));
    with old as materialized (
        select x.id, x.similarity from public.matches as x
        where x.id = any (v_ids) and x.scale_version = v_version
    ),
    scored as (
        update public.matches as x
        set similarity = automatch.similarity(x.cosine, m.midpoint, m.width), scale_version = m.scale_version
        from old, automatch.similarity_scales as s, public.embedding_models as m
        where x.id = old.id and s.version = v_version and m.id = s.model
        returning x.id, x.profile_a_id, x.profile_b_id,
            -- As people see it: feed_page() rounds to the same steps.
            round(x.similarity::numeric * 20) <> round(old.similarity::numeric * 20) as looks_other
    ),
    -- A feed in which one number changes is told all that was scored with it, in its old order:
    -- told alone, the changed ones would end up above better and newer ones.
    shown as (
        select e.profile_id, e.other_profile_id, e.pos,
            bool_or(s.looks_other) over (partition by e.profile_id) as is_told
        from scored as s
        cross join lateral (
            values (s.profile_a_id, s.profile_b_id), (s.profile_b_id, s.profile_a_id)
        ) as side (profile_id, other_profile_id)
        join automatch.feed_entries as e
            on e.profile_id = side.profile_id
            and e.other_profile_id = side.other_profile_id
            and e.match_id = s.id
    ),
    placed as (
        select s.*, row_number() over (partition by s.profile_id order by s.pos) as step
        from shown as s
        where s.is_told
    ),
    heads as (
        update automatch.feed_heads as h
        set last_pos = h.last_pos + c.entries
        from (select p.profile_id, count(*) as entries from placed as p group by p.profile_id) as c
        where h.profile_id = c.profile_id
        returning h.profile_id, h.last_pos - c.entries as before
    )
    update automatch.feed_entries as e
    set pos = h.before + p.step
    from placed as p
    join heads as h on h.profile_id = p.profile_id
    where e.profile_id = p.profile_id and e.other_profile_id = p.other_profile_id;
    if found then
        perform pg_notify('automatch_feed', '');
    end if;
    return cardinality(v_ids);
end
$$;
comment on function public.rescore_matches(integer) is
    'Score some matches with the scale that is in use now, and tell it in both feeds. How many were looked '
    'at; call it again until that is 0.';

create function public.add_similarity_scale(
    p_model text, p_midpoint double precision, p_width double precision, p_fit jsonb, p_actor text default null
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
begin
    -- The same order as whoever writes midpoint and width by hand: the model, then the scale's lock.
    perform from public.embedding_models as m where m.id = p_model for no key update;
    if not found then
        perform automatch.refuse('not_found', 'There is no such model.');
    end if;
    if not (p_width > 0 and p_width < 2 and p_midpoint > 0 and p_midpoint < 2) then
        perform automatch.refuse('input_invalid', 'Midpoint and width are distances of unit vectors, between 0 and 2.');
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
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
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
        perform automatch.refuse('not_found', 'There is no such version of a scale.');
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
    version integer,
    model text,
    midpoint double precision,
    width double precision,
    fit jsonb,
    actor text,
    created_at timestamptz,
    is_in_use boolean,
    matches bigint
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.version, s.model, s.midpoint, s.width, s.fit, s.actor, s.created_at, m.scale_version = s.version,
        (select count(*) from public.matches as x where x.scale_version = s.version)
    from automatch.similarity_scales as s
    join public.embedding_models as m on m.id = s.model
    order by s.version desc
$$;
comment on function public.list_similarity_scales() is
    'All scales, newest first, each with the number of matches that are scored with it.';

alter table automatch.similarity_scales enable row level security;
alter table automatch.similarity_scales force row level security;
create policy service on automatch.similarity_scales to service_role, current_user using (true) with check (true);
revoke all on automatch.similarity_scales from anon, authenticated, service_role;
grant select, insert, update, delete on automatch.similarity_scales to service_role;

revoke execute on function
    public.rescore_matches(integer),
    public.add_similarity_scale(text, double precision, double precision, jsonb, text),
    public.use_similarity_scale(integer, text),
    public.list_similarity_scales()
    from public, anon, authenticated;
grant execute on function
    public.rescore_matches(integer),
    public.add_similarity_scale(text, double precision, double precision, jsonb, text),
    public.use_similarity_scale(integer, text),
    public.list_similarity_scales()
    to service_role;
-- To the login itself: every worker ends what a command has begun.
grant execute on function public.rescore_matches(integer) to automatch_worker;
revoke execute on all functions in schema automatch from public;
