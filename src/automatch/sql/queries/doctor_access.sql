-- name: open_tables
-- Tables in the exposed schema and in ours without row level security, and tables of ours where it
-- does not bind the owner.
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
-- Tables without a policy, and policies that let clients write any row.
select format('%%I.%%I', n.nspname, c.relname) as name, null as policy
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relrowsecurity
  and not exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)
union all
select format('%%I.%%I', n.nspname, c.relname), quote_ident(p.polname)
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
-- Views and other relations that show rows to clients with the rights of their owner.
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

-- name: callable_by_anybody
-- Functions that anonymous clients may call and that run with the rights of their owner.
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

-- name: exposed_columns
-- Privileges on our tables that clients must not have: any for anon (except on the consent texts),
-- writing, and columns that reveal a face.
select format('%%I.%%I', n.nspname, c.relname) || coalesce('.' || x.attname, '') as name, x.role as role, x.privilege
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral (
    select r.role, null::name as attname, w.privilege
    from (values ('anon'), ('authenticated')) as r (role)
    cross join (values ('insert'), ('update'), ('delete'), ('truncate'), ('trigger')) as w (privilege)
    where has_table_privilege(r.role, c.oid, w.privilege)
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
-- Powers that the logins of the server and the workers must not have.
select r.rolname as name, w.power as power, format('alter role %%I %%s', r.rolname, w.remedy) as remedy
from pg_catalog.pg_roles as r
cross join lateral (
    values
        ('is a superuser', r.rolsuper, 'nosuperuser'), ('sees past row level security', r.rolbypassrls, 'nobypassrls'),
        ('makes roles', r.rolcreaterole, 'nocreaterole'), ('makes databases', r.rolcreatedb, 'nocreatedb'),
        ('replicates', r.rolreplication, 'noreplication')
) as w (power, has, remedy)
where r.rolname in ('automatch_api', 'automatch_worker', 'automatch_schedule') and w.has
union all
select 'automatch_api', 'may become service_role', 'revoke service_role from automatch_api'
where pg_has_role('automatch_api', 'service_role', 'member')
union all
-- The database of a Supabase project is not ours to close.
select
    r.rolname, 'makes temporary tables',
    format('revoke temporary on database %%I from public, automatch_api, automatch_worker, automatch_schedule', current_database())
from pg_catalog.pg_roles as r
where r.rolname in ('automatch_api', 'automatch_worker', 'automatch_schedule')
  and has_database_privilege(r.rolname, current_database(), 'temporary')
  and not exists (select from pg_catalog.pg_roles as s where s.rolname = 'supabase_admin')
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
