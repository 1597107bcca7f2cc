"""Between NumPy and PyTorch, which is imported on use: the rest of the library does without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import torch

__all__ = ["RandomSource", "make_rng", "to_tensors"]

RandomSource: TypeAlias = "np.random.Generator | torch.Generator | int | None"


def to_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Wrap arrays as CPU tensors that share their memory.

    Raises
    ------
    MissingDependencyError
        PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "returning tensors", "torch") from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def make_rng(generator: RandomSource) -> np.random.Generator:
    """Give the NumPy generator that a caller's source of randomness stands for.

    Parameters
    ----------
    generator : numpy.random.Generator, torch.Generator, int or None
        A generator is advanced, so that its next use gives another draw; an int is a seed; None is fresh randomness.

    Raises
    ------
    ArgumentError
        It is something else.
    """
    if isinstance(generator, np.random.Generator):
        return generator
    if generator is None:
        return np.random.default_rng()
    if isinstance(generator, int | np.integer) and not isinstance(generator, bool) and generator >= 0:
        return np.random.default_rng(int(generator))
    if type(generator).__module__.partition(".")[0] == "torch":
        import torch

        if isinstance(generator, torch.Generator):
            seed = torch.empty((), dtype=torch.int64, device=generator.device)
            return np.random.default_rng(int(seed.random_(generator=generator).item()))
    raise ArgumentError(
        "generator: expected a numpy.random.Generator, a torch.Generator, a seed of at least 0 or None, "
        f"got {generator!r}"
    )
