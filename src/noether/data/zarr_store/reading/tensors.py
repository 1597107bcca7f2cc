"""Conversions between NumPy and PyTorch. PyTorch is imported on use: the rest of the library does not need it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import torch

__all__ = ["RandomSource", "draw_entropy", "global_generator", "to_tensors"]

RandomSource: TypeAlias = "np.random.Generator | torch.Generator | int | None"


def to_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Wrap arrays as CPU tensors that share their memory.

    Raises
    ------
    MissingDependencyError
        PyTorch is not installed.
    """
    from_numpy = _import_torch().from_numpy
    return {name: from_numpy(array) for name, array in arrays.items()}


def global_generator() -> torch.Generator:
    """Return PyTorch's global generator, which ``torch.manual_seed`` seeds; errors are those of `to_tensors`."""
    generator: torch.Generator = _import_torch().default_generator
    return generator


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "returning tensors", "torch") from error
    return torch


def draw_entropy(generator: RandomSource) -> tuple[int, ...]:
    """Return the whole numbers that seed one draw, from a caller's source of randomness.

    Parameters
    ----------
    generator : numpy.random.Generator, torch.Generator, int or None
        A generator is advanced, so that its next use returns another draw. An int is a seed. None means fresh
        randomness.

    Raises
    ------
    ArgumentError
        `generator` has another type, or is a negative int.
    """
    if isinstance(generator, np.random.Generator):
        return tuple(generator.integers(1 << 63, size=2).tolist())
    if generator is None:
        return (secrets.randbits(128),)
    if isinstance(generator, int | np.integer) and not isinstance(generator, bool) and generator >= 0:
        return (int(generator),)
    if type(generator).__module__.partition(".")[0] == "torch":
        import torch

        if isinstance(generator, torch.Generator):
            drawn = torch.empty(2, dtype=torch.int64, device=generator.device).random_(generator=generator)
            return tuple(drawn.tolist())
    raise ArgumentError(
        "generator: expected a numpy.random.Generator, a torch.Generator, a seed of at least 0 or None, "
        f"got {generator!r}"
    )
