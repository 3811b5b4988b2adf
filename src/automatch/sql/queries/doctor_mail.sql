-- name: waiting
-- A mail is sent within seconds.
select
    count(*) filter (where m.failed or m.error is not null or m.requested_at < automatch.now() - interval '1 minute')
        as waiting,
    (array_agg(m.error order by m.requested_at desc) filter (where m.error is not null))[1] as error
from public.list_mails(1000) as m
