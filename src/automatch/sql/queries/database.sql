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
