"""The registry of face models, their files, and the readers and writers of model formats."""
