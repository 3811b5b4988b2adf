"""The SQL of the product: schema, migrations, compatibility files and named queries."""
