"""Pages that protect people: reports, their data, and the privacy notice."""
