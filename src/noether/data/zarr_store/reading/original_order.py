"""Restoring the order of the source from stored order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import default_threads
from noether.data.zarr_store.errors import OriginalOrderError, TooLargeError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHMS, PlannedRead, permutation

__all__ = ["require_original_order", "require_whole_domains", "shuffle_of"]


def require_original_order(manifest: StoreManifest) -> str:
    """Return the shuffle algorithm of a store.

    Raises
    ------
    OriginalOrderError
        The algorithm is not known, or the store has only a fraction of the points.
    """
    algorithm, origin = manifest.shuffle_algorithm, manifest.copied_from
    if origin is not None:
        raise OriginalOrderError(
            f"the order of the source needs all points, but the store has a fraction of {origin.fraction:g} of the "
            f"points of {origin.store_root}; read that store, or read with order='stored'"
        )
    if algorithm is None or algorithm not in SHUFFLE_ALGORITHMS:
        raise OriginalOrderError(
            "the order of the source is unknown: expected one of the shuffle algorithms "
            f"{', '.join(SHUFFLE_ALGORITHMS)}, the manifest names {algorithm or 'no shuffle algorithm'}; "
            "read with order='stored'"
        )
    return algorithm


def require_whole_domains(planned: Iterable[PlannedRead]) -> None:
    """Raise `OriginalOrderError` if only a part of a domain is read: only a whole domain has an order to restore."""
    for one in planned:
        plan = one.plan
        if plan.n_points < plan.grid.n_points:
            raise OriginalOrderError(
                f"order='original': expected whole domains, got a draw of {plan.n_points:,} of "
                f"{plan.grid.n_points:,} points of domain {one.domain!r}; leave the domain out of num_points"
            )


def shuffle_of(manifest: StoreManifest, sample_id: str, entry: SampleEntry, domain: str) -> NDArray[np.int64]:
    """Return the permutation of a domain; see `ZarrChunkReader.permutation`."""
    if domain not in entry.domains:
        raise UnknownNameError(f"sample {sample_id!r} has no domain {domain!r}; {nearest_names(domain, entry.domains)}")
    algorithm, n_points = require_original_order(manifest), entry.domains[domain].n_points
    try:
        return permutation(
            n_points,
            algorithm=algorithm,
            shuffle_seed=manifest.shuffle_seed,
            sample_id=sample_id,
            domain=domain,
            threads=default_threads(),
        )
    except MemoryError as error:
        raise TooLargeError(
            f"sample {sample_id!r}, domain {domain!r}: the order of {n_points:,} points does not fit in memory; read "
            "on a machine with more memory, or read with order='stored'"
        ) from error
