"""The websocket protocol that supabase clients use for live rows."""
