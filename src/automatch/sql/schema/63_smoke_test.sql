-- Two people who do not exist, with whom `automatch verify` tries the whole way on a live installation.
-- They have a school of their own, which nobody else can be in or is shown, and are erased again.
create table automatch.trials (
    id uuid primary key default gen_random_uuid(),
    school text not null unique,
    people uuid[] not null,
    started_at timestamptz not null default automatch.now()
);
comment on table automatch.trials is 'Trials that go on, or were cut off; the next one erases what is left of those.';

create function automatch.keep_trials_apart()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from automatch.trials as t
        where (new.id = any (t.people)) <> (lower(t.school) = lower(coalesce(new.school, '')))
    ) then
        perform automatch.raise_error('input_invalid', 'This is no school that one can be in.');
    end if;
    return new;
end
$$;
comment on function automatch.keep_trials_apart() is
    'The people of a trial and its school belong together: nobody else comes in, and they do not go out.';

create trigger profiles_keep_trials_apart
before insert or update of school on public.profiles
for each row execute function automatch.keep_trials_apart();

create function public.end_trials(p_trial_id uuid default null, p_actor text default null)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_trial automatch.trials;
    v_count integer;
    v_total integer := 0;
begin
    for v_trial in
        select t.* from automatch.trials as t
        where t.id = p_trial_id
           -- One that was cut off; a trial takes two minutes at most.
           or p_trial_id is null and t.started_at < automatch.now() - interval '15 minutes'
        order by t.id
        for update skip locked
    loop
        perform from public.profiles as p where p.id = any (v_trial.people) order by p.id for update;
        delete from public.profiles as p where p.id = any (v_trial.people) and p.simulated;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
        delete from automatch.trials as t where t.id = v_trial.id;
        perform automatch.audit(p_actor, 'end_trial', jsonb_build_object('trial', v_trial.id, 'people', v_count));
    end loop;
    return v_total;
end
$$;
comment on function public.end_trials(uuid, text) is
    'Erase the people of a trial with all that is theirs; without an id, those of trials that were cut off '
    'more than 15 minutes ago. How many people.';

create function public.start_trial(p_actor text default null)
returns table (trial_id uuid, school text, her_id uuid, his_id uuid)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public.end_trials(null, p_actor);
    trial_id := gen_random_uuid();
    -- Random: not to be guessed, and no name that a school has.
    school := 'Trial of Auto-Match ' || gen_random_uuid();
    her_id := gen_random_uuid();
    his_id := gen_random_uuid();
    insert into automatch.trials (id, school, people) values (trial_id, start_trial.school, array[her_id, his_id]);
    insert into public.profiles (id, name, school, gender, birth_date, simulated)
    values
        (her_id, 'Trial woman', start_trial.school, 'female', date '2000-02-29', true),
        (his_id, 'Trial man', start_trial.school, 'male', date '2000-02-29', true);
    -- Drawn from one face, they look like two accounts of one person: that is decided before anybody
    -- is told, and before match_settings keeps them apart.
    insert into automatch.suspected_duplicates (profile_a_id, profile_b_id, u, model, state, decided_at, decided_by)
    select least(her_id, his_id), greatest(her_id, his_id), 0, m.id, 'dismissed', automatch.now(), 'start_trial'
    from public.embedding_models as m
    where m.active;
    perform automatch.audit(p_actor, 'start_trial', jsonb_build_object('trial', trial_id));
    return next;
end
$$;
comment on function public.start_trial(text) is
    'Make a woman and a man who do not exist, without an account, in a school of their own. They have not consented yet.';
