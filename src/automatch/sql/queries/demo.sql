-- name: add_profile
insert into public.profiles (id, name, school, gender, birth_date, simulated)
values (%(id)s, %(name)s, %(school)s, %(gender)s, %(birth_date)s, true)
on conflict (id) do nothing

-- name: find_school
select (automatch.find_school(%(school)s)).name

-- name: add_membership
insert into automatch.memberships (profile_id, school_id, proof)
select %(id)s, s.id, 'approval' from automatch.schools as s where s.name = %(school)s and not s.is_open
on conflict do nothing

-- name: add_consent
-- Even simulated people are only found with a consent: the rule has no exception.
insert into public.biometric_consents (profile_id, action, text_version)
select %(id)s, 'granted', t.version
from public.consent_texts as t
where not exists (
    select from public.biometric_consents as c where c.profile_id = %(id)s
)
order by t.published_at desc, t.version desc
limit 1

-- name: add_face
with face as (
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (%(id)s, %(id)s, %(image_path)s, %(image_sha256)s)
    on conflict (profile_id, image_sha256) do nothing
    returning id
)
insert into public.face_embeddings (model, face_id, embedding, quality)
select public.active_embedding_model(), f.id, %(embedding)s, %(quality)s from face as f

-- name: search_for
select public.enqueue_match_job(%(id)s)

-- name: list_ids
select id from public.profiles where simulated order by id

-- name: remove
delete from public.profiles where id = %(id)s and simulated
