"""Tables and reports as a person reads them on a terminal."""
