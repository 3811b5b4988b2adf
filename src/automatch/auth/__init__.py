"""Who is asking: tokens, JWKS, passwords, keys and signed photo links."""
