"""Out, for supabase clients: new rows over a websocket, in the protocol of Phoenix channels."""
