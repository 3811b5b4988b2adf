-- What workers without work look for: one statement for all that they would else ask in several.

create function public.look_around()
returns table (
    due_s double precision, has_leader boolean, schema_version integer, oldest_program integer, preparing_model text
)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select
        public.seconds_to_next_match_job(),
        exists (select from automatch.maintenance_leader as l where l.leads_until > automatch.now()),
        s.version, s.oldest_program, public.preparing_model()
    from public.schema_version() as s
$$;
comment on function public.look_around() is
    'When the next job can be claimed, whether a worker leads the maintenance, the schema, and the model with which '
    'stored photos are embedded.';

create function public.await_turn(p_wait interval)
returns table (
    is_registered boolean, due_s double precision, has_leader boolean, schema_version integer, oldest_program integer,
    preparing_model text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_registered constant boolean := public.register_idle(p_wait);
begin
    -- A statement of its own, which sees what was committed while this one waited.
    return query select v_is_registered, l.* from public.look_around() as l;
end
$$;
comment on function public.await_turn(interval) is 'register_idle(), then look_around().';
