-- One row of text for everything that a migration may leave behind in a database, in a fixed order.
-- What belongs to an extension, to Postgres itself or to the ledger of migrations is left out.
with own_schema as (
    select n.oid, n.nspname, n.nspacl, n.nspowner
    from pg_namespace as n
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'supabase_migrations')
),
own_class as (
    select c.*, s.nspname
    from pg_class as c
    join own_schema as s on s.oid = c.relnamespace
    where not exists (
        select from pg_depend as d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
),
own_proc as (
    select p.*, s.nspname
    from pg_proc as p
    join own_schema as s on s.oid = p.pronamespace
    where not exists (
        select from pg_depend as d
        where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
    )
),
granted as (
    select 'schema ' || s.nspname as object, s.nspacl as acl, s.nspowner as owner,
        'n'::"char" as kind
    from own_schema as s
    union all
    select format('relation %I.%I', c.nspname, c.relname), c.relacl, c.relowner,
        case c.relkind when 'S' then 's'::"char" else 'r'::"char" end
    from own_class as c where c.relkind in ('r', 'p', 'v', 'm', 'S')
    union all
    select format('column %I.%I.%I', c.nspname, c.relname, a.attname), a.attacl, c.relowner, 'c'
    from own_class as c
    join pg_attribute as a on a.attrelid = c.oid
    where c.relkind in ('r', 'p', 'v', 'm') and not a.attisdropped and a.attacl is not null
    union all
    select 'function ' || p.oid::regprocedure, p.proacl, p.proowner, 'f' from own_proc as p
),
line as (
    select 'extension ' || e.extname || ' in ' || e.extnamespace::regnamespace as line
    from pg_extension as e
    union all
    select format('schema %I: %s', s.nspname, coalesce(obj_description(s.oid, 'pg_namespace'), ''))
    from own_schema as s
    union all
    select format(
        'relation %I.%I: kind %s, options %s, partition %s of %s by %s, row security %s%s, %s',
        c.nspname, c.relname, c.relkind, c.reloptions, pg_get_expr(c.relpartbound, c.oid),
        (select i.inhparent::regclass from pg_inherits as i where i.inhrelid = c.oid),
        case c.relkind when 'p' then pg_get_partkeydef(c.oid) end,
        c.relrowsecurity, c.relforcerowsecurity, obj_description(c.oid, 'pg_class')
    )
    from own_class as c where c.relkind in ('r', 'p', 'v', 'm', 'S', 'c')
    union all
    select format(
        'column %I.%I: %s %I %s, not null %s, default %s, identity %s, generated %s, storage %s, %s',
        c.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage,
        col_description(c.oid, a.attnum)
    )
    from own_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relkind in ('r', 'p', 'v', 'm', 'c')
    union all
    select format('sequence %I.%I: %s', c.nspname, c.relname, q.settings - 'seqrelid')
    from own_class as c
    cross join lateral (select to_jsonb(q) as settings from pg_sequence as q where q.seqrelid = c.oid) as q
    union all
    select format(
        'constraint %s on %s: %s, validated %s, %s',
        k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid), k.convalidated,
        obj_description(k.oid, 'pg_constraint')
    )
    from pg_constraint as k
    join own_class as c on c.oid = k.conrelid
    union all
    select format('index %s, valid %s', pg_get_indexdef(i.indexrelid), i.indisvalid)
    from pg_index as i
    join own_class as c on c.oid = i.indexrelid
    union all
    select format('trigger %s, enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
    from pg_trigger as t
    join own_class as c on c.oid = t.tgrelid
    where not t.tgisinternal
    union all
    select format(
        'policy %I on %s: %s %s to %s using %s check %s',
        p.polname, p.polrelid::regclass, p.polcmd, p.polpermissive,
        (
            select string_agg(case r when 0 then 'public' else r::regrole::text end, ', ' order by r::regrole::text)
            from unnest(p.polroles) as r
        ),
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
    )
    from pg_policy as p
    join own_class as c on c.oid = p.polrelid
    union all
    select format('function %s: %s, %s', p.oid::regprocedure, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'))
    from own_proc as p
    where p.prokind in ('f', 'p')
    union all
    select format('grant on %s: %s to %s by %s, grantable %s', g.object, a.privilege_type,
        case a.grantee when 0 then 'public' else a.grantee::regrole::text end,
        a.grantor::regrole, a.is_grantable)
    from granted as g
    cross join lateral aclexplode(coalesce(g.acl, acldefault(g.kind, g.owner))) as a
    union all
    select format('publication %s: %s', p.pubname, pt.prrelid::regclass)
    from pg_publication as p
    left join pg_publication_rel as pt on pt.prpubid = p.oid
)
select line from line order by line collate "C"
