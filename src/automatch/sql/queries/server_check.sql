-- name: server
-- What this version needs of a server and of the database.
select
    current_setting('server_version_num')::integer / 10000 as version,
    pg_encoding_to_char(d.encoding) as encoding,
    lower('Đ') = 'đ' as folds_letters,
    coalesce(
        (select e.extversion from pg_catalog.pg_extension as e where e.extname = 'vector'),
        (select a.default_version from pg_catalog.pg_available_extensions as a where a.name = 'vector')
    ) as vector_version
from pg_catalog.pg_database as d
where d.datname = current_database()

-- name: backend
select pg_backend_pid()
