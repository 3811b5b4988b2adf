-- name: settings
select audit_one_in, index_from, index_until, most_indexes, m, ef_construction, ef_search
from automatch.search_settings

-- name: change
-- Null leaves a setting as it is.
update automatch.search_settings
set audit_one_in = coalesce(%(audit_one_in)s, audit_one_in),
    index_from = coalesce(%(index_from)s, index_from),
    index_until = coalesce(%(index_until)s, index_until),
    most_indexes = coalesce(%(most_indexes)s, most_indexes),
    m = coalesce(%(m)s, m),
    ef_construction = coalesce(%(ef_construction)s, ef_construction),
    ef_search = coalesce(%(ef_search)s, ef_search)

-- name: groups
select school, gender, faces, index_name, coalesce(index_ready, false) as index_ready, index_bytes, audits, recall
from automatch.list_search_groups(%(limit)s)

-- name: indexes
-- Groups with an index, ready or not, and their current size.
select x.school, x.gender, x.index_name, x.ready, x.m, x.ef_construction, coalesce(g.faces, 0) as faces
from automatch.group_indexes as x
left join automatch.list_search_groups(null) as g on g.school = x.school and g.gender = x.gender
where x.model = public.active_embedding_model()
order by x.school, x.gender

-- name: samples
-- Faces of the people who search this group.
with faces as materialized (
    select i.model, i.face_id
    from public.face_index as i
    where i.model = %(model)s and i.school = %(school)s and i.gender <> %(gender)s
    order by i.face_id
    limit %(count)s
)
select coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id))
from faces as f
join public.face_embeddings as e on e.model = f.model and e.face_id = f.face_id

-- name: search
-- The matches of find_candidates() with the settings in use.
select c.profile_id
from public.match_settings as s
cross join lateral automatch.find_candidates(
    %(embedding)s, %(school)s, %(gender)s, '{}', s.threshold, s.match_count
) as c

-- name: plan_index
-- Record the index before it is built; returns the statement that builds it.
with planned as (
    insert into automatch.group_indexes (model, school, gender, index_name, m, ef_construction)
    select m.id, %(school)s, %(gender)s,
        'face_index_of_' || left(md5(m.id || '/' || %(school)s || '/' || %(gender)s), 16), s.m, s.ef_construction
    from automatch.search_settings as s
    join public.embedding_models as m on m.active
    returning *
)
select p.index_name, format(
    'create index concurrently %%1$I on %%2$s using hnsw ((embedding::%%8$I.halfvec(%%3$s)) %%8$I.halfvec_ip_ops) '
    'with (m = %%4$s, ef_construction = %%5$s) where school = %%6$L and gender = %%7$L',
    p.index_name,
    automatch.find_group_partition(p.model, p.school, p.gender),
    (select m.dimensions from public.embedding_models as m where m.id = p.model),
    p.m, p.ef_construction, p.school, p.gender,
    (select e.extnamespace::regnamespace from pg_catalog.pg_extension as e where e.extname = 'vector')
)
from planned as p

-- name: use_index
update automatch.group_indexes set ready = true, built_at = automatch.now() where index_name = %(index_name)s

-- name: stop_using_index
update automatch.group_indexes set ready = false where index_name = %(index_name)s

-- name: drop_index
-- The statement that drops an index, if it exists.
select format('drop index concurrently if exists public.%%I', %(index_name)s::text)

-- name: forget_index
delete from automatch.group_indexes where index_name = %(index_name)s

-- name: progress
-- The phase of the index build, and the fraction that is done.
select p.phase, coalesce(p.tuples_done::float8 / nullif(p.tuples_total, 0),
    p.blocks_done::float8 / nullif(p.blocks_total, 0), 0)
from pg_catalog.pg_stat_progress_create_index as p
where p.pid = %(pid)s

-- name: partitions
-- Each with its size in bytes.
select c.relname, pg_catalog.pg_relation_size(c.oid)
from pg_catalog.pg_partition_tree('public.face_index') as t
join pg_catalog.pg_class as c on c.oid = t.relid
where t.isleaf
order by c.oid

-- name: scattered
-- The fraction of a partition's rows that are stored apart from their group.
select coalesce(
    greatest(
        count(*) filter (where r.begins) - count(distinct (r.school, r.gender)), 0
    )::float8 / nullif(count(*), 0), 0)
from (
    select i.school, i.gender,
        (i.school, i.gender) is distinct from lag((i.school, i.gender)) over (order by i.ctid) as begins
    from public.face_index as i
    where i.tableoid = ('public.' || quote_ident(%(partition)s::text))::regclass
) as r

-- name: cluster
select format('cluster public.%%I using %%I', %(partition)s::text, %(partition)s || '_pkey')

-- name: be_brief
-- Bounds how long uploads wait behind this session's lock request.
select set_config('lock_timeout', '200ms', false), set_config('statement_timeout', '0', false)

-- name: be_patient
-- For statements that block nobody while they wait.
select set_config('lock_timeout', '0', false)

-- name: build_in_memory
-- A graph larger than this memory is built on disk, many times slower. In one process: parallel workers
-- would need a shared segment of this size, and the cores are for uploads.
select set_config('maintenance_work_mem', '1GB', false),
    set_config('max_parallel_maintenance_workers', '0', false)
