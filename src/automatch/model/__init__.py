"""The values that travel between the layers, by subject; they import nothing of ours."""
