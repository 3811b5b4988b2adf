-- What another model would change, told before it is put in use.

set search_path = public, extensions;

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
        perform automatch.refuse('input_invalid', 'No other model is being prepared.');
    end if;
    return query
        with asked as materialized (
            select i.face_id, i.profile_id, i.school,
                case i.gender when 'male' then 'female' else 'male' end as wanted,
                f.embedding, f.shadow_embedding, s.threshold, s.match_count,
                array(select automatch.hidden_from(i.profile_id)) || i.profile_id as hidden
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

revoke execute on function public.compare_models(integer, integer, bigint) from public, anon, authenticated;
grant execute on function public.compare_models(integer, integer, bigint) to service_role;
revoke execute on all functions in schema automatch from public;
