-- Erasing a person: what goes, and who is not to come back. Ids are kept as hashes; they were random.

create table automatch.erased_people (
    person_sha256 text primary key,
    erased_at timestamptz not null default automatch.now(),
    act text not null,
    is_logged boolean not null default false,
    constraint act_is_known check (act in ('person', 'operator', 'retention', 'restore', 'other'))
);
comment on table automatch.erased_people is
    'Everybody who was erased. The same lines are in a file outside of the database: whoever is there and not here was '
    'brought back by a restore.';
comment on column automatch.erased_people.is_logged is 'Whether the line is in the file.';
create index erased_people_to_log_idx on automatch.erased_people (erased_at) where not is_logged;

create function automatch.person_erased()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not old.simulated then
        insert into automatch.erased_people (person_sha256, act)
        values (
            automatch.text_sha256(old.id::text),
            coalesce(nullif(current_setting('automatch.erasure_act', true), ''), 'other')
        )
        on conflict do nothing;
    end if;
    return null;
end
$$;
comment on function automatch.person_erased() is 'However a person is erased, it is remembered that they are.';

create trigger profiles_erased_for_good after delete on public.profiles
for each row execute function automatch.person_erased();

create function automatch.count_rows_of_person(p_profile_id uuid)
returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table record;
    v_person record;
    v_models constant text[] := array(select m.id from public.embedding_models as m);
    v_count bigint;
    v_counts jsonb := jsonb_build_object();
    v_sessions uuid[] := array[]::uuid[];
    v_faces constant uuid[] := array(select f.id from public.faces as f where f.profile_id = p_profile_id);
begin
    if to_regclass('auth.sessions') is not null then
        execute 'select array(select id from auth.sessions where user_id = $1)' into v_sessions using p_profile_id;
    end if;
    -- All that the foreign keys delete, so that a table of tomorrow is counted too.
    for v_table in
        select k.name, string_agg(format('%I = any ($%s)', k.key, k.parameter), ' or ') as condition
        from (
            select c.conrelid::regclass as name, a.attname as key, case c.confrelid
                when to_regclass('public.faces') then 2 when to_regclass('auth.sessions') then 3 else 1
            end as parameter
            from pg_constraint as c
            join pg_class as t on t.oid = c.conrelid and not t.relispartition
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
            where c.contype = 'f' and c.confdeltype = 'c' and c.confrelid in (
                to_regclass('public.profiles'), to_regclass('public.faces'), to_regclass('automatch.feed_counters'),
                to_regclass('auth.users'), to_regclass('auth.sessions')
            )
            union all
            select o.name, o.key, 1
            from (values
                (to_regclass('public.profiles'), 'id'), (to_regclass('auth.users'), 'id'),
                -- A trigger deletes these.
                (to_regclass('automatch.feed_entries'), 'profile_id')
            ) as o (name, key)
            where o.name is not null
        ) as k
        group by k.name
        order by k.name::text
    loop
        execute format('select count(*) from %s where %s', v_table.name, v_table.condition)
        into v_count using array[p_profile_id], v_faces, v_sessions;
        if v_count > 0 then
            v_counts := v_counts || jsonb_build_object(v_table.name::text, v_count);
        end if;
    end loop;
    -- Of one school, where a foreign key could not reach.
    select p.school, p.gender into v_person from public.profiles as p where p.id = p_profile_id;
    select count(*) into v_count
    from public.face_index as i
    where i.model = any (v_models) and i.school = v_person.school and i.gender = v_person.gender
      and i.face_id = any (v_faces);
    if v_count > 0 then
        v_counts := v_counts || jsonb_build_object('public.face_index', v_count);
    end if;
    return v_counts;
end
$$;
comment on function automatch.count_rows_of_person(uuid) is 'The rows that go when a person is erased, by table.';

create function public.erase_person(p_profile_id uuid, p_act text)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased jsonb;
begin
    if to_regclass('auth.users') is not null then
        -- Before the profile, as whatever changes an account does.
        perform from auth.users as u where u.id = p_profile_id for update;
    end if;
    perform automatch.lock_for_erasing(p_profile_id);
    select jsonb_build_object(
        'person', automatch.text_sha256(p.id::text), 'act', p_act, 'email', lower(p.email),
        'rows', automatch.count_rows_of_person(p.id),
        'paths', coalesce((
            select jsonb_agg(f.image_path order by f.id) from public.faces as f where f.profile_id = p.id
        ), '[]'),
        'photos', coalesce((
            select jsonb_agg(automatch.text_sha256(f.id::text) order by f.id)
            from public.faces as f where f.profile_id = p.id
        ), '[]')
    ) into v_erased
    from public.profiles as p
    where p.id = p_profile_id;
    if v_erased is null then
        perform automatch.raise_error('not_found', 'There is no such person.');
    end if;
    if p_act = 'person' then
        perform automatch.keep_departure(p_profile_id);
    end if;
    perform set_config('automatch.erasure_act', p_act, true);
    if to_regclass('auth.users') is not null then
        delete from auth.users where id = p_profile_id;
    end if;
    -- The trigger on auth.users has done this where that table exists.
    delete from public.profiles where id = p_profile_id;
    perform set_config('automatch.erasure_act', '', true);
    return v_erased;
