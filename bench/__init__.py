"""Benchmarks: ratios of medians against a baseline that is measured in the same run."""
