-- Which versions of the program work on this schema: docs/upgrading.md.

create function public.schema_version()
returns table (version integer, oldest_program integer)
language sql immutable set search_path = pg_catalog, pg_temp
as $$ select 1, 1 $$;
comment on function public.schema_version() is
    'The number of this schema, and the number of the oldest schema whose programs still work on it.';
