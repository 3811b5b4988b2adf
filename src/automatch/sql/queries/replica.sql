-- name: position
-- All that was committed until now is before it. Without synchronous_commit a commit is not on the disk yet.
select
    s.system_identifier,
    case current_setting('synchronous_commit')
        when 'off' then pg_current_wal_insert_lsn() else pg_current_wal_flush_lsn()
    end::text
from pg_control_system() as s

-- name: has_replayed
-- Whether this replica has all until that position; null if it follows another server, or none.
select case when pg_is_in_recovery() and s.system_identifier = %(system)s
    then pg_last_wal_replay_lsn() >= %(position)s::pg_lsn
end
from pg_control_system() as s
