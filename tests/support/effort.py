"""The amount of work of tests that could run without end."""

from __future__ import annotations

import os

__all__ = ["in_full_mode"]


def in_full_mode() -> bool:
    """Return whether tests run in full mode: ``./scripts/test --full``."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "full"
