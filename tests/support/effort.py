"""How much of a test that has no end is done."""

from __future__ import annotations

import os

__all__ = ["in_full_mode"]


def in_full_mode() -> bool:
    """Say whether there is time: ``./scripts/test --full``."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "full"
