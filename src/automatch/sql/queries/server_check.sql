-- name: server
-- What this version needs of a server and of the database.
select
    current_setting('server_version_num')::integer / 10000 as version,
    pg_encoding_to_char(d.encoding) as encoding,
    lower('Đ') = 'đ' as folds_letters,
    coalesce(
        (select e.extversion from pg_catalog.pg_extension as e where e.extname = 'vector'),
        (select a.default_version from pg_catalog.pg_available_extensions as a where a.name = 'vector')
    ) as vector_version,
    v.schema as vector_schema,
    -- A schema of somebody else may be closed to them, and a grant there only warns.
    array(
        select r.rolname::text from pg_catalog.pg_roles as r
        where (
            r.rolname = current_user
            or r.rolname in ('automatch_api', 'automatch_worker') and to_regnamespace('automatch') is not null
        )
          and not has_schema_privilege(r.oid, v.oid, 'usage')
        order by 1
    ) as without_vector
from pg_catalog.pg_database as d
left join lateral (
    select n.oid, quote_ident(n.nspname) as schema
    from pg_catalog.pg_extension as e
    join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
    where e.extname = 'vector'
) as v on true
where d.datname = current_database()

-- name: backend
select pg_backend_pid()

-- name: session
select a.pid, a.backend_start from pg_catalog.pg_stat_activity as a where a.pid = pg_backend_pid()

-- name: sees_session
-- A login sees all of its own sessions, and of no other server.
select exists (
    select from pg_catalog.pg_stat_activity as a
    where a.pid = %(pid)s and a.backend_start = %(began_at)s and a.datname = current_database()
)
