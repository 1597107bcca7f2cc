"""Random generators for transforms. Their numbers depend only on the item."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling import random_stream

__all__ = ["item_generator", "item_randomness"]


class _Randomness:
    """The generators of one item, by name."""

    def __init__(self, seed: int | None, epoch: int, repeat: int, sample_id: str) -> None:
        self._key = (secrets.randbits(128),) if seed is None else (seed, "transform", epoch, repeat, sample_id)
        self._generators: dict[str, torch.Generator] = {}

    def generator(self, name: str) -> torch.Generator:
        if name not in self._generators:
            start = random_stream(*self._key, name).getrandbits(63)
            self._generators[name] = torch.Generator().manual_seed(start)
        return self._generators[name]


_current: ContextVar[_Randomness] = ContextVar("noether_item_randomness")


def item_generator(name: str) -> torch.Generator:
    """Return the random generator of the item that the running transform of a dataset receives.

    Its numbers depend only on seed, epoch, sample, repeat and `name`: they are the same with any number of workers.

    Parameters
    ----------
    name : str
        Purpose of the generator, such as ``"jitter"``. Generators of different names are independent. Within an item,
        the same name returns the same generator, which continues its numbers.

    Raises
    ------
    ArgumentError
        No transform of a dataset is running.

    Examples
    --------
    >>> def jitter(item):
    ...     position = item["surface_position"]
    ...     noise = torch.randn(position.shape, generator=item_generator("jitter"))
    ...     return item | {"surface_position": position + 0.001 * noise}
    """
    randomness = _current.get(None)
    if randomness is None:
        raise ArgumentError(
            f"item_generator({name!r}): there is no item; call it in the transform of a ZarrStoreDataset"
        )
    return randomness.generator(name)


@contextmanager
def item_randomness(seed: int | None, epoch: int, repeat: int, sample_id: str) -> Iterator[None]:
    """Let `item_generator` return the generators of an item; without a seed, they use fresh randomness."""
    token = _current.set(_Randomness(seed, epoch, repeat, sample_id))
    try:
        yield
    finally:
        _current.reset(token)
