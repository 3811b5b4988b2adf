"""What protects people: reports, second accounts, export and erasure of what is kept."""
