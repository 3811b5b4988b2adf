-- Who runs this installation, and the texts that they publish: privacy notice and consent text.

create table automatch.operator_identity (
    only_row boolean primary key default true,
    name text,
    contact_email text,
    contact_url text,
    constraint there_is_one_row check (only_row),
    constraint name_is_one_line check (name = btrim(name) and name !~ '[[:cntrl:]]' and length(name) between 1 and 120),
    -- As it stands in a mailto: link.
    constraint contact_email_is_plain check (
        contact_email ~ '^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}$'
    ),
    constraint contact_url_is_a_web_address check (
        contact_url ~ '^https?://[^[:space:][:cntrl:]<>"]+$' and length(contact_url) <= 300
    )
);
comment on table automatch.operator_identity is 'Shown on pages and in mails. Without a contact it is a test installation.';
insert into automatch.operator_identity default values;

create function public.get_site_operator()
returns table (name text, contact_email text, contact_url text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select o.name, o.contact_email, o.contact_url from automatch.operator_identity as o $$;
comment on function public.get_site_operator() is 'Who runs this installation, and how to reach them.';

create function public.set_site_operator(p_name text, p_contact_email text, p_contact_url text)
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update automatch.operator_identity as o
    set name = nullif(coalesce(btrim(p_name), o.name), ''),
        contact_email = nullif(coalesce(btrim(p_contact_email), o.contact_email), ''),
        contact_url = nullif(coalesce(btrim(p_contact_url), o.contact_url), '')
$$;
comment on function public.set_site_operator(text, text, text) is
    'Say who runs this installation. Null leaves a value as it is, an empty text removes it.';

create table automatch.privacy_notices (
    version text primary key,
    body text not null,
    published_at timestamptz not null default automatch.now(),
    language text not null default 'en',
    by_operator boolean not null default true,
    constraint language_is_a_tag check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    constraint body_is_text check (body = btrim(body, E' \n') and length(body) between 1 and 50000)
);
comment on table automatch.privacy_notices is
    'Every version of what people are told about their data, in all languages. Add rows, never edit.';
insert into automatch.privacy_notices (by_operator, version, body) values (false, '2026-11', btrim($$
Auto-Match compares the faces of people at one school and shows them who looks alike. This page says what is kept about you, who sees it, and how it goes away.

What is kept: your e-mail address and a hash of your password; the name, school, gender and birth date that you enter, and how you showed that you belong to the school; your photos, without place and camera; a face template, which is a list of numbers computed from each photo; whom you look like, and how much; whom you hide or report; which photos you were shown, for some months; and what you agreed to, and when.

A face template is biometric data. It is computed only after you agree to that. You can say no and keep your account, and you can change your mind at any time.

Who sees it: people you look like, if they agreed to the same, see your name, your school, your photo and a rounded score. No one else is shown them. No one is shown your e-mail address or your birth date. Whoever runs the server can read what lies on it. Photos that somebody reports are looked at by those who run it, and each look is recorded. Nothing is sold, given to others, or used for advertising or to train anything.

How it goes away: in your profile you can delete a photo, withdraw your consent or delete your account. That is gone from the database at once and from its files within minutes. Copies in backups go with the backup.

What a score means: two photos look alike to a computer. It does not mean that two people are related, are the same person, or have anything else in common. It is wrong more often for some groups of people than for others.

Your rights: you can see, correct, take along and delete what is kept about you. Ask whoever runs this installation. You can also complain to the data protection authority of your country.
$$, E'\n'));

create function automatch.forbid_notice_changes()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'integrity_constraint_violation',
        message = 'texts that were published are not changed: publish another version';
end
$$;

create trigger consent_texts_insert_only before update or delete or truncate on public.consent_texts
for each statement execute function automatch.forbid_notice_changes();

create trigger privacy_notices_insert_only before update or delete or truncate on automatch.privacy_notices
for each statement execute function automatch.forbid_notice_changes();

create function public.list_notices(p_kind text)
returns table (
    version text, language text, body text, by_operator boolean, asks_again boolean, published_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select * from (
        select t.version, t.language, t.body, t.by_operator, t.asks_again, t.published_at
        from public.consent_texts as t where p_kind = 'consent'
        union all
        select p.version, p.language, p.body, p.by_operator, false, p.published_at
        from automatch.privacy_notices as p where p_kind = 'privacy'
    ) as n
    order by n.published_at desc, n.version desc
$$;
comment on function public.list_notices(text) is 'All versions of the consent text (consent) or the privacy notice (privacy), newest first.';

create function public.current_notices(p_kind text)
returns table (version text, language text, body text, published_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with every as (select * from public.list_notices(p_kind))
    select distinct on (e.language) e.version, e.language, e.body, e.published_at
    from every as e
    where (e.by_operator or not exists (select from every as o where o.by_operator))
      -- Whoever reads another language is not to agree to what was replaced.
      and e.published_at >= coalesce(
          (select max(a.published_at) from every as a where a.asks_again), '-infinity'
      )
    order by e.language, e.published_at desc, e.version desc
$$;
comment on function public.current_notices(text) is
    'The texts that hold now, one for each language: the newest, and those of the operator before ours.';

create function public.publish_notice(p_kind text, p_language text, p_body text, p_asks_again boolean)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_day text := to_char(automatch.now() at time zone 'utc', 'YYYY-MM-DD') || '-' || p_language;
    v_count integer := (select count(*) from public.list_notices(p_kind) as n where starts_with(n.version, v_day));
    v_version text := v_day || case when v_count > 0 then '.' || (v_count + 1) else '' end;
begin
    if p_kind = 'consent' then
        insert into public.consent_texts (version, language, body, asks_again)
        values (v_version, p_language, p_body, p_asks_again);
    elsif p_kind = 'privacy' and not p_asks_again then
        insert into automatch.privacy_notices (version, language, body) values (v_version, p_language, p_body);
    else
        perform automatch.raise_error('input_invalid', 'Publish consent or privacy; only for consent people are asked again.');
    end if;
    return v_version;
end
$$;
comment on function public.publish_notice(text, text, text, boolean) is
    'Publish a text that holds from now on for readers of its language; its version.';
