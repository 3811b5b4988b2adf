"""What tests share: the Postgres they run on, and builders of what they need."""
