-- name: become
-- Take a role and its claims until the end of the transaction.
select
    set_config('request.jwt.claims', %(claims)s, true),
    set_config('role', %(role)s, true)

-- name: listen_jobs
listen automatch_jobs

-- name: listen_feed
listen automatch_feed

-- name: probe
select 1

-- name: begin
begin

-- name: commit
commit

-- name: reset_session
-- What `discard all` does, without the prepared statements.
reset session authorization; reset all; unlisten *; close all; select pg_catalog.pg_advisory_unlock_all()

-- name: commit_and_reset_session
commit;
reset session authorization; reset all; unlisten *; close all; select pg_catalog.pg_advisory_unlock_all()
