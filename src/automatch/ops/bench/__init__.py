"""What this machine can carry: load on an installation that exists for the benchmark alone.

People upload at rates that grow until answers, queue or screens no longer keep up, while
others have their feeds open. All photos are drawn ones, and nothing real is touched.
"""
