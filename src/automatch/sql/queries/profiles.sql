-- name: load
-- The caller's own profile; row level security leaves no other.
select id, email, name, school, gender, birth_date, profile_type, discoverable, admitted,
    language
from public.profiles
where id = automatch.uid()

-- name: set_change_limits
-- What save_profile() counts by, until the end of the transaction.
select
    set_config('automatch.changes_a_year', %(a_year)s::text, true),
    set_config('automatch.settling_hours', %(settling_hours)s::text, true)

-- name: load_consent
-- What the caller agreed to or withdrew last.
select
    c.action = 'granted' as granted,
    automatch.must_consent_again(c.profile_id) as outdated,
    c.recorded_at,
    t.version,
    t.language,
    t.body as text
from public.biometric_consents as c
join public.consent_texts as t on t.version = c.text_version
where c.profile_id = automatch.uid()
order by c.id desc
limit 1

-- name: list_consents
-- Newest first; row level security leaves the caller's own.
select b.text_version as version, t.body as text, b.action = 'granted' as granted, b.recorded_at
from public.biometric_consents as b
join public.consent_texts as t on t.version = b.text_version
where b.profile_id = automatch.uid()
order by b.id desc

-- name: set_address_hash
select set_config('automatch.address_hash', %(address_hash)s, true)
