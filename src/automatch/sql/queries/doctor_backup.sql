-- name: runs
-- The last good backup, and why the last one failed if it did.
select
    good.started_at as made_at, good.encrypted,
    coalesce(good.started_at < automatch.now() - make_interval(hours => %(hours)s), false) as is_old,
    (
        select r.error from automatch.backup_runs as r
        where r.finished_at is not null order by r.started_at desc, r.id desc limit 1
    ) as error,
    (select count(*) from automatch.erased_people as e where e.erased_at > good.started_at) as erased_since
from (select 1) as always
left join lateral (
    select r.started_at, r.encrypted from automatch.backup_runs as r
    where r.name is not null order by r.started_at desc, r.id desc limit 1
) as good on true
