"""Commands about people: their accounts and mail, schools, lists, simulated people."""
