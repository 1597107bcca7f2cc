"""Where temporary files go."""

from __future__ import annotations

import os
import tempfile

__all__ = ["scratch_root"]


def scratch_root() -> str:
    """Return the directory for temporary files: ``TMPDIR``, or what the system names."""
    # tempfile reads TMPDIR once, which may be before a program sets it.
    return os.environ.get("TMPDIR") or tempfile.gettempdir()
