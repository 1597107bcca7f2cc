"""End-to-end comparisons with other ways to hold and read point data; run them with ``./scripts/bench``."""
