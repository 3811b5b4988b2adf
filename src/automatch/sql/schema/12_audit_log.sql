-- The log of what operators did and looked at.

create function automatch.people_of(p_details jsonb)
returns text[] language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select array(select jsonb_array_elements_text(p_details -> 'people') where jsonb_typeof(p_details -> 'people') = 'array')
        || array_remove(array[p_details ->> 'person'], null)
$$;
comment on function automatch.people_of(jsonb) is
    'Ids of people whom an act concerns besides its object: details name one as person, several as people.';

create table automatch.audit_log (
    id bigint generated always as identity primary key,
    recorded_at timestamptz not null default automatch.now(),
    actor text not null,
    action text not null,
    -- Of the person, photo or case that was looked at or changed. No foreign key: the row outlives it.
    object_id uuid,
    reason text,
    details jsonb not null default '{}'
);
comment on table automatch.audit_log is
    'Insert-only. actor is `operator:` with the id of a profile, or the name that whoever has the machine or a key gave.';
create index audit_log_recorded_idx on automatch.audit_log (recorded_at desc, id desc);
create index audit_log_object_idx on automatch.audit_log (object_id, id desc);
create index audit_log_people_idx on automatch.audit_log using gin (automatch.people_of(details));

create function automatch.audit(
    p_actor text, p_action text, p_details jsonb, p_object_id uuid default null, p_reason text default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.audit_log (actor, action, details, object_id, reason)
    values (
        -- session_user is the login; current_user is the owner of this function.
        left(coalesce(nullif(btrim(p_actor), ''), session_user::text), 200), p_action, jsonb_strip_nulls(p_details),
        p_object_id, left(p_reason, 200)
    )
$$;

create function automatch.is_audit_over(p_object_id uuid, p_until timestamptz)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select not exists (select from public.profiles as p where p.id = p_object_id)
        and not exists (
            select from automatch.audit_log as a where a.object_id = p_object_id and a.recorded_at >= p_until
        )
$$;
comment on function automatch.is_audit_over(uuid, timestamptz) is
    'Whether old rows may go: what they are about is gone, and so is the last row about it.';

create function automatch.audit_erasure()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from automatch.audit_log as a where a.object_id = old.id) then
        perform automatch.audit('database', 'person_erased', '{}', old.id);
    end if;
    return null;
end
$$;
comment on function automatch.audit_erasure() is
    'From this row on, those about the person are kept as long as any other, whoever erased them.';

create trigger profiles_audit_erasure after delete on public.profiles
for each row execute function automatch.audit_erasure();

create function public.record_act(
    p_actor text, p_action text, p_object_id uuid default null, p_reason text default null, p_details jsonb default '{}'
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$ select automatch.audit(p_actor, p_action, p_details, p_object_id, p_reason) $$;
comment on function public.record_act(text, text, uuid, text, jsonb) is
    'Record an act or a look of an operator, in the transaction of the act.';

create function public.list_audit_log(
    p_limit integer default 50, p_person_id uuid default null, p_action text default null,
    p_actor text default null, p_before bigint default null
)
returns table (
    id bigint, recorded_at timestamptz, actor text, action text, object_id uuid, reason text, details jsonb
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select a.id, a.recorded_at, a.actor, a.action, a.object_id, a.reason, a.details
    from automatch.audit_log as a
    where (
            p_person_id is null or a.object_id = p_person_id
            or automatch.people_of(a.details) @> array[p_person_id::text]
        )
        and (p_action is null or a.action = p_action)
        and (p_actor is null or a.actor = p_actor)
        and (p_before is null or a.id < p_before)
    order by a.id desc
    limit least(greatest(p_limit, 1), 1000)
$$;
comment on function public.list_audit_log(integer, uuid, text, text, bigint) is
    'What operators did and looked at, newest first; about one person, of one action or actor, before one entry.';
