-- As in a Supabase database, the schema extensions is in the search_path.
do $$
begin
    execute pg_catalog.format('alter database %I set search_path = "$user", public, extensions',
                              pg_catalog.current_database());
end
$$;
