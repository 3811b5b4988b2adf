-- The log of what operators did.

create table automatch.audit_log (
    id bigint generated always as identity primary key,
    recorded_at timestamptz not null default automatch.now(),
    actor text not null,
    action text not null,
    details jsonb not null default '{}'
);
comment on table automatch.audit_log is 'Insert-only. actor is the name that the operator gave.';
create index audit_log_recorded_idx on automatch.audit_log (recorded_at desc, id desc);

create function automatch.audit(p_actor text, p_action text, p_details jsonb)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.audit_log (actor, action, details)
    -- session_user is the login; current_user is the owner of this function.
    values (left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200), p_action, jsonb_strip_nulls(p_details))
$$;

create function public.list_audit_log(p_limit integer default 50)
returns table (id bigint, recorded_at timestamptz, actor text, action text, details jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.id, a.recorded_at, a.actor, a.action, a.details
    from automatch.audit_log as a
    order by a.recorded_at desc, a.id desc
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_audit_log(integer) is 'What operators did, newest first.';
