-- name: active_model
select id, midpoint, width, same_person_u, scale_version from public.embedding_models where active

-- name: list
-- Newest first.
select version, model, midpoint, width, fit, actor, created_at, is_in_use, matches
from public.list_similarity_scales()

-- name: count_people
select women, men, schools, pairs::bigint from public.count_comparable_people(%(simulated)s)

-- name: sample
-- Two arrays are quicker to read than a hundred thousand rows.
select array_agg(distance), array_agg(half)
from public.sample_stranger_distances(%(pairs)s, %(seed)s, %(simulated)s)

-- name: add
select public.add_similarity_scale(%(model)s, %(midpoint)s, %(width)s, %(fit)s, %(actor)s)

-- name: use
select public.use_similarity_scale(%(version)s, %(actor)s)

-- name: rescore
select public.rescore_matches(%(limit)s)
