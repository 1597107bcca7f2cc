"""File formats of one array: found by suffix, each with its library imported on use."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from noether.data.zarr_store.errors import MissingDependencyError, SourceError

__all__ = ["FORMATS", "load_file"]


def _load_npy(file: BinaryIO) -> Any:
    # Not np.load: it takes a text file for a pickle, and advises to load that.
    return np.lib.format.read_array(file, allow_pickle=False)


def _load_pt(file: BinaryIO) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "reading .pt files", "torch") from error
    try:
        value = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises weights_only=False, which runs the code.
        found = re.search(r"(?i)unsupported (?:global|class):? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"it holds {found[1]}" if found else "it is damaged, or holds something else"
        raise ValueError(f"{what}, where only tensors are allowed") from error
    return _to_numpy(value)


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
    except MissingDependencyError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{where}: {name} needs more memory than there is ({_first_line(error)}); make the file again if it is "
            "not that large, else use fewer workers"
        ) from error
    except Exception as error:  # broken bytes make the parsers raise anything, KeyError and TokenError included
        raise SourceError(f"{where}: {name} cannot be read ({_first_line(error)}); make the file again") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if text and isinstance(error, ValueError | TypeError | RuntimeError | OSError | MemoryError):
        return text.splitlines()[0]
    return f"it is damaged, or in another format: {error!r}"
