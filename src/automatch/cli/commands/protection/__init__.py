"""Commands that protect people: cases, duplicates, photos that wait, erasures."""
