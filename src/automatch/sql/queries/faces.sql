-- name: list
-- Of the embeddings a person may read those of the model in use.
select f.id, f.created_at, e.model as embedding_model, e.quality
from public.faces as f
left join public.face_embeddings as e on e.face_id = f.id and e.model = public.active_embedding_model()
where f.profile_id = automatch.uid()
order by f.created_at desc, f.id
limit 100

-- name: list_erasures
-- Photos of deleted faces whose files are still to be deleted, and whose next attempt is due.
select image_path from automatch.photo_erasures
where next_try_at <= automatch.now()
order by next_try_at
limit %(limit)s

-- name: postpone_erasures
-- The older, the later: files that cannot be deleted must not hold up the others.
update automatch.photo_erasures as e
set error = failed.error,
    next_try_at = automatch.now()
        + least(greatest(automatch.now() - e.queued_at, interval '5 seconds'), interval '5 minutes')
from unnest(%(image_paths)s::text[], %(errors)s::text[]) as failed (image_path, error)
where e.image_path = failed.image_path

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
      where j.face_id = f.id and j.completed_at is null
  )

-- name: read_sweep_position
select position from automatch.photo_sweep

-- name: move_sweep_position
insert into automatch.photo_sweep (position) values (%(image_path)s)
on conflict (singleton) do update set position = excluded.position
