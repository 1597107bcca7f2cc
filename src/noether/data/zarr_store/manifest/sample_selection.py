"""Which samples of a store are meant: all, those of a split, or those that are named. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, get_args

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names, require_one_of
from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = ["IfMissing", "choose_samples", "select_samples"]

IfMissing = Literal["error", "skip"]

_SHOWN = 5


def select_samples(manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None) -> list[str]:
    """List the samples that are meant; parameters are those of `_named_samples`.

    Raises
    ------
    UnknownNameError
        The store has no such split, or lacks a sample.
    ArgumentError
        Both are given, `sample_ids` is one str, or there is no sample.
    """
    there, missing, lacking = _named_samples(manifest, split, sample_ids)
    if missing:
        raise UnknownNameError(f"{lacking}; {nearest_names(missing[0], manifest.samples)}")
    if not there:
        of_split = "" if split is None else f"split {split!r} of "
        raise ArgumentError(f"{of_split}the store has no samples; expected at least one")
    return there


def choose_samples(
    manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None, if_missing: IfMissing
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the samples that a dataset asks for and that are there, and those that are not there.

    Parameters and errors are those of `ZarrStoreDataset`.
    """
    require_one_of("if_missing", if_missing, get_args(IfMissing))
    there, missing, lacking = _named_samples(manifest, split, sample_ids)
    if missing and if_missing == "error":
        near = nearest_names(missing[0], manifest.samples)
        raise UnknownNameError(f"{lacking}; if_missing='skip' goes without them; {near}")
    if missing:
        warnings.warn(f"{lacking}; going without them", stacklevel=3)
    if not there:
        of_split = "" if split is None else f"split {split!r} of "
        raise ArgumentError(f"{of_split}the store has no samples; expected at least one to train on")
    return tuple(there), tuple(missing)


def _named_samples(
    manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None
) -> tuple[list[str], list[str], str]:
    """List the samples that are meant and there, each once, and those that are not there.

    Parameters
    ----------
    manifest : StoreManifest
        Of the store.
    split : str, optional
        Name of a split: the samples that it lists, in its order.
    sample_ids : iterable of str, optional
        The samples, in this order; with neither these nor `split`, all of the store.

    Returns
    -------
    list of str, list of str, str
        What is there, what is not, and a message on the latter.

    Raises
    ------
    UnknownNameError
        The store has no such split.
    ArgumentError
        Both are given, or `sample_ids` is one str.
    """
    if split is not None and sample_ids is not None:
        raise ArgumentError(f"expected either a split or sample ids, got both (split {split!r})")
    if isinstance(sample_ids, str):
        raise ArgumentError(f"sample_ids: expected a list of ids, got the str {sample_ids!r}; write [{sample_ids!r}]")
    asked: Iterable[str]
    what = "samples"
    if split is not None:
        if split not in manifest.splits:
            raise UnknownNameError(f"split {split!r} is not in the store; {nearest_names(split, manifest.splits)}")
        asked, what = manifest.splits[split], f"samples of split {split!r}"
    else:
        asked = manifest.samples if sample_ids is None else sample_ids
    asked = list(dict.fromkeys(asked))
    there = [sample_id for sample_id in asked if sample_id in manifest.samples]
    missing = [sample_id for sample_id in asked if sample_id not in manifest.samples]
    shown = ", ".join(map(repr, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
    return there, missing, f"{len(missing)} of {len(asked)} {what} are not in the store: {shown}"
