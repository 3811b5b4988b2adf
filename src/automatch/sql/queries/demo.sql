-- name: add_profile
insert into public.profiles (id, name, school, gender, birth_date, simulated)
values (%(id)s, %(name)s, %(school)s, %(gender)s, %(birth_date)s, true)
on conflict (id) do nothing

-- name: add_consent
-- Even simulated people are only found with a consent: the rule has no exception.
insert into public.biometric_consents (profile_id, action, text_version, text_sha256)
select %(id)s, 'granted', t.version, t.sha256
from public.consent_texts as t
where not exists (
    select from public.biometric_consents as c where c.profile_id = %(id)s
)
order by t.published_at desc, t.version desc
limit 1

-- name: add_face
insert into public.faces (id, profile_id, image_path, image_sha256, embedding, embedding_model)
values (
    %(id)s, %(id)s, %(image_path)s, %(image_sha256)s, %(embedding)s,
    (select m.id from public.embedding_models as m where m.active)
)
on conflict (profile_id, image_sha256) do nothing

-- name: list_ids
select id from public.profiles where simulated order by id

-- name: remove
delete from public.profiles where id = %(id)s and simulated
