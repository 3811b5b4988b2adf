-- name: matches_after
-- Each new match of the caller in order; without an id when it has gone, or the caller may not read it.
select n.number, m.id, m.face_a_id, m.face_b_id, m.created_at
from public.matches_after(%(number)s, %(limit)s) as n
left join public.matches as m on m.id = n.match_id
order by n.number
