"""The commands of `python -m benchmarks`, a file for each kind."""
