-- name: read_jobs
-- What each job looks for; those that cannot be searched for are missing.
select job_id, model, school, gender, embedding, bound, match_count, hidden
from public.read_search_jobs(%(job_ids)s, %(tokens)s)

-- name: read_group
-- What changed since the snapshot_xmin, and how many other faces there are; null where there are too many.
select known, snapshot_xmin::text, face_ids, profile_ids, embeddings, settled
from public.read_search_group(%(model)s, %(school)s, %(gender)s, %(snapshot_xmin)s::text::xid8, %(max_faces)s)
