"""File formats of one array: found by suffix, each with its library imported on use."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from noether.data.zarr_store.errors import MissingDependencyError, SourceError

__all__ = ["FORMATS", "load_file"]


def _load_npy(file: BinaryIO) -> Any:
    return np.load(file, allow_pickle=False)


def _load_pt(file: BinaryIO) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "reading .pt files", "torch") from error
    return _to_numpy(torch.load(file, map_location="cpu", weights_only=True))


def _to_numpy(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16, and float32 holds all its values.
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: _to_numpy(item) for key, item in value.items()}
    return value


FORMATS: dict[str, Callable[[BinaryIO], Any]] = {".pt": _load_pt, ".npy": _load_npy}


def load_file(file: BinaryIO, name: str, where: str) -> Any:
    """Load what one file holds: an array, or for attributes also a dict of them.

    Parameters
    ----------
    file : binary file
        Open for reading.
    name : str
        Its name; the suffix says its format.
    where : str
        Names sample and field, to begin an error with.

    Raises
    ------
    SourceError
        The file is broken, or holds code instead of data.
    MissingDependencyError
        The format's library is not installed.
    """
    try:
        return FORMATS[PurePosixPath(name).suffix](file)
    except (ValueError, EOFError, RuntimeError, OSError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(f"{where}: {name} cannot be read ({reason}); make the file again") from error
