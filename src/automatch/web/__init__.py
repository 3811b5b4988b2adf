"""The pages a person sees: templates, static files, cookies."""
