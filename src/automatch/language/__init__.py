"""The languages people read: their catalogues, the choice among them, how each writes a date."""
