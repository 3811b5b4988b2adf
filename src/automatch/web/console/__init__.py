"""The console at `/admin`, for operators: one module for each page."""
