"""The functions of the compiled module, and a way to run tests without them."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.codec import native

__all__ = ["FUNCTIONS", "take_away"]

FUNCTIONS = (
    "cell_centers",
    "decode",
    "encode",
    "face_vectors",
    "hash_buckets",
    "hash_order",
    "measure_loss",
    "read",
    "scatter",
)


def take_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the functions of the compiled module, so that numcodecs and NumPy do the work."""
    for name in FUNCTIONS:
        monkeypatch.setattr(native, name, None)
