-- name: claim
-- With the model in use; store_face_embeddings() drops embeddings of another one.
select
    c.id, c.lease_token as token, c.attempts, c.max_attempts, c.face_id, c.image_path, c.is_embedded,
    c.isolated, c.position, c.age_s, c.request_id,
    -- Only for photos that are still to be analyzed.
    case when not c.is_embedded then public.get_chosen_face(c.face_id) end as chosen,
    (select public.active_embedding_model()) as model
from public.claim_match_jobs(
    %(worker_id)s, %(limit)s, make_interval(secs => %(lease_s)s), %(floor)s
) as c
