-- As in a Supabase database, the schema extensions is in the search_path. Nothing of ours uses temporary tables,
-- and a statement that somebody smuggles in shall not leave one to the next user of its connection.
do $$
begin
    execute pg_catalog.format('alter database %I set search_path = "$user", public, extensions',
                              pg_catalog.current_database());
    execute pg_catalog.format('revoke temporary on database %I from public', pg_catalog.current_database());
end
$$;
