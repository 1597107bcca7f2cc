"""The groups in a listing of a store, and the manifest of the store that is rebuilt from the roots of its groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from noether.data.zarr_store.core import GROUP_SUFFIX, ROOT_KEY, ChecksumState, checksum_state, parse_document
from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.layout import DomainLayout
from noether.data.zarr_store.manifest.field_merging import united_fields
from noether.data.zarr_store.manifest.lines import SampleEntry
from noether.data.zarr_store.manifest.removals import unfinished_removals
from noether.data.zarr_store.manifest.store_manifest import StoreManifest
from noether.data.zarr_store.stores import Storage, StoredObject, join

__all__ = [
    "Listing",
    "OwnManifest",
    "checksum_state_of_root",
    "directories_of",
    "is_own_key",
    "list_store",
    "read_own_manifests",
    "shards_by_array",
    "united",
]

# Threads spend almost all their time waiting for the storage.
_THREADS = 32

# zarr's name of a shard has no leading zeros.
_SHARD = re.compile(r"(.+)/c/(0|[1-9][0-9]*)/0")


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a store, without hidden objects.

    Attributes
    ----------
    groups : dict of str to dict of str to int
        Size of each object in a group, by path of the group and key in the group.
    others : dict of str to int
        Size of each object outside of all groups, by key.
    """

    groups: dict[str, dict[str, int]]
    others: dict[str, int]

    @property
    def complete(self) -> list[str]:
        """Paths of the groups that are complete, sorted."""
        return sorted(path for path, sizes in self.groups.items() if ROOT_KEY in sizes)

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return len(self.others) + sum(map(len, self.groups.values()))


def list_store(objects: Iterable[StoredObject], relpaths: Collection[str] = frozenset()) -> Listing:
    """Return the listing of objects by group.

    Parameters
    ----------
    objects : iterable of StoredObject
        The objects; those whose path has a name that starts with a dot are left out.
    relpaths : collection of str
        Known paths of groups. Any other directory is a group if its name ends in ``.zarr``.
    """
    listing = Listing({}, {})
    for item in objects:
        if item.key.startswith(".") or "/." in item.key:
            continue
        path = _group_of(item.key, relpaths)
        if path is None:
            listing.others[item.key] = item.size
        else:
            listing.groups.setdefault(path, {})[item.key[len(path) + 1 :]] = item.size
    return listing


def _group_of(key: str, relpaths: Collection[str]) -> str | None:
    above = list(accumulate(key.split("/")[:-1], lambda path, part: f"{path}/{part}"))
    known = next((path for path in reversed(above) if path in relpaths), None)
    # A group nested in another group is not a sample.
    return known or next((path for path in above if path.lower().endswith(GROUP_SUFFIX)), None)


