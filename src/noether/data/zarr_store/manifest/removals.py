"""The manifest's record of groups that are being removed, and the checks that respect it. Pure.

A removal has three steps. First, the manifest moves the group of a sample from `samples` to `removing`. Then the group
is removed. Finally, the manifest drops the group from `removing`. So any process can finish a removal that was killed,
and no reader, merge or open writer takes a half-removed group for a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from noether.data.zarr_store.errors import ArgumentError, ManifestError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest.lines import SampleEntry, SampleLines

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = [
    "SeenManifest",
    "begin_removal",
    "end_removal",
    "groups_of",
    "live_records",
    "require_apart",
    "unfinished_removals",
]

# A manifest can have 131,072 values beside samples and splits.
_MAX_REMOVALS = 1 << 16
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SeenManifest:
    """The manifest as a writer saw it last. With it, the writer can distinguish a removed sample from a new one.

    Attributes
    ----------
    sample_ids : frozenset of str
        Ids of the listed samples.
    removing : frozenset of str
        Paths of the groups that were being removed.
    """

    sample_ids: frozenset[str] = frozenset()
    removing: frozenset[str] = frozenset()

    @classmethod
    def of(cls, manifest: StoreManifest) -> Self:
        """Return the ids and removals of a manifest."""
        return cls(frozenset(manifest.samples), frozenset(manifest.removing))


def live_records(
    there: StoreManifest, recorded: Mapping[str, SampleEntry], seen: SeenManifest, has_root: Callable[[str], bool]
) -> Mapping[str, SampleEntry]:
    """Return the recorded samples that were not removed after they were written.

    A sample that the writer saw in the manifest was removed if its group is being removed, or if the manifest lacks it
    and its group has no root. Any other sample whose group is or was being removed can have been written after the
    removal began: it stays if its group has a root.

    Parameters
    ----------
    there : StoreManifest
        The current manifest.
    recorded : mapping of str to SampleEntry
        The samples that a writer has recorded since it saw the manifest.
    seen : SeenManifest
        The manifest as the writer saw it.
    has_root : callable of str to bool
        Function that returns whether the group at a path is complete.
    """
    if not (there.removing or seen.sample_ids or seen.removing):
        return recorded
    removed = set()
    for sample_id, path in _relpaths(recorded):
        is_marked, was_listed = path in there.removing, sample_id in seen.sample_ids
        is_doubtful = sample_id not in there.samples and (was_listed or path in seen.removing)
        if (is_marked and was_listed) or ((is_marked or is_doubtful) and not has_root(path)):
            removed.add(sample_id)
    if not removed:
        return recorded
    return {sample_id: recorded[sample_id] for sample_id in recorded if sample_id not in removed}


def groups_of(manifest: StoreManifest, sample_ids: Collection[str]) -> dict[str, str]:
    """Return the groups of samples that are listed or being removed, as sample ids by path.

    Raises
    ------
    UnknownNameError
        The store lacks one of the samples.
    ManifestError
        One of the groups lies inside the group of another sample, or contains such a group.
    """
    marked = set(manifest.removing.values())
    unknown = [one for one in sample_ids if one not in manifest.samples and one not in marked]
    if unknown:
        shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")
        raise UnknownNameError(
            f"{len(unknown):,} of {len(sample_ids):,} samples are not in the store: {shown}; nothing was changed; "
            f"{nearest_names(unknown[0], manifest.samples)}"
        )
    asked = set(sample_ids)
    groups = {path: sample_id for path, sample_id in manifest.removing.items() if sample_id in asked}
    groups |= {
        manifest.sample(sample_id).relpath: sample_id for sample_id in sample_ids if sample_id in manifest.samples
    }
    require_apart(manifest, groups)
    return groups


def begin_removal(manifest: StoreManifest, sample_ids: Collection[str]) -> StoreManifest:
    """Return a manifest that has moved samples to `removing`; its splits lack them too.

    The result names no chunk index of the earlier form, since that index describes exactly the samples of a manifest.

    Raises
    ------
    ArgumentError
        There are more than 65,536 samples to remove.
    UnknownNameError, ManifestError
        See `groups_of`.
    """
    removing = manifest.removing | groups_of(manifest, sample_ids)
    if len(removing) > _MAX_REMOVALS:
        raise ArgumentError(
            f"expected at most {_MAX_REMOVALS:,} samples to remove at once, got {len(removing):,}; remove fewer at once"
        )
    return _without(manifest, sample_ids).model_copy(update={"removing": dict(sorted(removing.items()))})


def end_removal(
    manifest: StoreManifest, groups: Mapping[str, str], has_root: Callable[[str], bool]
) -> tuple[StoreManifest, dict[str, str]]:
    """Return a manifest without the finished removals, and the groups that another process has written again.

    A writer can have listed a sample again during the removal of its group. The sample stays if its group has a root.

    Parameters
    ----------
    manifest : StoreManifest
        The current manifest.
    groups : mapping of str to str
        Sample ids of the removed groups, by path.
    has_root : callable of str to bool
        Function that returns whether the group at a path is complete.
    """
    again = {path: sample_id for path, sample_id in groups.items() if path in manifest.removing and has_root(path)}
    removing = {path: one for path, one in manifest.removing.items() if path not in groups or path in again}
    relisted = [
        sample_id
        for path, sample_id in groups.items()
        if sample_id in manifest.samples and manifest.sample(sample_id).relpath == path and not has_root(path)
    ]
    if relisted:
        manifest = _without(manifest, relisted)
    return manifest.model_copy(update={"removing": removing}), again


def require_apart(manifest: StoreManifest, groups: Mapping[str, str]) -> None:
    """Raise `ManifestError` if the removal of groups would remove objects of other samples.

    Parameters
    ----------
    manifest : StoreManifest
        The manifest.
    groups : mapping of str to str
        Sample ids of the groups to remove, by path.
    """
    above = {parent for path in groups for parent in _parents(path)}
    removed = set(groups.values())
    for sample_id, path in _relpaths(manifest.samples):
        if sample_id in removed and path in groups:
            continue
        inside = next((one for one in (path, *_parents(path)) if one in groups), None)
        if inside is not None or path in above:
            other = inside or next(one for one in groups if path in _parents(one))
            raise ManifestError(
                f"sample {groups[other]!r}: its group {other} cannot be removed: it shares objects with {path}, the "
                f"group of sample {sample_id!r}; nothing was changed; correct the paths in the manifest by hand"
            )


def unfinished_removals(manifest: StoreManifest) -> dict[str, str]:
    """Return the groups whose removal has not ended and that no sample lists, as sample ids by path."""
    if not manifest.removing:
        return {}
    listed = {path for _, path in _relpaths(manifest.samples)}
    return {path: sample_id for path, sample_id in manifest.removing.items() if path not in listed}


def _without(manifest: StoreManifest, sample_ids: Collection[str]) -> StoreManifest:
    gone = frozenset(sample_ids)
    samples = SampleLines.of(manifest.samples, manifest.domains, "manifest.json").without(gone)
    splits = {name: [one for one in ids if one not in gone] for name, ids in manifest.splits.items()}
    return manifest.model_copy(update={"samples": samples, "splits": splits, "chunk_index": None})


def _parents(path: str) -> Iterable[str]:
    return list(accumulate(path.split("/")[:-1], lambda parent, part: f"{parent}/{part}"))


def _relpaths(samples: Mapping[str, SampleEntry]) -> Iterator[tuple[str, str]]:
    if isinstance(samples, SampleLines):
        yield from samples.relpaths()
    else:
        yield from ((sample_id, entry.relpath) for sample_id, entry in samples.items())
