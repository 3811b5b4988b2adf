-- name: is_there
-- False before the first migration.
select to_regprocedure('public.claim_photo_store(uuid)') is not null

-- name: mark
select s.mark from automatch.photo_store as s

-- name: adopt
insert into automatch.photo_store as s (mark) values (%(mark)s)
on conflict (singleton) do update set mark = excluded.mark, marked_at = automatch.now()

-- name: sessions
-- Of servers, workers and commands; everybody can read the names of logins.
select count(*) from pg_catalog.pg_stat_activity
where usename in ('automatch_api', 'automatch_worker') and datname = current_database()

-- name: look_again
-- A transaction sees the sessions of its first look otherwise.
select pg_catalog.pg_stat_clear_snapshot()

-- name: newest_photos
-- Photos that a worker has processed, so that their copies must exist.
select f.image_path
from public.faces as f
where exists (select from public.face_embeddings as e where e.face_id = f.id)
order by f.created_at desc
limit 50
