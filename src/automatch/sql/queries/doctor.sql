-- name: server
select current_setting('server_version')

-- name: connections
-- What others hold is not to be had; poolers listen on a port of their own.
select
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0)
        - (count(*) filter (
            where a.datname is distinct from current_database() or not starts_with(a.application_name, 'automatch')
        ))::integer as available,
    greatest(1, count(*) filter (
        where a.application_name = 'automatch-feed-listen' and a.datname = current_database()
    ))::integer as servers,
    inet_server_port() as port
from pg_catalog.pg_stat_activity as a
where a.backend_type = 'client backend'

-- name: clock
select pg_catalog.clock_timestamp()
