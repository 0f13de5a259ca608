"""Benchmarks: a figure counts only as a ratio of two things measured in turn in one run."""
