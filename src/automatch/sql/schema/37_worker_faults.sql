-- What keeps a worker from working although the database answers: for operators to see.

create table automatch.worker_faults (
    worker_id uuid primary key,
    message text not null,
    since timestamptz not null default automatch.now(),
    seen_at timestamptz not null default automatch.now()
);
comment on table automatch.worker_faults is
    'Workers that have paused because of a fault of the installation, such as a function that is missing.';

create function public.report_worker_fault(p_worker_id uuid, p_message text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- A worker that was ended while it paused no longer reports.
    delete from automatch.worker_faults as f
    where f.seen_at < automatch.now() - interval '10 minutes' or (p_message is null and f.worker_id = p_worker_id);
    if p_message is not null then
        insert into automatch.worker_faults as f (worker_id, message)
        values (p_worker_id, p_message)
        on conflict (worker_id) do update set message = excluded.message, seen_at = automatch.now();
    end if;
end
$$;
comment on function public.report_worker_fault(uuid, text) is
    'Say what keeps a worker from working; null says that it works again.';
