-- name: be_careful
-- For a session that only looks, and holds nobody up.
select
    set_config('default_transaction_read_only', 'on', false),
    set_config('statement_timeout', '10s', false),
    set_config('lock_timeout', '2s', false)

-- name: audit
-- What was put right, in the transaction that did it.
select automatch.audit(%(actor)s, 'doctor', %(details)s)

-- name: server
select current_setting('server_version_num')::integer as number, current_setting('server_version') as name

-- name: clock
select pg_catalog.clock_timestamp()
