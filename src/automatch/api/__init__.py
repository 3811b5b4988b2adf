"""In: JSON over HTTP. Errors become a status in `errors.py` and nowhere else."""
