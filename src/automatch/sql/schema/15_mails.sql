-- Mails that are to be sent. A row says what is asked for and by which address; what the mail says, its link above all,
-- is made when it is sent, so that nobody who reads the database or a backup can use it.

create table automatch.mails (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    recipient text not null,
    profile_id uuid references public.profiles (id) on delete cascade,
    requested_at timestamptz not null default automatch.now(),
    run_at timestamptz not null default automatch.now(),
    attempts smallint not null default 0,
    failed boolean not null default false,
    error text,
    -- No foreign key: the mail of a deleted case is dropped when it is written.
    case_id uuid,
    receipt text,
    language text default nullif(current_setting('automatch.language', true), ''),
    constraint kind_is_known check (kind in (
        'recovery', 'sign_in', 'email_old', 'email_new', 'sign_up', 'invite', 'membership', 'impersonation',
        'take_down', 'case_news', 'inactive', 'erased', 'digest'
    )),
    -- Whoever asks again while a mail waits gets one.
    constraint mails_are_single unique nulls not distinct (profile_id, case_id, kind, recipient)
);
comment on table automatch.mails is
    'Mails that wait, or were given up; a row ends when its mail is sent. The address may be one that nobody has an '
    'account with: what is written for it is the same, so that no answer and no time tells.';
comment on column automatch.mails.profile_id is
    'Whose account it is about, where several people may ask for a mail to one address.';
comment on column automatch.mails.case_id is 'Of somebody who asked for something without an account.';
comment on column automatch.mails.receipt is
    'Of an erasure: the account is gone, and with the mail goes the address.';
comment on column automatch.mails.language is
    'Of whoever asked for it, where that was the person themselves; what the profile says counts more.';
create index mails_run_idx on automatch.mails (run_at) where not failed;
create index mails_requested_idx on automatch.mails (requested_at);

create function public.enqueue_mail(
    p_kind text, p_recipient text, p_profile_id uuid default null, p_case_id uuid default null
)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.mails (kind, recipient, profile_id, case_id)
    values (p_kind, lower(p_recipient), p_profile_id, p_case_id)
    on conflict on constraint mails_are_single
    do update set requested_at = automatch.now(), run_at = automatch.now(), attempts = 0, failed = false, error = null,
        language = excluded.language
$$;
comment on function public.enqueue_mail(text, text, uuid, uuid) is 'Have a mail sent, whether somebody has this address or not.';

create function public.enqueue_receipt(p_recipient text, p_receipt text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into automatch.mails (kind, recipient, receipt) values ('erased', lower(p_recipient), p_receipt)
    on conflict on constraint mails_are_single     do update set receipt = excluded.receipt, requested_at = automatch.now(), run_at = automatch.now(), attempts = 0,
        failed = false, error = null
$$;
comment on function public.enqueue_receipt(text, text) is 'Have a receipt mailed to the address of who was erased.';

create function automatch.mail_waits()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('automatch_mails', '');
    return null;
end
$$;

create trigger mails_wait after insert or update of failed on automatch.mails
for each statement execute function automatch.mail_waits();

create function automatch.mail_language(p_mail automatch.mails)
returns text language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select p.language from public.profiles as p
            where p.id = p_mail.profile_id or (p_mail.profile_id is null and p.email = p_mail.recipient)
            limit 1
        ),
        p_mail.language
    )
$$;
comment on function automatch.mail_language(automatch.mails) is 'In which language its reader gets a mail, if that is known.';

create function public.take_mail(p_lease interval)
returns table (
    id uuid, kind text, recipient text, profile_id uuid, case_id uuid, attempts smallint, receipt text, language text
)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.mails as m
    set attempts = m.attempts + 1, run_at = automatch.now() + p_lease
    where m.id = (
        select w.id from automatch.mails as w
        where not w.failed and w.run_at <= automatch.now()
        order by w.run_at
        limit 1
        for update skip locked
    )
    returning m.id, m.kind, m.recipient, m.profile_id, m.case_id, m.attempts, m.receipt, automatch.mail_language(m)
