"""What a Supabase project has and plain Postgres lacks: cron jobs, HTTP requests and Realtime.

The SQL side of pg_cron and pg_net is in `sql/compat`; here the jobs are run and the requests sent.
Where the extensions are installed, they do both themselves.
"""
