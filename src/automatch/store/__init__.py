"""The database: connections, notifications, migrations, and one repository per noun."""
