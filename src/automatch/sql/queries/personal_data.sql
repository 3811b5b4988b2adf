-- name: export
select part, item from public.export_person(%(profile_id)s, %(salt)s)