$$;
comment on function public.take_mail(interval) is
    'The mail that is due first, or no row. Unless it is finished within the lease, it is due again.';

create function public.finish_mail(p_id uuid, p_attempts smallint)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_mail automatch.mails;
begin
    -- Unless it was asked for again meanwhile.
    delete from automatch.mails as m where m.id = p_id and m.attempts = p_attempts returning * into v_mail;
    if v_mail.kind = 'inactive' then
        update automatch.inactivity_warnings as w set mailed_at = automatch.now()
        where w.profile_id = v_mail.profile_id;
    elsif v_mail.kind = 'erased' then
        -- The address leaves the files of the database too.
        insert into automatch.erasures default values on conflict do nothing;
    end if;
end
$$;
comment on function public.finish_mail(uuid, smallint) is 'Forget a mail that was sent, or that is for nobody.';

create function public.postpone_mail(p_id uuid, p_attempts smallint, p_error text, p_delay interval)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.mails as m
    set error = p_error, failed = p_delay is null, run_at = automatch.now() + coalesce(p_delay, interval '0')
    where m.id = p_id and m.attempts = p_attempts
$$;
comment on function public.postpone_mail(uuid, smallint, text, interval) is
    'Try a mail again after a delay; without one it has failed for good.';

create function public.list_mails(p_limit integer default 50, p_operator_id uuid default null)
returns table (
    id uuid, kind text, recipient text, requested_at timestamptz, attempts smallint, failed boolean, error text,
    profile_id uuid
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.email_changes') is null then
        return;
    end if;
    return query
    select m.id, m.kind, m.recipient, m.requested_at, m.attempts, m.failed, m.error,
        coalesce(m.profile_id, public.find_person_by_email(m.recipient))
    from automatch.mails as m
    -- Others are asked for by strangers who try addresses.
    where (
            m.case_id is not null
            or exists (select from auth.users as u where lower(u.email) = m.recipient)
            or exists (select from auth.email_changes as c where c.new_email = m.recipient)
        )
        and not exists (
            select from automatch.find_mail_people(m) as s where s.profile_id = p_operator_id and not s.is_subject
        )
    order by m.requested_at desc, m.id
    limit least(greatest(p_limit, 1), 1000);
end
$$;
comment on function public.list_mails(integer, uuid) is
    'Mails to people who have an account or asked for a take-down, newest request first; without those of cases in which '
    'the operator is a side.';

create function public.resend_mail(p_id uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update automatch.mails as m set run_at = automatch.now(), attempts = 0, failed = false, error = null
    where m.id = p_id and m.id in (select l.id from public.list_mails(1000) as l);
    if not found then
        perform automatch.raise_error('not_found', 'No such mail waits.');
    end if;
end
$$;
comment on function public.resend_mail(uuid) is 'Try a mail that failed or waits again, at once.';

create function public.read_mail(p_id uuid, p_actor text)
returns table (kind text, recipient text, profile_id uuid, case_id uuid, language text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_mail record;
begin
    select l.* into v_mail from public.list_mails(1000) as l where l.id = p_id;
    if not found then
        perform automatch.raise_error('not_found', 'No such mail waits.');
    end if;
    -- Its link lets whoever has it into the account.
    perform automatch.audit(
        p_actor, 'read_mail', jsonb_build_object('kind', v_mail.kind),
        coalesce(
            (select m.profile_id from automatch.mails as m where m.id = p_id),
            (select p.id from public.profiles as p where lower(p.email) = v_mail.recipient)
        )
    );
    return query select m.kind, m.recipient, m.profile_id, m.case_id, automatch.mail_language(m) from automatch.mails as m where m.id = p_id;
end
$$;
comment on function public.read_mail(uuid, text) is
    'A waiting mail that an operator hands over; who did is recorded in the audit log.';
