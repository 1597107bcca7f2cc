"""Large local files, which are memory-mapped instead of loaded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

__all__ = ["path_to_map"]

# Smaller files are loaded: a sample has few of them, so they fit in memory.
_MAP_BYTES = 32 << 20


def path_to_map(file: BinaryIO) -> str | None:
    """Return a path for memory-mapping an open file; None if it is small or not on a local disk.

    The path leads to the open file itself, even if another file has taken its name since.
    """
    try:
        path = Path(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # it is in memory, or remote
        return None
    return str(path) if path.is_file() and path.stat().st_size >= _MAP_BYTES else None
