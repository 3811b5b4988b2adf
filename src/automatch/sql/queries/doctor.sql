-- name: server
select current_setting('server_version_num')::integer as number, current_setting('server_version') as name

-- name: clock
select pg_catalog.clock_timestamp()
