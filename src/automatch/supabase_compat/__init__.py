"""Stand-ins for what a Supabase project brings and plain Postgres lacks: pg_cron and pg_net.

Their schemas are in `sql/compat`; what runs the jobs and sends the requests is here. Where the
extensions are installed, they do it themselves.
"""
