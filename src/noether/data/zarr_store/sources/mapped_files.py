"""Files that are better mapped than loaded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

__all__ = ["path_to_map"]

# Of smaller files, a sample holds a few in memory.
_MAP_BYTES = 32 << 20


def path_to_map(file: BinaryIO) -> str | None:
    """Return a path of the very file that is open, if it is a large one of a local disk."""
    try:
        path = Path(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # it is in memory, or elsewhere
        return None
    return str(path) if path.is_file() and path.stat().st_size >= _MAP_BYTES else None
