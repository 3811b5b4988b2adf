-- Which worker does the maintenance. Two that do it at once harm nothing; all of them would be wasteful.

create table automatch.maintenance_leader (
    singleton boolean primary key default true check (singleton),
    worker_id uuid not null,
    leads_until timestamptz not null
);
comment on table automatch.maintenance_leader is 'The worker that does the maintenance, until it no longer says so.';

create function public.lead_maintenance(p_worker_id uuid, p_for interval)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from automatch.maintenance_leader as l
        where l.worker_id <> p_worker_id and l.leads_until > automatch.now()
    ) then
        return false;
    end if;
    insert into automatch.maintenance_leader as l (worker_id, leads_until)
    values (p_worker_id, automatch.now() + p_for)
    on conflict (singleton) do update set worker_id = p_worker_id, leads_until = excluded.leads_until
        where l.worker_id = p_worker_id or l.leads_until <= automatch.now();
    return found;
end
$$;
comment on function public.lead_maintenance(uuid, interval) is
    'Lead, or go on leading, for that long; false while another worker leads. With 0 a leader steps down.';
