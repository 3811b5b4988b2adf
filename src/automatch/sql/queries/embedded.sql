-- name: durability
-- What a commit's promise rests on, as the running server has it.
select name
from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums')
  and setting <> 'on'
