"""Benchmarks. Both sides of each ratio are measured in one run."""
