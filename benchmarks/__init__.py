"""Benchmarks: each a module to run, each with ratios measured side by side in one run."""
