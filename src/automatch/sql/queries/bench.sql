-- name: add_accounts
with account as (
    insert into auth.users (email, encrypted_password)
    select gen_random_uuid() || '@bench.invalid', '!' from generate_series(1, %(count)s)
    returning id
)
insert into auth.sessions (user_id) select a.id from account as a returning user_id, id

-- name: fill_profiles
update public.profiles
set name = 'Person', school = %(school)s, gender = %(gender)s, birth_date = date '2000-02-29'
where id = any (%(ids)s)

-- name: consent
insert into public.biometric_consents (profile_id, action, text_version)
select i.id, 'granted', (
    select t.version from public.consent_texts as t order by t.published_at desc, t.version desc limit 1
)
from unnest(%(ids)s::uuid[]) as i (id)

-- name: count_open_jobs
select count(*) from public.match_jobs where status in ('pending', 'processing')

-- name: count_uncompared_photos
-- Those of people who are new to their school.
select count(*) from automatch.duplicate_checks

-- name: measure_face_tables
-- Bytes, with indexes: of the copy for searches, and of the other tables of faces.
select
    coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relname ~ '^face_index'), 0)::bigint as index,
    coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relname !~ '^face_index'), 0)::bigint as tables
from pg_class as c
where c.relkind = 'r' and c.relname ~ '^(face_index|faces|profiles|face_embeddings|feed_counters)'
