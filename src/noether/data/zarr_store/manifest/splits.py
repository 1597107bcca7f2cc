"""Splits of a store: the samples for training, for validation and for test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from itertools import combinations
from math import floor
from numbers import Real
from pathlib import Path
from typing import Any

from noether.data.zarr_store.errors import ArgumentError, nearest_names
from noether.data.zarr_store.manifest.store_manifest import StoreManifest
from noether.data.zarr_store.stores import normalize_root

__all__ = ["read_split_files", "save_splits", "split_samples", "split_store"]

_SHOWN = 5
_SEEDS_TRIED = 1000


def split_samples(
    sample_ids: Iterable[str], *, test: float, validation: float = 0.0, seed: int = 0, exact: bool = False
) -> dict[str, list[str]]:
    """Divide samples at random into ``train``, ``validation`` (if requested) and ``test``.

    The split of a sample depends only on the seed and its own id. It stays the same when other samples are added or
    removed, so a training sample never becomes a test sample. The price is that fractions hold only on average: of n
    samples, a fraction p has p n ± sqrt(p (1 - p) n). A larger fraction keeps the samples of a smaller one and adds
    more.

    With `exact`, the samples are ordered by the same hash and divided by exact counts: p n, rounded so that the counts
    add up to n (the largest remainders are rounded up). Then samples near the boundary of a split can change their
    split when samples are added or removed.

    Parameters
    ----------
    sample_ids : iterable of str
        The samples, in any order.
    test, validation : float
        Fractions of the samples; the rest is for training.
    seed : int
        Seed of the hash; another seed makes other splits.
    exact : bool
        Whether the splits have exact counts. Then samples can change their split later.

    Returns
    -------
    dict of str to list of str
        Sorted ids by split. With few samples, a split can be empty.

    Raises
    ------
    ArgumentError
        A fraction is out of its range, or no sample is left for training.
    """
    _check_fraction(test, "test")
    if validation:
        _check_fraction(validation, "validation")
    if test + validation >= 1:
        raise ArgumentError(
            f"test, validation: expected a sum of less than 1, got {test} + {validation}; leave a fraction for training"
        )
    place: dict[str, float] = {sample_id: _place(seed, sample_id) for sample_id in sorted(sample_ids)}
    first_train, first_validation = test, 1 - validation
    if exact:
        ranked = sorted(place, key=place.__getitem__)
        place = {sample_id: rank for rank, sample_id in enumerate(ranked)}
        first_train, n_validation = _exact_counts(len(ranked), test, validation)
        first_validation = len(ranked) - n_validation
    splits: dict[str, list[str]] = {"train": [], **({"validation": []} if validation else {}), "test": []}
    for sample_id in sorted(place):
        # Test and validation are at the two ends of the range, so that neither depends on the size of the other.
        at = place[sample_id]
        name = "test" if at < first_train else "validation" if at >= first_validation else "train"
        splits[name].append(sample_id)
    return splits


def split_store(
    root: str | os.PathLike[str],
    *,
    test: float,
    validation: float = 0.0,
    seed: int = 0,
    exact: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, list[str]]:
    """Divide the samples of a store as `split_samples` does, and record the splits in its manifest.

    After more samples were added, call the function again: it adds them to the splits and moves no other sample. With
    `exact`, samples near the boundary of a split can move, which requires `overwrite`.

    Parameters
    ----------
    root : str or path
        Local path or URL of the store.
    test, validation, seed, exact
        See `split_samples`.
    overwrite : bool
        Whether to replace all splits of the store, even if samples change their split.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    dict of str to list of str
        The splits.

    Raises
    ------
    ManifestError
        There is no store.
    ArgumentError
        A fraction is out of its range, a split would be empty, or samples would change their split.
    """
    # Invalid arguments are reported before the store is opened.
    root, splits = normalize_root(root), split_samples([], test=test, validation=validation, seed=seed)

    def change(current: StoreManifest) -> StoreManifest:
        nonlocal splits
        if not current.samples:
            raise ArgumentError(f"{root}: the store has no samples to split; convert a source first")
        splits = split_samples(current.samples, test=test, validation=validation, seed=seed, exact=exact)
        if not all(splits.values()):
            raise ArgumentError(f"{root}: {_empty_split(splits, test, validation, seed, exact=exact)}")
        if not overwrite:
            _require_no_move(current.splits, splits)
        return current.model_copy(update={"splits": splits})

    StoreManifest.update(root, change, storage_options=storage_options)
    return splits


def save_splits(
    root: str | os.PathLike[str],
    splits: Mapping[str, list[str]],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Record splits in the manifest of a store. They replace splits of the same names.

    Raises
    ------
    ManifestError
        There is no store.
    """
    StoreManifest.update(
        normalize_root(root),
        lambda current: current.model_copy(update={"splits": {**current.splits, **splits}}),
        storage_options=storage_options,
    )


