-- name: create_user
-- The new id; null when the address is taken.
select auth.create_user(%(email)s, %(encrypted_password)s, %(data)s)

-- name: find_credentials
select id, encrypted_password from auth.find_credentials(%(email)s)

-- name: start_session
select auth.start_session(%(user_id)s, %(token_sha256)s)

-- name: rotate_refresh_token
-- Who the token belongs to; no row when it is unknown, spent or too old.
select session_id, user_id
from auth.rotate_refresh_token(
    %(token_sha256)s, %(new_token_sha256)s,
    make_interval(secs => %(reuse_s)s), make_interval(secs => %(unused_s)s)
)

-- name: end_sessions
select auth.end_sessions(%(session_id)s, %(scope)s)

-- name: update_user
-- Null leaves a value as it is.
select auth.update_user(%(session_id)s, %(encrypted_password)s, %(data)s)

-- name: load_session_user
-- Who is signed in by a session; no row once it has ended.
select id, email, app_metadata, user_metadata, created_at, last_sign_in_at
from auth.session_user_of(%(session_id)s)

-- name: erase_account
select public.erase_account()
