"""The Realtime websocket protocol: supabase clients subscribe to new and changed rows."""
