-- Schools: the operator's list.

create table automatch.schools (
    id uuid primary key default gen_random_uuid(),
    name text not null unique,
    is_open boolean not null default false,
    created_at timestamptz not null default automatch.now(),
    constraint name_is_trimmed check (name = btrim(name) and name <> '' and length(name) <= 120)
);
comment on table automatch.schools is 'The schools that people can choose; profiles.school holds the name.';
comment on column automatch.schools.is_open is 'Whether everybody who says so belongs to it, without a proof.';
insert into automatch.schools (name, is_open) values ('UIT', true);
