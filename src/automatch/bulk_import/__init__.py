"""Import of people from a CSV list, and the report of the rows that were refused."""
