"""The embedded Postgres server: its files, its process, and who may use its data folder."""
