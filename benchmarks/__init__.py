"""End-to-end benchmarks against other ways to store and read point data; run them with ``./scripts/bench``."""
