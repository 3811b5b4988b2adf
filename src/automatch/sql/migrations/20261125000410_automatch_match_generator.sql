-- What POST /functions/v1/match-generator asks the queue. It changes nothing: workers do the work.

create function public.list_due_match_jobs(p_limit integer)
returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    (
        select j.id from public.match_jobs as j
        where j.status = 'pending' and not j.deferred
        order by j.pos
        limit p_limit
    )
    union all
    (
        select j.id from public.match_jobs as j
        where j.status = 'pending' and j.deferred and j.run_at <= (select automatch.now())
        order by j.run_at
        limit p_limit
    )
    union all
    (
        -- Of workers that are gone, before anybody has taken them back.
        select j.id from public.match_jobs as j
        where j.status = 'processing' and j.lease_expires_at < (select automatch.now())
        limit p_limit
    )
    limit p_limit
$$;
comment on function public.list_due_match_jobs(integer) is
    'Jobs that wait for a worker, in their order. Those of a paused queue too; those of a paused school not.';

create function public.follow_match_jobs(p_job_ids uuid[])
returns table (open integer, matches integer, paused boolean, worker_is_alive boolean)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    select
        -- What was erased with its photo, or put off after a failure, is nothing to wait for.
        count(*) filter (
            where j.status = 'processing'
               or j.status = 'pending' and (not j.deferred or j.run_at <= (select automatch.now()))
        )::integer,
        coalesce(sum(j.match_count) filter (where j.status = 'completed'), 0)::integer,
        (select q.paused from automatch.queue_settings as q),
        exists (
            select from public.match_jobs as held
            where held.status = 'processing' and held.lease_expires_at > (select automatch.now())
        )
    from public.match_jobs as j
    where j.id = any (p_job_ids)
$$;
comment on function public.follow_match_jobs(uuid[]) is
    'How many of these jobs have not ended, the matches that the others found, whether the queue is paused, and whether '
    'some worker holds a job under a live lease.';

revoke execute on function public.list_due_match_jobs(integer), public.follow_match_jobs(uuid[])
    from public, anon, authenticated, service_role;
grant execute on function public.list_due_match_jobs(integer), public.follow_match_jobs(uuid[]) to automatch_api;
