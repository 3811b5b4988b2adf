-- A Supabase database finds the extensions schema by itself; so does this one.
do $$
begin
    execute pg_catalog.format('alter database %I set search_path = "$user", public, extensions',
                              pg_catalog.current_database());
end
$$;
