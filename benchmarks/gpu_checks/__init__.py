"""The checks of `benchmarks/gpu.py`, one subject a file; each is a generator of what it found, piece by piece."""
