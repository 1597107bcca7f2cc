"""The optional compiled module. Without it, numcodecs and NumPy do the same work more slowly."""

from __future__ import annotations

import threading
import warnings

__all__ = [
    "cell_centers",
    "decode",
    "encode",
    "face_vectors",
    "hash_buckets",
    "hash_order",
    "implementation",
    "measure_loss",
    "read",
    "scatter",
    "warn_of_slow_path",
]

_error = ""
try:
    from noether.data.zarr_store.codec._native import cell_centers as _cell_centers
    from noether.data.zarr_store.codec._native import decode as _decode
    from noether.data.zarr_store.codec._native import encode as _encode
    from noether.data.zarr_store.codec._native import face_vectors as _face_vectors
    from noether.data.zarr_store.codec._native import hash_buckets as _hash_buckets
    from noether.data.zarr_store.codec._native import hash_order as _hash_order
    from noether.data.zarr_store.codec._native import measure_loss as _measure_loss
    from noether.data.zarr_store.codec._native import read as _read
    from noether.data.zarr_store.codec._native import scatter as _scatter
except ImportError as error:
    _error = str(error) or "ImportError"

cell_centers = None if _error else _cell_centers
"""Computes the centres of cells; None if the module is missing. ``_native.pyi`` has the documentation."""

decode = None if _error else _decode
"""Decodes chunks; None if the module is missing."""

encode = None if _error else _encode
"""Gathers rows and encodes them as chunks; None if the module is missing."""

face_vectors = None if _error else _face_vectors
"""Computes centres and area vectors of faces; None if the module is missing."""

hash_buckets = None if _error else _hash_buckets
"""Computes the buckets of rows from their hashes; None if the module is missing."""

hash_order = None if _error else _hash_order
"""Sorts rows by their hashes; None if the module is missing."""

measure_loss = None if _error else _measure_loss
"""Measures the loss of a cast; None if the module is missing."""

read = None if _error else _read
"""Reads chunks from a file and decodes them; None if the module is missing."""

scatter = None if _error else _scatter
"""Groups rows by bucket; None if the module is missing."""

implementation: str = "python" if _error else "native"
"""The code that encodes and decodes chunks: ``"native"`` (the compiled module) or ``"python"`` (slower)."""

# The first caller acquires this lock, and it is never released. A forked process inherits the state of the lock, so it
# does not warn again.
_first_use = threading.Lock()


def warn_of_slow_path() -> None:
    """Warn that the compiled module is missing, once per process.

    Functions call this when they use the slow implementation. The category is `RuntimeWarning`, and the message begins
    with "noether-zarr-store". If the module is missing on purpose, silence the warning with a filter::

        warnings.filterwarnings("ignore", "noether-zarr-store", RuntimeWarning)

    Each worker process warns once, unless it was forked from a process that had already warned. The environment
    variable ``PYTHONWARNINGS=ignore:noether-zarr-store:RuntimeWarning`` silences the warning in all processes.
    """
    if not _first_use.acquire(blocking=False):
        return
    warnings.warn(
        f"noether-zarr-store runs without its compiled module ({_error}). Without it, decoding chunks takes 2 to 7 "
        "times as long, encoding chunks 1.4 to 2.4 times, shuffling points 5 to 10 times, and computing the centres of "
        "cells 10 to 20 times. Install a C compiler and the headers of zstd (Debian: apt-get install gcc libc6-dev "
        "libzstd-dev). Then install the package again, from its sources: pip install --force-reinstall --no-deps "
        "--no-cache-dir --no-binary noether-zarr-store noether-zarr-store",
        RuntimeWarning,
        stacklevel=3,
    )
