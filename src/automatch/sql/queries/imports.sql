-- name: list_consent_versions
select version from public.consent_texts
