-- How often one person, account or network address may do something, counted for all servers together.
--
-- A limit of n in s seconds is a bucket of n charges that fills again steadily within s seconds. A row keeps when its
-- bucket will be full, which is all there is to know (the generic cell rate algorithm); a full bucket needs no row.

-- Unlogged: a crash fills all buckets, and a charge writes nothing to the log.
create unlogged table automatch.rate_limits (
    key bytea primary key,
    full_at timestamptz not null
) with (fillfactor = 50);
comment on table automatch.rate_limits is
    'Buckets that are not full, by a keyed hash of the limit and of whom it is for; the address itself is not kept.';

create function public.get_rate_limit_wait(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns double precision language sql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
    select coalesce(greatest(max(
        extract(epoch from l.full_at - automatch.now())::float8 - c.seconds * (c.count - 1) / c.count
    ), 0), 0)
    from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
    join automatch.rate_limits as l on l.key = c.key
$$;
comment on function public.get_rate_limit_wait(bytea[], integer[], double precision[]) is
    'Seconds until all buckets have a charge left; 0 if they have one now.';

create function public.refund_rate_limits(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    -- In the order in which they are charged, so that nobody waits in a circle.
    perform from automatch.rate_limits as l where l.key = any (p_keys) order by l.key for update;
    update automatch.rate_limits as l
    set full_at = l.full_at - make_interval(secs => c.seconds / c.count)
    from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
    where l.key = c.key;
end
$$;
comment on function public.refund_rate_limits(bytea[], integer[], double precision[]) is 'Undo a charge.';

create function public.charge_rate_limits(p_keys bytea[], p_counts integer[], p_seconds double precision[])
returns double precision language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now constant timestamptz := automatch.now();
    -- Most of a flood is refused here, without a write.
    v_wait double precision := public.get_rate_limit_wait(p_keys, p_counts, p_seconds);
begin
    if v_wait > 0 then
        return v_wait;
    end if;
    with charged as (
        insert into automatch.rate_limits as l (key, full_at)
        select c.key, v_now + make_interval(secs => c.seconds / c.count)
        from unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds)
        order by c.key
        on conflict (key) do update set full_at = greatest(l.full_at, v_now) + (excluded.full_at - v_now)
        returning l.key, l.full_at
    )
    select coalesce(max(extract(epoch from l.full_at - v_now)::float8 - c.seconds), 0) into v_wait
    from charged as l
    join unnest(p_keys, p_counts, p_seconds) as c (key, count, seconds) on c.key = l.key;
    -- More than rounding: somebody took the last charge at the same time.
    if v_wait > 0.001 then
        perform public.refund_rate_limits(p_keys, p_counts, p_seconds);
        return v_wait;
    end if;
    return 0;
end
$$;
comment on function public.charge_rate_limits(bytea[], integer[], double precision[]) is
    'Take one charge from each bucket and return 0; where one is empty, take none and return the seconds to wait.';

create function automatch.charge_act(p_act text, p_count integer, p_message text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if public.charge_rate_limits(
        array[sha256(convert_to(p_act || ' ' || automatch.uid(), 'UTF8'))], array[p_count], array[86400::float8]
    ) > 0 then
        perform automatch.raise_error('rate_limited', p_message);
    end if;
end
$$;
comment on function automatch.charge_act(text, integer, text) is
    'Count an act of the caller, which people reach without a server too; an error when there were too many in a day. '
    'After all other locks.';

create function public.clean_up_rate_limits()
returns integer language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with deleted as (
        delete from automatch.rate_limits as l
        where l.key = any (array(
            select old.key from automatch.rate_limits as old
            where old.full_at < automatch.now()
            limit 5000
            for update skip locked
        ))
        returning l.key
    )
    select count(*)::integer from deleted
$$;
comment on function public.clean_up_rate_limits() is
    'Delete buckets that are full, at most 5,000; call again while it returns that many.';
