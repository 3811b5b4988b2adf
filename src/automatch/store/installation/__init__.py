"""The database as a whole: whether it fits, migrations, backups, distribution."""
