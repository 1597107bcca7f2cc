"""The compiled module, which is optional; without it, numcodecs and NumPy do the same in more time."""

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
"""Computes the centres of cells; None where the module is missing."""

decode = None if _error else _decode
"""Decodes chunks; None where the module is missing. The types are in ``_native.pyi``."""

encode = None if _error else _encode
"""Gathers rows, and encodes them as chunks; None where the module is missing."""

face_vectors = None if _error else _face_vectors
"""Computes centres and area vectors of faces; None where the module is missing."""

hash_buckets = None if _error else _hash_buckets
"""Tells the buckets of rows; None where the module is missing."""

hash_order = None if _error else _hash_order
"""Orders rows by their hashes; None where the module is missing."""

measure_loss = None if _error else _measure_loss
"""Measures what a cast loses; None where the module is missing."""

read = None if _error else _read
"""Reads chunks of a file, and decodes them; None where the module is missing."""

scatter = None if _error else _scatter
"""Groups rows by bucket; None where the module is missing."""

implementation: str = "python" if _error else "native"
"""Which code encodes and decodes chunks: ``"native"``, the compiled module, or ``"python"``, the slower one."""

# The first caller acquires it, and nobody releases it. Forked processes inherit it acquired, and do not warn again.
_first_use = threading.Lock()


def warn_of_slow_path() -> None:
    """Warn of the slow implementation, once per process.

    The implementations call this at their first use of the slow path. The category is `RuntimeWarning`, and the message
    begins with "noether-zarr-store", so that a filter silences it where the module is missing on purpose::

        warnings.filterwarnings("ignore", "noether-zarr-store", RuntimeWarning)

    Each worker process warns on its own, unless it is forked from one that did. The environment variable
    ``PYTHONWARNINGS=ignore:noether-zarr-store:RuntimeWarning`` silences all of them.
    """
    if not _first_use.acquire(blocking=False):
        return
    warnings.warn(
        "noether-zarr-store runs without its compiled module: chunks take 2 to 7 times as long to decode, and 1.4 "
        "to 2.4 times as long to encode, points 5 to 10 times as long to shuffle, and centres of cells 10 to 20 times "
        f"as long to compute ({_error}). Install a C compiler and zstd's headers (Debian: apt-get install "
        "gcc libc6-dev libzstd-dev), then the package again: pip install --force-reinstall --no-deps --no-cache-dir "
        "noether-zarr-store",
        RuntimeWarning,
        stacklevel=3,
    )
