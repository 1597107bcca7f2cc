"""The compiled module, which is optional; without it, numcodecs and NumPy do the same in more time."""

from __future__ import annotations

__all__ = ["decode", "gather"]

try:
    from noether.data.zarr_store.codec._native import decode as _decode
    from noether.data.zarr_store.codec._native import gather as _gather
except ImportError:
    _is_missing = True
else:
    _is_missing = False

decode = None if _is_missing else _decode
"""Decodes chunks; None where the module is missing. The types are in ``_native.pyi``."""

gather = None if _is_missing else _gather
"""Gathers rows, and casts them; None where the module is missing."""
