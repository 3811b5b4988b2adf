"""The queue against its aims, its peers and the limit; `python -m benchmarks.queue` runs it all."""