end
$$;
comment on function public.erase_person(uuid, text) is
    'Erase a person, with the act of the person, an operator, the retention or a restore; what went, for the receipt.';

create function public.erase_account()
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Supabase's own API calls this too, without asking for the session.
    if automatch.claims() ->> 'session_id' is null or not public.is_session_live(automatch.claims()) then
        perform automatch.raise_error('token_invalid', 'The access token is not valid; sign in again.');
    end if;
    return public.erase_person(automatch.uid(), 'person');
end
$$;
comment on function public.erase_account() is
    'Erase the caller''s account with everything that belongs to it, if their session is still valid; what went.';

create function public.list_erasures_to_log(p_limit integer default 500)
returns table (person_sha256 text, erased_at timestamptz, act text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.person_sha256, e.erased_at, e.act from automatch.erased_people as e
    where not e.is_logged
    order by e.erased_at
    limit p_limit
$$;
comment on function public.list_erasures_to_log(integer) is 'Erasures that are not in the file yet, oldest first.';

create function public.mark_erasures_logged(p_person_sha256s text[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.erased_people as e set is_logged = true
    where e.person_sha256 = any (p_person_sha256s) and not e.is_logged
$$;
comment on function public.mark_erasures_logged(text[]) is 'Say that these are in the file, and on the disk.';

create function automatch.replay_erasures(p_person_sha256s text[])
returns setof jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_missing text[] := array(
        select l.person_sha256 from unnest(p_person_sha256s) as l (person_sha256)
        where not exists (select from automatch.erased_people as e where e.person_sha256 = l.person_sha256)
    );
    v_kept text[] := array[]::text[];
    v_id uuid;
begin
    if cardinality(v_missing) = 0 then
        return;
    end if;
    for v_id in
        select p.id from public.profiles as p
        join unnest(v_missing) as m (person_sha256) on m.person_sha256 = automatch.text_sha256(p.id::text)
        order by p.id
    loop
        begin
            return next public.erase_person(v_id, 'restore');
        exception when sqlstate 'AM001' then
            -- The only owner of the backup: once there is another one, they go at the next start.
            v_kept := v_kept || automatch.text_sha256(v_id::text);
        end;
    end loop;
    insert into automatch.erased_people (person_sha256, act, is_logged)
    select m.person_sha256, 'restore', true from unnest(v_missing) as m (person_sha256)
    where m.person_sha256 <> all (v_kept)
    on conflict (person_sha256) do update set is_logged = true;
end
$$;
comment on function automatch.replay_erasures(text[]) is
    'Erase again whom a restored database brought back: everybody of the file whom it does not know to be erased.';

create function automatch.find_erased(p_sha256s text[])
returns table (place text, row_count bigint) language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table record;
begin
    for v_table in
        select c.oid::regclass as name, string_agg(
            format(case a.atttypid when 'bytea'::regtype then 'encode(t.%I, ''escape'')' else 't.%I::text' end, a.attname),
            ', ' order by a.attnum
        ) as columns
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and a.atttypid in (
              'uuid'::regtype, 'uuid[]'::regtype, 'text'::regtype, 'text[]'::regtype, 'varchar'::regtype,
              'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype
          )
        group by c.oid
        order by 1
    loop
        place := v_table.name::text;
        begin
            -- "offset": the machines of a cluster have no functions of ours.
            execute format(
                'select count(*) from (select concat_ws('' '', %s) as line from %s as t offset 0) as x '
                'where exists (select from regexp_matches(x.line, '
                '''[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'', ''g'') as m (ids) '
                'where automatch.text_sha256(m.ids[1]) = any ($1))', v_table.columns, v_table.name
            ) into row_count using p_sha256s;
        exception when insufficient_privilege then
            -- Of Supabase's own, which we may not read.
            row_count := null;
        end;
        return next;
    end loop;
end
$$;
comment on function automatch.find_erased(text[]) is
    'Every table that has text, ids, JSON or bytes, and how many of its rows name an id with one of these hashes.';
