-- People who have not been here for long: they are warned by mail, and erased some weeks later.

create table automatch.last_seen (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    seen_at timestamptz not null
);
comment on table automatch.last_seen is
    'To the day, when people with a session were last here: the sessions themselves are deleted a month later.';

create table automatch.inactivity_warnings (
    profile_id uuid primary key references public.profiles (id) on delete cascade,
    warned_at timestamptz not null default automatch.now(),
    mailed_at timestamptz
);
comment on table automatch.inactivity_warnings is 'Who was told that they will be erased. Whoever signs in is taken off.';
comment on column automatch.inactivity_warnings.mailed_at is 'When the mail went out, from which on the weeks count.';

create function automatch.note_last_seen()
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into automatch.last_seen as l (profile_id, seen_at)
    select s.user_id, max(s.refreshed_at)
    from auth.sessions as s
    join public.profiles as p on p.id = s.user_id
    where s.refreshed_at > automatch.now() - interval '3 days'
    group by s.user_id
    order by s.user_id
    on conflict (profile_id) do update set seen_at = excluded.seen_at
    where excluded.seen_at > l.seen_at + interval '1 day';
end
$$;

create function automatch.list_inactive(p_since timestamptz)
returns table (profile_id uuid, email text) language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select p.id, lower(p.email)
    from public.profiles as p
    join auth.users as u on u.id = p.id
    left join automatch.last_seen as l on l.profile_id = p.id
    where not p.simulated and p.profile_type = 'user'
      and not exists (select from automatch.operators as o where o.profile_id = p.id)
      and greatest(p.created_at, u.last_sign_in_at, l.seen_at) < p_since
      and not exists (select from auth.sessions as s where s.user_id = p.id and s.refreshed_at >= p_since)
      and not exists (select from public.faces as f where f.profile_id = p.id and f.created_at >= p_since)
    order by p.id;
end
$$;
comment on function automatch.list_inactive(timestamptz) is 'Who has an account and was not here since then.';

create function public.warn_inactive_people(p_inactive interval, p_mails boolean, p_without_mail boolean)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_since constant timestamptz := automatch.now() - p_inactive;
    v_person record;
    v_count integer := 0;
begin
    -- Where another server keeps the sessions, nobody here knows who was there.
    if to_regclass('auth.sessions') is null then
        return 0;
    end if;
    perform automatch.note_last_seen();
    delete from automatch.inactivity_warnings as w
    where not exists (select from automatch.list_inactive(v_since) as i where i.profile_id = w.profile_id)
        -- The mail was not sent in its time: once more.
        or (w.mailed_at is null and not p_without_mail and w.warned_at < automatch.now() - interval '7 days');
    for v_person in
        select i.profile_id, i.email from automatch.list_inactive(v_since) as i
        where not exists (select from automatch.inactivity_warnings as w where w.profile_id = i.profile_id)
          and ((p_mails and i.email is not null) or p_without_mail)
        limit 100
    loop
        insert into automatch.inactivity_warnings (profile_id) values (v_person.profile_id) on conflict do nothing;
        if p_mails and v_person.email is not null then
            perform public.enqueue_mail('inactive', v_person.email, v_person.profile_id);
        end if;
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
comment on function public.warn_inactive_people(interval, boolean, boolean) is
    'Warn some people who were not here for so long; those without mail only where that is wanted. How many.';

create function public.list_people_to_erase(p_inactive interval, p_grace interval, p_without_mail boolean)
returns setof uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.sessions') is null then
        return;
    end if;
    return query
    select w.profile_id
    from automatch.inactivity_warnings as w
    join automatch.list_inactive(automatch.now() - p_inactive) as i on i.profile_id = w.profile_id
    where case when p_without_mail then coalesce(w.mailed_at, w.warned_at) else w.mailed_at end
        < automatch.now() - p_grace
    order by w.profile_id
    limit 20;
end
$$;
comment on function public.list_people_to_erase(interval, interval, boolean) is
    'Some of those who were warned that long ago and have not come since.';
