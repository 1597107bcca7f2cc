"""Which samples of a store a dataset has."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, get_args

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest import StoreManifest, named_samples

__all__ = ["IfMissing", "choose_samples"]

IfMissing = Literal["error", "skip"]


def choose_samples(
    manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None, if_missing: IfMissing
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the samples that are asked for and there, and those that are not there.

    Parameters and errors are those of `ZarrStoreDataset`.
    """
    if if_missing not in get_args(IfMissing):
        raise ArgumentError(f"if_missing: expected one of {', '.join(get_args(IfMissing))}, got {if_missing!r}")
    there, missing, lacking = named_samples(manifest, split, sample_ids)
    if missing and if_missing == "error":
        near = nearest_names(missing[0], manifest.samples)
        raise UnknownNameError(f"{lacking}; if_missing='skip' goes without them; {near}")
    if missing:
        warnings.warn(f"{lacking}; going without them", stacklevel=3)
    if not there:
        of_split = "" if split is None else f"split {split!r} of "
        raise ArgumentError(f"{of_split}the store has no samples; expected at least one to train on")
    return tuple(there), tuple(missing)
