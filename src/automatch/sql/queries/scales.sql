-- name: active_model
select id, midpoint, width, same_person_u, scale_version from public.embedding_models where active

-- name: count_people
select women, men, schools, pairs::bigint from public.count_comparable_people(%(simulated)s)

-- name: sample
-- Two arrays are quicker to read than a hundred thousand rows.
select array_agg(distance), array_agg(half)
from public.sample_stranger_distances(%(pairs)s, %(seed)s, %(simulated)s)
