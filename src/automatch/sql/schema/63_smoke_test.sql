-- `automatch verify` tries a live installation with two simulated people. They have a school of their own,
-- which nobody else can join or is shown, and are erased afterwards.
create table automatch.smoke_test_runs (
    id uuid primary key default gen_random_uuid(),
    school text not null unique,
    people uuid[] not null,
    started_at timestamptz not null default automatch.now()
);
comment on table automatch.smoke_test_runs is 'Smoke tests in progress or interrupted; the next one erases the people of interrupted ones.';

create function automatch.isolate_smoke_tests()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from automatch.smoke_test_runs as t
        where (new.id = any (t.people)) <> (lower(t.school) = lower(coalesce(new.school, '')))
    ) then
        perform automatch.raise_error('input_invalid', 'This school cannot be chosen.');
    end if;
    return new;
end
$$;
comment on function automatch.isolate_smoke_tests() is
    'Nobody else may join the school of a smoke test, and its people may not leave it.';

create trigger profiles_isolate_smoke_tests before insert or update of school on public.profiles
for each row execute function automatch.isolate_smoke_tests();

create function public.end_smoke_tests(p_run_id uuid default null, p_actor text default null)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run automatch.smoke_test_runs;
    v_count integer;
    v_total integer := 0;
begin
    for v_run in
        select t.* from automatch.smoke_test_runs as t
        where t.id = p_run_id
           -- Interrupted: a smoke test takes two minutes at most.
           or p_run_id is null and t.started_at < automatch.now() - interval '15 minutes'
        order by t.id
        for update skip locked
    loop
        perform from public.profiles as p where p.id = any (v_run.people) order by p.id for update;
        delete from public.profiles as p where p.id = any (v_run.people) and p.simulated;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
        delete from automatch.schools as s where s.name = v_run.school;
        delete from automatch.smoke_test_runs as t where t.id = v_run.id;
        perform automatch.audit(p_actor, 'end_smoke_test', jsonb_build_object('run', v_run.id, 'people', v_count));
    end loop;
    return v_total;
end
$$;
comment on function public.end_smoke_tests(uuid, text) is
    'Erase the people of a smoke test; without an id, those of runs that began more than 15 minutes ago. How '
    'many people.';

create function public.start_smoke_test(p_actor text default null)
returns table (id uuid, school text, her_id uuid, his_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform public.end_smoke_tests(null, p_actor);
    id := gen_random_uuid();
    -- Random, so that it cannot be guessed.
    school := 'Auto-Match smoke test ' || gen_random_uuid();
    her_id := gen_random_uuid();
    his_id := gen_random_uuid();
    insert into automatch.smoke_test_runs (id, school, people) values (start_smoke_test.id, start_smoke_test.school, array[her_id, his_id]);
    insert into automatch.schools (name, is_open) values (start_smoke_test.school, true);
    insert into public.profiles (id, name, school, gender, birth_date, simulated)
    values
        (her_id, 'Smoke test woman', start_smoke_test.school, 'female', date '2000-02-29', true),
        (his_id, 'Smoke test man', start_smoke_test.school, 'male', date '2000-02-29', true);
    -- Their portraits are drawn from one face: dismissed in advance, because match_settings may exclude
    -- accounts that look like the same person.
    insert into automatch.suspected_duplicates (profile_a_id, profile_b_id, u, model, state, decided_at, decided_by)
    select least(her_id, his_id), greatest(her_id, his_id), 0, m.id, 'dismissed', automatch.now(), 'start_smoke_test'
    from public.embedding_models as m
    where m.active;
    perform automatch.audit(p_actor, 'start_smoke_test', jsonb_build_object('run', id));
    return next;
end
$$;
comment on function public.start_smoke_test(text) is
    'Create a simulated woman and man without accounts or consent, in a school of their own.';
