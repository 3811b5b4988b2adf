-- name: is_offered
-- Whether the server has Citus at all.
select exists (select from pg_catalog.pg_available_extensions as e where e.name = 'citus')

-- name: is_installed
select to_regclass('pg_catalog.pg_dist_partition') is not null

-- name: state
-- Whether the copy in use lies in shards, and the one that is being made; null without one.
select automatch.is_distributed() as is_distributed,
    case when to_regclass('public.face_index_next') is not null
        then automatch.is_distributed('public.face_index_next') end as next_is_distributed

-- name: embeddings
-- Whether they are written into shards, and whether all are where they are written.
select automatch.are_embeddings_sharded() as are_sharded,
    case when automatch.are_embeddings_sharded()
        then exists (
            select from pg_catalog.pg_constraint as c
            where c.conrelid = 'public.face_embeddings'::regclass and c.conname = 'embedding_is_in_a_shard'
        )
        else (
            select a.attnotnull from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.face_embeddings'::regclass and a.attname = 'embedding'
        )
    end as are_settled

-- name: begin_sharding
select automatch.begin_sharding()

-- name: end_sharding
select automatch.end_sharding()

-- name: begin_unsharding
select automatch.begin_unsharding()

-- name: end_unsharding
select automatch.end_unsharding()

-- name: people
-- By school, the smallest first.
select coalesce(p.school, '') as school, count(*) as people
from public.profiles as p
group by coalesce(p.school, '')
order by 2, 1

-- name: move_embeddings
select m.upto, m.people from automatch.move_embeddings(%(school)s, %(upto)s, %(people)s) as m

-- name: has_misplaced
-- Whether an embedding is not where it is written now.
select exists (
    select from public.face_embeddings as e where (e.embedding is null) <> (select automatch.are_embeddings_sharded())
)

-- name: begin_copy
select automatch.begin_index_copy(%(shards)s)

-- name: drop_copy
drop table if exists public.face_index_next

-- name: differences
-- Schools whose rows differ in the two copies, the smallest first. A change of a row changes its version.
with old as materialized (
    select i.school, count(*) as faces,
        sum(uuid_hash_extended(i.face_id, i.version::text::bigint)) as hash
    from public.face_index as i
    group by i.school
),
new as materialized (
    select i.school, count(*) as faces,
        sum(uuid_hash_extended(i.face_id, i.version::text::bigint)) as hash
    from public.face_index_next as i
    group by i.school
)
select coalesce(o.school, n.school) as school, coalesce(o.faces, 0)::bigint as faces, n.school is null as is_new
from old as o
full join new as n on n.school = o.school
where o.faces is distinct from n.faces or o.hash is distinct from n.hash
order by 2, 1

-- name: copy_school
insert into public.face_index_next (version, face_id, profile_id, model, school, gender, embedding)
select i.version, i.face_id, i.profile_id, i.model, i.school, i.gender, i.embedding
from public.face_index as i
where i.school = %(school)s

-- name: changed_faces
with old as materialized (
    select i.face_id, i.model, i.gender, i.version from public.face_index as i where i.school = %(school)s
),
new as materialized (
    select i.face_id, i.model, i.gender, i.version from public.face_index_next as i where i.school = %(school)s
)
select distinct c.face_id
from ((select * from old except all select * from new) union all (select * from new except all select * from old)) as c

-- name: drop_faces
delete from public.face_index_next as i where i.school = %(school)s and i.face_id = any (%(faces)s)

-- name: copy_faces
insert into public.face_index_next (version, face_id, profile_id, model, school, gender, embedding)
select i.version, i.face_id, i.profile_id, i.model, i.school, i.gender, i.embedding
from public.face_index as i
where i.school = %(school)s and i.face_id = any (%(faces)s)

-- name: one_after_the_other
-- Several connections to one machine would not see what each other did in this transaction.
select set_config('citus.multi_shard_modify_mode', 'sequential', true)

-- name: be_brief
-- Shorter than a deadlock takes to be found: uploads are not to be ended, but this.
set local lock_timeout = '500ms'

-- name: stop_writers
lock table public.face_index in share mode

-- name: stop_readers
lock table public.face_index in access exclusive mode

-- name: swap
select automatch.swap_index_copy(%(actor)s)

-- name: set_plans
select automatch.set_search_plans()

-- name: wrong_plans
-- Whether searches are planned as one server needs it, and not as a cluster does.
select exists (select from automatch.list_search_plans() as s where s.mode = 'force_generic_plan')

-- name: analyze
analyze public.face_index