def read_split_files(
    files: Mapping[str, str | os.PathLike[str]], known: Collection[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Read splits from files with one sample id per line. Blank lines and lines that begin with ``#`` are skipped.

    Parameters
    ----------
    files : mapping of str to str or path
        File of each split, by name of the split.
    known : collection of str
        Ids of the existing samples. Other ids are left out, since public lists name samples that were never published.

    Returns
    -------
    dict of str to list of str, list of str
        Ids by split in the order of the files, each once; and notices for the user, on ids that were left out and on
        splits that share samples.

    Raises
    ------
    ArgumentError
        A file cannot be read, or names no known sample.
    """
    splits: dict[str, list[str]] = {}
    notices = []
    for name, path in files.items():
        listed = _listed_ids(name, path)
        splits[name] = [sample_id for sample_id in listed if sample_id in known]
        unknown = [sample_id for sample_id in listed if sample_id not in known]
        if unknown:
            what = (
                f"split {name!r}: {len(unknown):,} of the {len(listed):,} ids in {path} are neither in the source nor "
                f"in the store: {_shown(unknown)}"
            )
            near = nearest_names(unknown[0], known)
            if not splits[name]:
                raise ArgumentError(f"{what}; {near}")
            notices.append(f"{what}; they are left out; {near}")
    for (one, its), (other, others) in combinations(splits.items(), 2):
        shared = sorted(set(its) & set(others))
        if shared:
            notices.append(f"splits {one!r} and {other!r} share {len(shared):,} samples: {_shown(shared)}")
    return splits, notices


def _check_fraction(value: float, name: str) -> None:
    # NaN fails the comparison.
    if not (isinstance(value, Real) and 0 < value < 1):
        raise ArgumentError(f"{name}: expected a fraction between 0 and 1, got {value!r}; use a fraction such as 0.1")


def _place(seed: int, sample_id: str) -> float:
    """Return the hash of a sample as a number, uniform in [0, 1)."""
    digest = hashlib.sha256(f"split:{seed}:{sample_id}".encode()).digest()
    # 53 bits, the precision of a float.
    return (int.from_bytes(digest[:8], "little") >> 11) / (1 << 53)


def _exact_counts(n_samples: int, test: float, validation: float) -> tuple[int, int]:
    """Return the sizes of test and validation. The largest remainders are rounded up; of equal ones, train's is last.

    A fraction is taken as the decimal number that the user wrote: with the float, 0.29 of 100 samples would be a little
    less than 29.
    """
    of_test, of_validation = (n_samples * Fraction(repr(float(fraction))) for fraction in (test, validation))
    shares = [of_test, of_validation, n_samples - of_test - of_validation]
    counts = [floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: counts[place] - shares[place])
    for place in by_remainder[: n_samples - sum(counts)]:
        counts[place] += 1
    return counts[0], counts[1]


def _empty_split(
    splits: Mapping[str, list[str]], test: float, validation: float, seed: int, *, exact: bool = False
) -> str:
    """Return the message of the error for an empty split, with ways out that leave no split empty."""
    [empty, *_] = [name for name, ids in splits.items() if not ids]
    sample_ids = [sample_id for ids in splits.values() for sample_id in ids]
    fraction = {"test": test, "validation": validation, "train": 1 - test - validation}[empty]
    what = f"The {empty} split is empty: with {len(sample_ids):,} samples and a fraction of {fraction:.6g}"

    def leaves_none_empty(seed: int, *, exact: bool = False) -> bool:
        return all(split_samples(sample_ids, test=test, validation=validation, seed=seed, exact=exact).values())

    if exact:
        return f"{what} the exact count is 0. Use other fractions."
    seeds = (other for other in range(seed + 1, seed + _SEEDS_TRIED) if leaves_none_empty(other))
    other = next(seeds, None)
    ways = ["`--exact`"] if leaves_none_empty(seed, exact=True) else []
    ways += [] if other is None else [f"another seed ({other} works)"]
    return f"{what} a hash-based split can be. Use {', or '.join(ways) or 'other fractions'}."


def _require_no_move(former: Mapping[str, list[str]], splits: Mapping[str, list[str]]) -> None:
    members = {name: set(ids) for name, ids in splits.items()}
    moved = [
        (sample_id, name) for name, ids in former.items() for sample_id in ids if sample_id not in members.get(name, ())
    ]
    if moved:
        sizes = ", ".join(f"{name} {len(ids):,}" for name, ids in former.items())
        sample_id, name = moved[0]
        raise ArgumentError(
            f"the store has splits ({sizes}), and {len(moved):,} samples would change their split, such as "
            f"{sample_id!r} of {name!r}; use --overwrite (overwrite=True) to replace all splits"
        )


def _listed_ids(name: str, path: str | os.PathLike[str]) -> list[str]:
    try:
        lines = [line.strip() for line in Path(path).read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise ArgumentError(f"split {name!r}: cannot read {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"split {name!r}: {path} is not UTF-8 text ({error}); save it as UTF-8") from error
    listed = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not listed:
        raise ArgumentError(f"split {name!r}: {path} lists no sample; write one id per line")
    return listed


def _shown(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")
