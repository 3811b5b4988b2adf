-- New matches over Supabase Realtime, where a project has it.

create function automatch.add_matches_to_realtime()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from pg_catalog.pg_publication as p
        where p.pubname = 'supabase_realtime' and not p.puballtables
    ) or exists (
        select from pg_catalog.pg_publication_tables as t
        where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'matches'
    ) then
        return;
    end if;
    -- The columns that a person may select; the policy of matches decides who gets a row.
    alter publication supabase_realtime add table public.matches (id, face_a_id, face_b_id, created_at);
exception
    when insufficient_privilege then
        raise warning 'matches is not published: % does not own the publication supabase_realtime', current_user
            using hint = 'Its owner can run: select automatch.add_matches_to_realtime()';
end
$$;
comment on function automatch.add_matches_to_realtime() is
    'Add matches to the publication of Supabase Realtime, where there is one. May be called again.';

select automatch.add_matches_to_realtime();
