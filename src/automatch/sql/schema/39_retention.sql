-- Rows that are kept for a time only: sessions, tokens, mails, views of photos, and records of what was done.

create function public.delete_expired_rows(
    p_sessions interval, p_audit_log interval, p_cron_runs interval, p_net_responses interval, p_mails interval,
    p_photo_views interval, p_cases interval, p_case_texts interval
)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rule record;
    v_count integer;
    v_total integer := 0;
begin
    for v_rule in
        select r.relation, r.written, automatch.now() - r.age as until,
            case r.relation
                when 'automatch.audit_log' then 'automatch.is_audit_over(object_id, $1)'
                when 'automatch.push_subscriptions'
                    then '(session_id is null and renewed_at < $1 - interval ''30 days'''
                        ' or not public.is_session_live(jsonb_build_object(''sub'', profile_id, ''session_id'', session_id)))'
                else 'true'
            end as condition
        from (values
            ('automatch.audit_log', 'recorded_at', p_audit_log),
            ('auth.sessions', 'refreshed_at', p_sessions),
            -- Used ones are kept to detect theft.
            ('auth.refresh_tokens', 'used_at', '7 days'),
            ('auth.one_time_tokens', 'expires_at', '0 seconds'),
            ('auth.email_changes', 'expires_at', '0 seconds'),
            ('auth.users', 'confirm_by', '0 seconds'),
            ('automatch.mails', 'requested_at', p_mails),
            ('automatch.photo_searches', 'counted_at', '1 day'),
            ('automatch.departures', 'left_at', '1 year'),
            ('automatch.history', 'starts_at', '30 days'),
            ('automatch.upload_refusals', 'starts_at', '30 days'),
            ('automatch.bans', 'ends_at', '0 seconds'),
            ('automatch.backup_runs', 'started_at', '1 year'),
            ('automatch.photo_views', 'first_at', p_photo_views),
            ('automatch.push_subscriptions', 'renewed_at', '0 seconds'),
            ('automatch.cases', 'unproven_until', '0 seconds'),
            ('automatch.cases', 'decided_at', p_cases),
            ('automatch.case_messages', 'closed_at', p_case_texts),
            ('automatch.case_contacts', 'closed_at', p_case_texts),
            ('cron.job_run_details', 'start_time', p_cron_runs),
            ('net._http_response', 'created', p_net_responses)
        ) as r (relation, written, age)
        join pg_class as c on c.oid = to_regclass(r.relation)
        -- What Supabase or an extension keeps is not ours to delete.
        where c.relowner = current_user::regrole
          and not exists (
              select from pg_depend as d
              where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
          )
    loop
        execute format(
            'delete from %1$s where ctid = any (array('
            'select ctid from %1$s where %2$I < $1 and %3$s order by %2$I limit 2000 for update skip locked))',
            v_rule.relation, v_rule.written, v_rule.condition
        ) using v_rule.until;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
    end loop;
    return v_total;
end
$$;
comment on function public.delete_expired_rows(
    interval, interval, interval, interval, interval, interval, interval, interval
) is
    'Delete what is older, at most 2,000 rows of each table; the number of rows. Call again until it is 0.';

create function public.delete_old_matches(p_age interval, p_limit integer default 200)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids constant uuid[] := array(
        select m.id from public.matches as m
        where m.created_at < automatch.now() - p_age
        order by m.created_at
        limit p_limit
    );
begin
    perform automatch.lock_feeds(array(
        select unnest(array[m.profile_a_id, m.profile_b_id]) from public.matches as m where m.id = any (v_ids)
    ));
    delete from public.matches as m where m.id = any (v_ids);
    return cardinality(v_ids);
end
$$;
comment on function public.delete_old_matches(interval, integer) is
    'Delete some matches that are older, from both feeds. How many; call again until it is 0.';
