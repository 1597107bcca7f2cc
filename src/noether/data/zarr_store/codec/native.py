"""The compiled module, which is optional."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["find_native"]


def find_native(name: str) -> Callable[..., Any] | None:
    """Give a function of `_native.c`; it is there where the package was built with a C compiler and zstd's headers."""
    try:
        module = import_module("noether.data.zarr_store.codec._native")
    except ImportError:
        return None
    function: Callable[..., Any] = getattr(module, name)
    return function
