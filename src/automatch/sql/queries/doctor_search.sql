-- name: vector
-- The extension, and the newest version that the server offers.
select e.extversion as version, n.nspname as schema, a.default_version as available
from pg_catalog.pg_extension as e
join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
left join pg_catalog.pg_available_extensions as a on a.name = e.extname
where e.extname = 'vector'

-- name: broken_indexes
-- Invalid indexes, except those that are being built right now.
select i.indexrelid::regclass::text
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indrelid
where c.relnamespace in ('public'::regnamespace, 'automatch'::regnamespace)
  and not (i.indisvalid and i.indisready)
  and not exists (
      select from pg_catalog.pg_stat_progress_create_index as p where p.index_relid = i.indexrelid
  )
order by 1

-- name: out_of_sync
-- People whose rows in face_index differ from the rule of automatch.index_faces().
with due as (
    select f.id, p.id as profile_id, p.school, p.gender
    from public.faces as f
    join public.profiles as p on p.id = f.profile_id
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    where p.profile_type = 'user' and p.discoverable and p.school is not null and p.gender is not null
      and automatch.has_consent(p.id)
)
select distinct coalesce(d.profile_id, i.profile_id)
from due as d
full join public.face_index as i on i.face_id = d.id and i.school = d.school and i.gender = d.gender
where i.face_id is null or d.id is null
limit 10000

-- name: lock_profile
select from public.profiles where id = %(profile)s for update

-- name: settings
select threshold, match_count from public.match_settings
