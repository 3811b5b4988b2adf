-- Schools: the operator's list, and the spellings and mail domains that stand for each.

create function automatch.fold_school(p_name text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- NFKC makes one of widths, and NFD parts a tone from its vowel, so that it can move to the end of its syllable:
    -- "Hoà" and "Hòa" are one word. Ð (Icelandic) and Ɖ (African) look like Đ, and are typed for it.
    select btrim(regexp_replace(
        regexp_replace(
            normalize(
                translate(
                    lower(normalize(p_name, nfkc)),
                    U&'\00F0\0256\2018\2019\2010\2013\2014\00AD\200B\200C\200D\2060\FEFF',
                    U&'\0111\0111''''---'
                ),
                nfd
            ),
            '([\u0300\u0301\u0303\u0309\u0323])([^\u0300\u0301\u0303\u0309\u0323\s-]+)', '\2\1', 'g'
        ),
        '\s+', ' ', 'g'
    ))
$$;
comment on function automatch.fold_school(text) is
    'A key that is the same for all spellings of a name: of letters, case, width, spaces and the places of tones.';

create table automatch.schools (
    id uuid primary key default gen_random_uuid(),
    name text not null unique,
    is_open boolean not null default false,
    created_at timestamptz not null default automatch.now(),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 120)
);
comment on table automatch.schools is 'The schools that people can choose; profiles.school holds the name.';
comment on column automatch.schools.is_open is 'Whether everybody who says so belongs to it, without a proof.';

create table automatch.school_spellings (
    folded text primary key generated always as (automatch.fold_school(spelling)) stored,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    spelling text not null,
    constraint spelling_says_something check (folded <> '' and length(spelling) <= 120)
);
comment on table automatch.school_spellings is
    'What a school is called: its name, its former names and its aliases. Each belongs to one school.';
create index school_spellings_school_idx on automatch.school_spellings (school_id);

create table automatch.school_domains (
    domain text not null,
    school_id uuid not null references automatch.schools (id) on delete cascade,
    primary key (domain, school_id),
    constraint domain_is_written_small check (domain = lower(btrim(domain)) and domain ~ '^[^\s@.]+(\.[^\s@.]+)+$')
);
comment on table automatch.school_domains is
    'A confirmed e-mail address at exactly this domain, and not below it, proves that a person belongs to the school.';
create index school_domains_school_idx on automatch.school_domains (school_id);

create function automatch.add_spelling(p_school_id uuid, p_spelling text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner automatch.schools;
begin
    insert into automatch.school_spellings (school_id, spelling) values (p_school_id, p_spelling)
    on conflict (folded) do nothing;
    select s.* into v_owner
    from automatch.school_spellings as p join automatch.schools as s on s.id = p.school_id
    where p.folded = automatch.fold_school(p_spelling);
    if v_owner.id <> p_school_id then
        perform automatch.raise_error('school_exists', p_spelling || ' is a spelling of ' || v_owner.name || '.');
    end if;
end
$$;

create function automatch.school_named()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform automatch.add_spelling(new.id, new.name);
    return null;
end
$$;

-- A former name goes on standing for the school.
create trigger schools_named after insert or update of name on automatch.schools
for each row execute function automatch.school_named();

create function automatch.find_school(p_school text)
returns automatch.schools language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.*
    from automatch.school_spellings as p join automatch.schools as s on s.id = p.school_id
    where p.folded = automatch.fold_school(p_school)
$$;
comment on function automatch.find_school(text) is 'The school that has this spelling, or null.';

create function automatch.require_school(p_school text)
returns automatch.schools language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.find_school(p_school);
begin
    if v_school.id is null then
        perform automatch.raise_error('school_unknown', 'There is no such school; choose one from the list.');
    end if;
    return v_school;
end
$$;
comment on function automatch.require_school(text) is 'The school that has this spelling; an error if there is none.';

create function automatch.lock_school(p_school text)
returns automatch.schools language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_school automatch.schools := automatch.require_school(p_school);
begin
    -- Its name may have changed while this waited.
    select s.* into v_school from automatch.schools as s where s.id = v_school.id for share;
    return automatch.require_school(v_school.name);
end
$$;
comment on function automatch.lock_school(text) is
    'require_school(); whoever renames, opens, closes or removes it waits, and has been waited for. Before profiles.';

create function automatch.lock_schools_of(p_profile_ids uuid[])
returns void language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select from automatch.schools as s
    where s.name in (select p.school from public.profiles as p where p.id = any (p_profile_ids))
    order by s.id
    for share
$$;
comment on function automatch.lock_schools_of(uuid[]) is
    'Lock the schools of these people, as lock_school() does, before what is written about them refers to the school.';

create function public.list_schools()
returns table (school text) language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.name from automatch.schools as s
    where not exists (select from automatch.smoke_test_runs as t where t.school = s.name)
    order by lower(s.name), s.name
$$;
comment on function public.list_schools() is 'The names of the schools, to choose from, without those of smoke tests.';

-- Whether profiles change their school's name and nothing else: see rename_school().
create function automatch.is_renaming()
returns boolean language sql stable set search_path = pg_catalog, pg_temp
as $$ select coalesce(current_setting('automatch.renaming', true), '') = 'on' $$;

insert into automatch.schools (name, is_open) values ('UIT', true);
