"""What protects people: cases, duplicates, erasures, and how long anything is kept."""
