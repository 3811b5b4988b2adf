-- name: list
-- Of the embeddings a person may read those of the model in use.
select f.id, f.created_at, e.model as embedding_model, e.quality
from public.faces as f
left join public.face_embeddings as e on e.face_id = f.id and e.model = public.active_embedding_model()
where f.profile_id = automatch.uid()
order by f.created_at desc, f.id
limit 100

-- name: list_erasures
-- Photos of deleted faces whose files are still to go.
select image_path from automatch.photo_erasures order by queued_at limit %(limit)s

-- name: forget_erasures
delete from automatch.photo_erasures where image_path = any (%(image_paths)s)

-- name: list_known
-- Which of these photos have a face.
select image_path from public.faces where image_path = any (%(image_paths)s)

-- name: list_unfinished
-- Which of these photos a job still needs as they were uploaded.
select f.image_path
from public.faces as f
where f.image_path = any (%(image_paths)s)
  and exists (
      select from public.match_jobs as j
      where j.face_id = f.id and j.status in ('pending', 'processing')
  )
