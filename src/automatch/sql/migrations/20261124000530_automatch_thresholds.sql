-- The threshold as the operator's choice, and searching again for everybody, a little at a time.

create table automatch.reruns (
    id integer generated always as identity primary key,
    reason text not null,
    actor text,
    requested_at timestamptz not null default automatch.now(),
    -- Photos up to this id are queued; uuids are compared as bytes.
    last_face_id uuid not null default '00000000-0000-0000-0000-000000000000',
    queued integer not null default 0,
    finished_at timestamptz
);
comment on table automatch.reruns is
    'Wishes to search again for all photos. Workers queue them bit by bit, so that they never fill the queue.';
create unique index reruns_one_is_open on automatch.reruns ((true)) where finished_at is null;

create function automatch.count_photos_to_rerun()
returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select count(*)::integer
    from public.faces as f
    join public.embedding_models as m on m.id = f.embedding_model and m.active
    join public.profiles as p on p.id = f.profile_id
    where p.school is not null and p.gender is not null and not p.simulated
$$;

create function public.set_match_threshold(
    p_threshold double precision, p_rerun boolean default false, p_actor text default null
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before double precision;
    v_photos integer := 0;
begin
    -- NaN is greater than any number here.
    if p_threshold is null or not (p_threshold > 0 and p_threshold < 1) then
        perform automatch.refuse('input_invalid', 'A threshold is a similarity between 0 and 1, such as 0.4.');
    end if;
    select s.threshold into v_before from public.match_settings as s for update;
    update public.match_settings set threshold = p_threshold;
    if p_rerun then
        -- What an earlier wish has queued was searched for with another threshold.
        update automatch.reruns set finished_at = automatch.now() where finished_at is null;
        insert into automatch.reruns (reason, actor) values ('threshold ' || p_threshold, p_actor);
        v_photos := automatch.count_photos_to_rerun();
    end if;
    perform automatch.audit(p_actor, 'threshold', jsonb_build_object(
        'threshold', p_threshold, 'before', v_before, 'rerun', p_rerun, 'photos', v_photos
    ));
    return v_photos;
end
$$;
comment on function public.set_match_threshold(double precision, boolean, text) is
    'From which similarity on two people match, for every search from now on; with p_rerun all photos are '
    'searched for again in the background. How many that is. Matches there are stay.';

create function public.get_match_threshold()
returns table (threshold double precision, match_count integer, photos integer, rerun_left integer)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.threshold, s.match_count, automatch.count_photos_to_rerun(), (
        select count(*)::integer
        from automatch.reruns as r
        join public.faces as f on f.id > r.last_face_id
        join public.embedding_models as m on m.id = f.embedding_model and m.active
        join public.profiles as p on p.id = f.profile_id
        where r.finished_at is null and p.school is not null and p.gender is not null and not p.simulated
    )
    from public.match_settings as s
$$;
comment on function public.get_match_threshold() is
    'The threshold in use, what a search again for everybody would cost in jobs, and how many of one that '
    'goes on are still to be queued.';

create function public.enqueue_reruns(p_most integer default 500)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_rerun automatch.reruns;
    v_room integer;
    v_faces uuid[];
begin
    select r.* into v_rerun from automatch.reruns as r
    where r.finished_at is null
    for update skip locked;
    if not found then
        return 0;
    end if;
    -- Only into a short queue: a full one would turn uploads away.
    v_room := p_most - public.count_waiting_match_jobs(p_most);
    if v_room <= 0 then
        return 0;
    end if;
    v_faces := array(
        select f.id from public.faces as f where f.id > v_rerun.last_face_id order by f.id limit v_room
    );
    if cardinality(v_faces) = 0 then
        update automatch.reruns set finished_at = automatch.now() where id = v_rerun.id;
        return 0;
    end if;
    -- In the order of locks: profiles, then jobs.
    perform from public.profiles as p
    where p.id in (select f.profile_id from public.faces as f where f.id = any (v_faces))
    order by p.id
    for share;
    update automatch.reruns
    set last_face_id = v_faces[cardinality(v_faces)], queued = queued + automatch.search_again(v_faces)
    where id = v_rerun.id;
    return cardinality(v_faces);
end
$$;
comment on function public.enqueue_reruns(integer) is
    'Queue the next photos of a search again for everybody, while fewer than p_most jobs wait in all. How '
    'many photos were looked at; 0 when there is no room or nothing left.';

alter table automatch.reruns enable row level security;
alter table automatch.reruns force row level security;
create policy service on automatch.reruns to service_role, current_user using (true) with check (true);
revoke all on automatch.reruns from anon, authenticated, service_role;
grant select, insert, update, delete on automatch.reruns to service_role;

revoke execute on function
    public.set_match_threshold(double precision, boolean, text),
    public.get_match_threshold(),
    public.enqueue_reruns(integer)
    from public, anon, authenticated;
-- To the login of the server: it calls them for whoever shows the service key.
grant execute on function
    public.set_match_threshold(double precision, boolean, text),
    public.get_match_threshold(),
    public.preview_match_thresholds(double precision[], double precision, double precision, integer, bigint, boolean)
    to service_role, automatch_api;
grant execute on function public.enqueue_reruns(integer) to service_role, automatch_worker;
revoke execute on all functions in schema automatch from public;
