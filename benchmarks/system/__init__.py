"""The whole system on one machine: open feeds, uploads, a long run and many faces at once."""
