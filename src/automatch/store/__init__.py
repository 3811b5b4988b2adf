"""Keep: Postgres and the photo folder. Modules are named after what they keep."""
