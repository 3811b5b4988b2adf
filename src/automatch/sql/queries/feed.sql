-- name: page
-- Newest first before a position, or oldest first after one.
select
    position, profile_id, match_id, name, school, face_id, own_face_id, similarity, simulated, created_at
from public.feed_page(%(before)s, %(after)s, %(limit)s)

-- name: position
select public.feed_position()

-- name: marks
-- Changes when a person's feed or jobs change.
select profile_id, last_position, jobs_version from public.feed_versions(%(profile_ids)s)

-- name: dismiss
select public.dismiss_match(%(match_id)s)

-- name: block
select public.block_profile(%(profile_id)s)

-- name: unblock
select public.unblock_profile(%(profile_id)s)

-- name: undo_dismissal
select public.undo_dismissal(%(profile_id)s)

-- name: hidden
-- Whom the caller dismissed or blocked, newest first.
select profile_id, name, is_blocked, is_dismissed, since from public.list_hidden_profiles()
