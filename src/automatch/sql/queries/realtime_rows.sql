-- name: matches_after
-- The caller's new matches in order; the id is null where a match is deleted or may not be read.
select n.number, m.id, m.face_a_id, m.face_b_id, m.created_at
from public.matches_after(%(number)s, %(limit)s) as n
left join public.matches as m on m.id = n.match_id
order by n.number
