-- name: open_tables
-- Tables in the exposed schema and in ours whose row level security is off, or does not bind the
-- owner although a policy of ours is there.
select
    format('%%I.%%I', n.nspname, c.relname) as name,
    c.relrowsecurity as enabled,
    exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid) as has_policies,
    exists (
        select from pg_catalog.pg_policy as p where p.polrelid = c.oid and p.polname in ('service', 'owner')
    ) as is_ours,
    has_any_column_privilege('anon', c.oid, 'select, insert, update')
        or has_any_column_privilege('authenticated', c.oid, 'select, insert, update') as is_reachable
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'automatch')
  and c.relkind in ('r', 'p')
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
  and (
      not c.relrowsecurity
      or not c.relforcerowsecurity and exists (
          select from pg_catalog.pg_policy as p
          where p.polrelid = c.oid and p.polname in ('service', 'owner')
      )
  )
order by 1

-- name: enable_rls
alter table {table} enable row level security

-- name: force_rls
alter table {table} force row level security

-- name: policies
-- Tables that nobody can read, and policies that let everybody write everything.
select format('%%I.%%I', n.nspname, c.relname) as name, null as policy
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relrowsecurity
  and not exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)
union all
select format('%%I.%%I', n.nspname, c.relname), p.polname
from pg_catalog.pg_policy as p
join pg_catalog.pg_class as c on c.oid = p.polrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'automatch')
  and p.polpermissive
  and p.polcmd in ('a', 'w', 'd', '*')
  and 'true' in (
      pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
  )
  and (
      p.polroles = '{0}'
      or p.polroles && array(select r.oid from pg_catalog.pg_roles as r where r.rolname in ('anon', 'authenticated'))
  )
order by 1, 2

-- name: views
-- What shows rows with the rights of its owner to people who are signed in, or to anybody.
select format('%%I.%%I', n.nspname, c.relname) as name, c.relkind::text as kind
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'automatch')
  and (
      c.relkind in ('m', 'f')
      or c.relkind = 'v' and not coalesce(
          (
              select lower(o.option_value) in ('true', 'on', 'yes', '1')
              from pg_catalog.pg_options_to_table(c.reloptions) as o
              where o.option_name = 'security_invoker'
          ), false)
  )
  and (
      has_table_privilege('anon', c.oid, 'select') or has_table_privilege('authenticated', c.oid, 'select')
  )
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by 1

-- name: loose_functions
-- Functions whose names are looked up along the caller's search_path.
select p.oid::regprocedure::text as name, p.prosecdef as is_definer
from pg_catalog.pg_proc as p
where p.pronamespace in (
        select n.oid from pg_catalog.pg_namespace as n where n.nspname in ('public', 'automatch')
    )
  and p.prokind in ('f', 'p')
  and not exists (
      select from unnest(p.proconfig) as s (setting) where s.setting like 'search_path=%%'
  )
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  )
order by p.prosecdef desc, 1

-- name: callable_by_anybody
-- Functions that run with the rights of their owner for whoever comes by.
select p.oid::regprocedure::text as name
from pg_catalog.pg_proc as p
where p.pronamespace in (
        select n.oid from pg_catalog.pg_namespace as n where n.nspname in ('public', 'automatch')
    )
  and p.prosecdef
  and has_function_privilege('anon', p.oid, 'execute')
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  )
order by 1

-- name: exposed_users
-- Ways to the table of those who can sign in: views of it, and rights on it.
select distinct format('%%I.%%I', n.nspname, c.relname) as name
from pg_catalog.pg_rewrite as w
join pg_catalog.pg_class as c on c.oid = w.ev_class
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
where n.nspname = 'public'
  and d.refclassid = 'pg_class'::regclass
  and d.refobjid = to_regclass('auth.users')
  and (
      has_any_column_privilege('anon', c.oid, 'select') or has_any_column_privilege('authenticated', c.oid, 'select')
  )
union all
select 'auth.users'
where to_regclass('auth.users') is not null
  and (
      has_any_column_privilege('anon', to_regclass('auth.users'), 'select')
      or has_any_column_privilege('authenticated', to_regclass('auth.users'), 'select')
  )
order by 1

-- name: public_extensions
select e.extname as name
from pg_catalog.pg_extension as e
where e.extnamespace = 'public'::regnamespace
order by 1

-- name: exposed_columns
-- Rights on our tables that nobody who signs in has any use for: any at all of anon (but for the
-- consent texts), writing, and the columns that would give a face away.
select format('%%I.%%I', n.nspname, c.relname) || coalesce('.' || x.attname, '') as name, x.role as role, x.may as may
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral (
    select r.role, null::name as attname, w.may
    from (values ('anon'), ('authenticated')) as r (role)
    cross join (values ('insert'), ('update'), ('delete'), ('truncate'), ('trigger')) as w (may)
    where has_table_privilege(r.role, c.oid, w.may)
    union all
    select 'anon', null, 'select'
    where c.relname <> 'consent_texts' and has_any_column_privilege('anon', c.oid, 'select')
    union all
    select 'authenticated', a.attname, 'select'
    from pg_catalog.pg_attribute as a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and a.attname in ('embedding', 'image_path', 'image_sha256', 'similarity', 'cosine', 'lease_token')
      and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
) as x
where n.nspname in ('public', 'automatch')
  and c.relkind in ('r', 'p')
  and exists (
      select from pg_catalog.pg_policy as p where p.polrelid = c.oid and p.polname in ('service', 'owner')
  )
order by 1, 2, 3

-- name: logins
-- Powers that the two logins of the server and the workers must not have.
select r.rolname as name, w.power as power
from pg_catalog.pg_roles as r
cross join lateral (
    values
        ('is a superuser', r.rolsuper), ('sees past row level security', r.rolbypassrls),
        ('makes roles', r.rolcreaterole), ('makes databases', r.rolcreatedb),
        ('replicates', r.rolreplication)
) as w (power, has)
where r.rolname in ('automatch_api', 'automatch_worker') and w.has
union all
select 'automatch_api', 'may become service_role'
where pg_has_role('automatch_api', 'service_role', 'member')
order by 1, 2

-- name: secret_settings
-- Settings of databases and roles that look like keys; every role reads them with current_setting().
select
    split_part(s.setting, '=', 1) as name,
    case when d.setdatabase <> 0 then (
        select b.datname from pg_catalog.pg_database as b where b.oid = d.setdatabase
    ) end as database,
    case when d.setrole <> 0 then pg_catalog.pg_get_userbyid(d.setrole) end as role
from pg_catalog.pg_db_role_setting as d
cross join unnest(d.setconfig) as s (setting)
where split_part(s.setting, '=', 1) ~* '^(app|automatch)\..*(key|secret|password|token)'
  and split_part(s.setting, '=', 2) <> ''
  and d.setdatabase in (0, (select b.oid from pg_catalog.pg_database as b where b.datname = current_database()))
order by 1, 2, 3

-- name: forget_of_database
alter database {database} reset {setting}

-- name: forget_of_role
alter role {role} reset {setting}

-- name: forget_of_both
alter role {role} in database {database} reset {setting}
