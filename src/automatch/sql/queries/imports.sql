-- name: list_consent_versions
select version from public.consent_texts

-- name: find_photo
select public.find_imported_photo(%(import_id)s, %(row)s, %(email)s, %(image_sha256)s)

-- name: import_photo
select public.import_photo(
    %(import_id)s, %(row)s, %(email)s, %(name)s, %(school)s, %(gender)s, %(birth_date)s,
    %(consent_version)s, %(consent_at)s, %(consent_evidence)s,
    %(face_id)s, %(image_path)s, %(image_sha256)s
)

-- name: count_jobs
select photos, open_jobs from public.count_import_jobs(%(import_id)s)

-- name: list_refusals
select row_number, code, message
from public.list_import_failures(%(import_id)s, %(after_row)s, %(limit)s)

-- name: finish
select public.finish_import(%(import_id)s, %(actor)s)
