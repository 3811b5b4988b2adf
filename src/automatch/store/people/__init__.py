"""People: profiles, schools, lists that are imported, people who are simulated."""
