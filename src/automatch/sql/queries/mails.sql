-- name: set_language
-- What the mails that this transaction asks for are written in.
select set_config('automatch.language', %(language)s, true)
