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

-- name: differing_schools
-- Schools whose rows in face_index are not those of automatch.findable_faces: by sums, which each shard makes of its own.
with findable as materialized (
    select f.school, f.model, f.gender, count(*) as faces, sum(uuid_hash_extended(f.face_id, 0)) as hash
    from automatch.findable_faces as f
    group by f.school, f.model, f.gender
),
indexed as materialized (
    select i.school, i.model, i.gender, count(*) as faces, sum(uuid_hash_extended(i.face_id, 0)) as hash
    from public.face_index as i
    group by i.school, i.model, i.gender
)
select distinct coalesce(f.school, i.school)
from findable as f
full join indexed as i on i.school = f.school and i.model = f.model and i.gender = f.gender
where f.faces is distinct from i.faces or f.hash is distinct from i.hash

-- name: out_of_sync
-- The people of these schools whose rows differ. By face first, or text is compared for each.
with findable as materialized (
    select f.face_id, f.profile_id, f.model, f.school, f.gender
    from automatch.findable_faces as f
    where f.school = any (%(schools)s)
),
indexed as materialized (
    select i.face_id, i.profile_id, i.model, i.school, i.gender
    from public.face_index as i
    where i.school = any (%(schools)s)
)
select distinct coalesce(f.profile_id, i.profile_id)
from findable as f
full join indexed as i
    on i.face_id = f.face_id and i.model = f.model and i.school = f.school and i.gender = f.gender
where i.face_id is null or f.face_id is null
limit 10000

-- name: lock_profile
select from public.profiles where id = %(profile)s for update

-- name: unindex_faces
-- Wherever rows of a person were left.
delete from public.face_index where profile_id = %(profile)s

-- name: index_faces
select automatch.index_faces(array(select f.id from public.faces as f where f.profile_id = %(profile)s))

-- name: settings
select threshold, match_count from public.match_settings
