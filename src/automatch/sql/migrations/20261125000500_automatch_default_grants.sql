-- A Supabase project grants whatever is made in public to everybody, sequences included; and
-- some operators take the use of public away from everybody.

revoke all on sequence public.biometric_consents_id_seq from public, anon, authenticated, service_role;

-- The logins resolve names before they become anyone.
grant usage on schema public to anon, authenticated, service_role, automatch_api, automatch_worker;
