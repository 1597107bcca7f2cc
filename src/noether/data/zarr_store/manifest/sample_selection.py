"""Selection of samples: all samples of a store, the samples of a split, or named samples. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, NoReturn, get_args

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names, require_one_of
from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = ["IfMissing", "choose_samples", "select_samples"]

IfMissing = Literal["error", "skip"]

_SHOWN = 5


def select_samples(manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None) -> list[str]:
    """Return the ids of the selected samples; see `_named_samples` for the parameters.

    Raises
    ------
    UnknownNameError
        The store lacks the split or a sample.
    ArgumentError
        Both `split` and `sample_ids` are given, `sample_ids` is one str, or no sample is selected.
    """
    there, missing, lacking = _named_samples(manifest, split, sample_ids)
    if missing:
        raise UnknownNameError(f"{lacking}; {nearest_names(missing[0], manifest.samples)}")
    if not there:
        _refuse_nothing(split, sample_ids, missing)
    return there


def choose_samples(
    manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None, if_missing: IfMissing
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the selected samples that the store has, and those that it lacks.

    See `ZarrStoreDataset` for parameters and errors.
    """
    require_one_of("if_missing", if_missing, get_args(IfMissing))
    there, missing, lacking = _named_samples(manifest, split, sample_ids)
    if missing and if_missing == "error":
        near = nearest_names(missing[0], manifest.samples)
        raise UnknownNameError(f"{lacking} ({near}); correct the names, or skip these samples with if_missing='skip'")
    if missing:
        warnings.warn(f"{lacking}; the dataset skips them", stacklevel=3)
    if not there:
        _refuse_nothing(split, sample_ids, missing)
    return tuple(there), tuple(missing)


def _refuse_nothing(split: str | None, sample_ids: Iterable[str] | None, missing: list[str]) -> NoReturn:
    if missing:
        raise ArgumentError("the store has none of the selected samples; convert them first")
    if split is not None:
        raise ArgumentError(f"split {split!r}: expected at least one sample, got an empty split; choose another split")
    if sample_ids is not None:
        raise ArgumentError("sample_ids: expected at least one id, got none; leave it out to select all samples")
    raise ArgumentError("the store has no samples, expected at least one; convert a source first")


def _named_samples(
    manifest: StoreManifest, split: str | None, sample_ids: Iterable[str] | None
) -> tuple[list[str], list[str], str]:
    """Return the selected samples that the store has, those that it lacks, and a message on the missing ones.

    Parameters
    ----------
    manifest : StoreManifest
        Manifest of the store.
    split : str, optional
        Name of a split, to select its samples in its order.
    sample_ids : iterable of str, optional
        Ids of the samples, in the order of the result. Without `split` and `sample_ids`, all samples are selected.

    Returns
    -------
    list of str, list of str, str
        Ids of the samples that the store has, each once; ids of the missing samples; and the message.

    Raises
    ------
    UnknownNameError
        The store has no such split.
    ArgumentError
        Both `split` and `sample_ids` are given, or `sample_ids` is one str.
    """
    if split is not None and sample_ids is not None:
        raise ArgumentError(f"split, sample_ids: expected one of the two, got both (split {split!r}); leave one out")
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
    return there, missing, f"{len(missing):,} of {len(asked):,} {what} are not in the store: {shown}"
