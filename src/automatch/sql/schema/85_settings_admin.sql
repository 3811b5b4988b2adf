-- The settings that live in the database, as operators see and change them.

create function public.read_settings()
returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (to_jsonb(search) || to_jsonb(match) || jsonb_build_object('concurrency', queue.concurrency)) - 'only_row'
    from automatch.search_settings as search
    cross join public.match_settings as match
    cross join automatch.queue_settings as queue
$$;
comment on function public.read_settings() is 'The settings that live in the database, by name.';

create function public.change_setting(p_name text, p_value jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table text := case
        when p_name in ('match_count', 'hold_another_person', 'hold_another_account') then 'public.match_settings'
        when p_name in (
            'audit_one_in', 'index_from', 'index_until', 'most_indexes', 'm', 'ef_construction', 'ef_search'
        ) then 'automatch.search_settings'
    end;
begin
    if v_table is null then
        perform automatch.raise_error('not_found', 'There is no such setting.');
    end if;
    if p_value is null or p_value = 'null' then
        perform automatch.raise_error('input_invalid', 'This setting needs a value.');
    end if;
    execute format(
        'update %1$s set %2$I = (jsonb_populate_record(null::%1$s, jsonb_build_object(%2$L, $1))).%2$I', v_table, p_name
    ) using p_value;
end
$$;
comment on function public.change_setting(text, jsonb) is
    'Change a setting that takes effect by itself, within the bounds that the constraints of its table say.';