def shards_by_array(sizes: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Return the size of each shard, by path of the array and number of the shard."""
    shards: dict[str, dict[int, int]] = {}
    for inside, size in sizes.items():
        match = _SHARD.fullmatch(inside)
        if match is not None:
            shards.setdefault(match[1], {})[int(match[2])] = size
    return shards


def directories_of(sizes: Iterable[str]) -> set[str]:
    """Return the paths of all directories that hold objects, below the group."""
    directories: set[str] = set()
    for inside in sizes:
        directory = inside.rpartition("/")[0]
        while directory and directory not in directories:
            directories.add(directory)
            directory = directory.rpartition("/")[0]
    return directories


def is_own_key(inside: str, domains: Mapping[str, DomainLayout]) -> bool:
    """Return whether the writer of a store with these domains uses this key in a group."""
    paths = {array.array_name for layout in domains.values() for array in layout.arrays.values()}
    parent, _, last = inside.rpartition("/")
    if last == ROOT_KEY:
        return not parent or parent in domains or parent in paths
    shard = _SHARD.fullmatch(inside)
    return shard is not None and shard[1] in paths


@dataclass(frozen=True, slots=True)
class OwnManifest:
    """A complete group's own manifest: a manifest with only its sample, from its root ``zarr.json``.

    Attributes
    ----------
    alone : StoreManifest
        Manifest with only the sample of the group.
    sample_id : str
        Id of the sample.
    entry : SampleEntry
        Entry of the sample for the store's manifest.
    checksum_state : {"intact", "broken", "none"}
        State of the document checksum of the root ``zarr.json``.
    """

    alone: StoreManifest
    sample_id: str
    entry: SampleEntry
    checksum_state: ChecksumState

    @classmethod
    def of_root(cls, document: bytes, path: str, origin: str) -> OwnManifest:
        """Read a group's own manifest from the root ``zarr.json`` of the group at `path`; errors name `origin`.

        Raises
        ------
        ManifestError
            The root has no manifest, or the manifest has another path.
        """
        alone = StoreManifest.of_group(document, origin)
        samples = dict(alone.samples)
        if [entry.relpath for entry in samples.values()] != [path]:
            raise ManifestError(
                f"{path}: expected a group that was written here, got the group "
                f"{', '.join(entry.relpath for entry in samples.values()) or 'of no sample'}; move it back to its path"
            )
        [(sample_id, entry)] = samples.items()
        return cls(alone, sample_id, entry, checksum_state_of_root(document))


def checksum_state_of_root(document: bytes) -> ChecksumState:
    """Return the state of the document checksum of a group's root ``zarr.json``."""
    try:
        attributes: Any = parse_document(document)["attributes"]
    except (ValueError, LookupError, TypeError):
        return "none"
    return checksum_state(document, attributes) if isinstance(attributes, dict) else "none"


def read_own_manifests(storage: Storage, paths: Collection[str]) -> Iterator[tuple[str, OwnManifest | ManifestError]]:
    """Read the root of each complete group. Yield its path, and its own manifest or the error."""

    def read(path: str) -> OwnManifest | ManifestError:
        # The root is missing while a listed group is being replaced. Empty bytes raise a ManifestError.
        document = storage.read_if_there(f"{path}/{ROOT_KEY}") or b""
        try:
            return OwnManifest.of_root(document, path, join(storage.root, path))
        except ManifestError as error:
            return error

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="noether-groups") as pool:
        yield from zip(paths, pool.map(read, paths), strict=True)


def united(
    current: StoreManifest | None, groups: Iterable[OwnManifest], complete: Collection[str], *, trusted: bool
) -> StoreManifest | None:
    """Return the manifest of a store, built from its groups; None if there is neither a manifest nor a group.

    Parameters
    ----------
    current : StoreManifest or None
        The store's manifest. The result keeps its splits and unknown keys. It keeps the samples whose group is not
        complete; of a trusted manifest, it also keeps all other samples whose group is not in `groups`.
    groups : iterable of OwnManifest
        Groups with intact roots. Groups whose settings differ from the result's are left out, and so are groups that
        are being removed according to a trusted manifest.
    complete : collection of str
        Paths of all complete groups.
    trusted : bool
        Whether `current` is intact. Then it also determines the settings.
    """
    found = list(groups)
    settings = current if trusted or not found else _most_common([one.alone for one in found])
    if settings is None:
        return None
    # In a damaged manifest, a flipped bit can have changed the list of removals.
    removing = unfinished_removals(current) if trusted and current is not None else {}
    fitting = {
        one.sample_id: one.entry
        for one in found
        if one.entry.relpath not in removing and not settings.differing_settings(one.alone, of_group=True)
    }
    samples, beside = dict[str, SampleEntry](), dict[str, Any]()
    if current is not None:
        # The entry of a complete group in a damaged manifest is dropped: only an intact root can confirm it.
        taken = {entry.relpath for entry in fitting.values()}.union(() if trusted else complete)
        samples = {name: entry for name, entry in dict(current.samples).items() if entry.relpath not in taken}
        beside = {"splits": current.splits, **(current.model_extra or {})}
    samples = dict(sorted((samples | fitting).items()))
    made = settings.model_copy(
        update={"samples": samples, "chunk_index": None, "sample_index": None, "removing": removing, **beside}
    )
    return united_fields(settings, [one for one in found if fitting.get(one.sample_id) is one.entry], made)


def _most_common(manifests: Sequence[StoreManifest]) -> StoreManifest:
    """Return a manifest with the most common settings."""
    keys = [one.model_dump_json(exclude={"samples", "splits", "chunk_index"}) for one in manifests]
    [(most, _)] = Counter(keys).most_common(1)
    return manifests[keys.index(most)]
