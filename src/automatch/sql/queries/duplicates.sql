-- name: look
-- How many photos were compared with their schools, and how many pairs of accounts are new.
select checked, flagged from public.detect_duplicates(%(most)s)

-- name: list
-- Closest first; with a null state all.
select
    id, profile_a_id, profile_b_id, same_gender, u, model, state, found_at, decided_at, decided_by
from public.list_suspected_duplicates(%(state)s, %(limit)s)

-- name: decide
select public.decide_suspected_duplicate(%(id)s, %(state)s, %(actor)s)

-- name: is_matching
select public.get_match_same_person()

-- name: set_matching
select public.set_match_same_person(%(match)s, %(actor)s)
