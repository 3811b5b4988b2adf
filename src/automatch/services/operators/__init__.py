"""Operators: their roles, what each may do, the links they send, the texts they publish."""
