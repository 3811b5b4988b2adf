-- name: active_model
select public.active_embedding_model()

-- name: begin
select public.begin_model_change(
    %(model)s, %(dimensions)s, %(midpoint)s, %(width)s, %(same_person_u)s,
    %(same_person_same_gender_u)s, %(actor)s
)

-- name: get
select model, before, state, is_ready, total, done, refused, waiting, started_at, activated_at
from public.get_model_change()

-- name: refused
select code, message, faces, examples from public.list_refused_faces(%(examples)s)

-- name: compare
select photos, matches_before, matches_after, in_both, without_before, without_after, examples
from public.compare_models(%(photos)s, %(examples)s)

-- name: finish
select public.finish_model_change(%(actor)s)

-- name: roll_back
select public.roll_back_model_change(%(actor)s)

-- name: retire
select public.retire_model_change(%(actor)s)

-- name: preparing_model
select public.preparing_model()

-- name: take
select face_id, image_path
from public.take_faces_to_embed(%(model)s, %(limit)s, make_interval(secs => %(lease_s)s), %(anyway)s)

-- name: store
select public.store_prepared_embeddings(
    %(model)s, %(face_ids)s, %(embeddings)s, %(quality)s, %(detectors)s
)

-- name: refuse
select public.refuse_faces_to_embed(%(model)s, %(face_ids)s, %(codes)s, %(messages)s)

-- name: rescore_matches_for_model
select public.rescore_matches_for_model(%(limit)s)

-- name: recheck_duplicates
select public.recheck_duplicates(%(limit)s)

-- name: delete_unrescored_matches
select public.delete_unrescored_matches(%(limit)s)
