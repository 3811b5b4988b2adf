-- name: read_jobs
-- What each job looks for; those that cannot be searched for are missing.
select job_id, school, gender, embedding, bound, match_count, hidden
from public.read_search_jobs(%(job_ids)s, %(tokens)s)

-- name: read_group
-- What changed since the horizon, and how much else there is.
select known, horizon::text, face_ids, profile_ids, embeddings, settled
from public.read_search_group(%(school)s, %(gender)s, %(horizon)s::text::xid8)

-- name: recall
-- Of the searches of the last day that were made again by brute force.
select audits, recall, short_answers from public.get_search_recall('1 day')

-- name: clean_up_audits
select public.clean_up_search_audits(make_interval(days => %(days)s))
