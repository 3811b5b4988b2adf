"""The model of growth: what a number of people takes, of how many machines, and who waits."""
