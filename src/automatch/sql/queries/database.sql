-- name: become
-- Take a role, its claims and the id of the request until the end of the transaction, and tell whether the session goes on.
select
    public.is_session_live(%(claims)s::text::jsonb),
    set_config('request.jwt.claims', %(claims)s, true),
    set_config('automatch.request_id', %(request_id)s, true),
    set_config('role', %(role)s, true)

-- name: listen_jobs
listen automatch_jobs

-- name: count_as_worker
-- Held as long as the connection; those who hold it are counted (stats.sql). The key of
-- automatch.lock_key('worker'), which this login may not call.
select pg_advisory_lock_shared(hashtextextended('automatch worker', 0))

-- name: listen_feed
listen automatch_feed

-- name: listen_mails
listen automatch_mails

-- name: listen_sessions
listen automatch_sessions

-- name: probe
select 1

-- name: begin
begin

-- name: commit
commit

-- name: reset_session
-- Most of what `discard all` does.
reset session authorization; reset all; unlisten *; close all

-- name: commit_and_reset_session
commit;
reset session authorization; reset all; unlisten *; close all
