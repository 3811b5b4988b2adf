-- The schedule of the deployment guide: a cron job that calls POST /functions/v1/match-generator
-- over HTTP, and the key with which it does. The key can start matching and nothing else. It lies in
-- the Vault, where only the owner reads it; here is what the server knows it by.

create table automatch.trigger_key (
    only_row boolean primary key default true,
    sha256 bytea not null,
    made_at timestamptz not null default automatch.now(),
    constraint there_is_one_key check (only_row)
);
comment on table automatch.trigger_key is 'The key of the schedule, by its hash. Its row says too that the schedule was made once.';
alter table automatch.trigger_key enable row level security;
alter table automatch.trigger_key force row level security;
create policy owner on automatch.trigger_key to current_user using (true) with check (true);
revoke all on automatch.trigger_key from anon, authenticated, service_role;

create function public.is_trigger_key(p_sha256 bytea)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select exists (select from automatch.trigger_key as k where k.sha256 = p_sha256) $$;
comment on function public.is_trigger_key(bytea) is 'Whether this is the hash of the key that may start matching.';
revoke execute on function public.is_trigger_key(bytea) from public, anon, authenticated, service_role;
grant execute on function public.is_trigger_key(bytea) to automatch_api;

create function automatch.rotate_trigger_key()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Two random UUIDs: 244 bits of the server's strong generator, without an extension.
    v_key text := 'amt_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
    v_id uuid;
begin
    lock table automatch.trigger_key in exclusive mode;
    select s.id into v_id from vault.secrets as s where s.name = 'automatch_trigger_key';
    if found then
        perform vault.update_secret(v_id, v_key);
    else
        perform vault.create_secret(
            v_key, 'automatch_trigger_key', 'Starts matching: POST /functions/v1/match-generator. Made by Auto-Match.'
        );
    end if;
    insert into automatch.trigger_key (sha256) values (sha256(convert_to(v_key, 'UTF8')))
    on conflict (only_row) do update set sha256 = excluded.sha256, made_at = automatch.now();
end
$$;
comment on function automatch.rotate_trigger_key() is
    'Make a new key; the schedule reads it from the Vault at its next run, and the old one is worth nothing. For the owner.';

create function automatch.match_generator_command(p_url text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select format($command$select net.http_post(
    url := %L,
    headers := jsonb_build_object(
        'Content-Type', 'application/json',
        'Authorization', 'Bearer ' || (
            select decrypted_secret from vault.decrypted_secrets where name = 'automatch_trigger_key'
        )
    ),
    body := jsonb_build_object('source', 'pg_cron', 'triggered_at', now()),
    timeout_milliseconds := 30000
) as request_id$command$, p_url)
$function$;
comment on function automatch.match_generator_command(text) is
    'The command of the job process-match-jobs, for the address of POST /functions/v1/match-generator.';

create function automatch.keep_match_schedule(p_url text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
begin
    if to_regclass('cron.job') is null or to_regnamespace('net') is null or to_regnamespace('vault') is null then
        return 'unavailable';
    end if;
    -- Two servers that start at once make one schedule.
    perform pg_advisory_xact_lock(automatch.doorbell() + 3);
    if not exists (select from automatch.trigger_key) then
        perform automatch.rotate_trigger_key();
        if not exists (select from cron.job as j where j.jobname = 'process-match-jobs') then
            perform cron.schedule('process-match-jobs', '* * * * *', automatch.match_generator_command(p_url));
        end if;
        if not exists (select from cron.job as j where j.jobname = 'cleanup-match-jobs') then
            perform cron.schedule('cleanup-match-jobs', '0 3 * * *', 'select public.cleanup_old_match_jobs()');
        end if;
        return 'made';
    end if;
    for v_job in
        select j.schedule, j.command, substring(j.command from 'url := ''([^'']+)''') as url
        from cron.job as j
        where j.jobname = 'process-match-jobs' and j.username = current_user
    loop
        -- A command that somebody else wrote is theirs.
        if v_job.url <> p_url and v_job.command = automatch.match_generator_command(v_job.url) then
            perform cron.schedule('process-match-jobs', v_job.schedule, automatch.match_generator_command(p_url));
            return 'moved';
        end if;
    end loop;
    return 'kept';
end
$$;
comment on function automatch.keep_match_schedule(text) is
    'Make the two jobs of the guide, once: whoever unschedules them keeps them unscheduled. Later only the address of our '
    'own command follows the server. made, moved, kept, or unavailable without pg_cron, pg_net and Vault. For the owner.';

revoke execute on all functions in schema automatch from public;
