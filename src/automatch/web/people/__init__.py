"""Pages about oneself: the profile, the school, the language."""
