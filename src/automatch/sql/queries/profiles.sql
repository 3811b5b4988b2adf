-- name: load
-- The caller's own profile; row level security leaves no other.
select id, email, name, school, gender, birth_date, profile_type, discoverable
from public.profiles
where id = automatch.uid()

-- name: load_consent
select
    t.version,
    t.body as text,
    coalesce(c.action = 'granted', false) as granted,
    c.recorded_at
from public.consent_texts as t
left join lateral (
    select b.action, b.recorded_at
    from public.biometric_consents as b
    where b.profile_id = automatch.uid()
    order by b.id desc
    limit 1
) as c on true
order by t.published_at desc, t.version desc
limit 1
