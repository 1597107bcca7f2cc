"""The groups of a store as a listing shows them, and the manifest that they make together."""

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

# Almost all the time goes into waiting for the storage.
_THREADS = 32

# As zarr names a shard: no zeros before the number.
_SHARD = re.compile(r"(.+)/c/(0|[1-9][0-9]*)/0")


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a store, without those that are hidden.

    Attributes
    ----------
    groups : dict of str to dict of str to int
        By path of the group, and by key in it, the size of each object.
    others : dict of str to int
        By key, the size of each object that lies in no group.
    """

    groups: dict[str, dict[str, int]]
    others: dict[str, int]

    @property
    def complete(self) -> list[str]:
        """Paths of the groups that are complete, sorted."""
        return sorted(path for path, sizes in self.groups.items() if ROOT_KEY in sizes)

    @property
    def n_objects(self) -> int:
        """Objects in all."""
        return len(self.others) + sum(map(len, self.groups.values()))


def list_store(objects: Iterable[StoredObject], relpaths: Collection[str] = frozenset()) -> Listing:
    """Sort objects by the group in which they lie.

    Parameters
    ----------
    objects : iterable of StoredObject
        What there is; what lies under a name that starts with a dot is left out.
    relpaths : collection of str
        Where groups are known to be; any other directory is one if its name ends in ``.zarr``.
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
    # What lies inside of a group is none, whatever it is called.
    return known or next((path for path in above if path.lower().endswith(GROUP_SUFFIX)), None)


def shards_by_array(sizes: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Return the size of each shard, by path of the array and number."""
    shards: dict[str, dict[int, int]] = {}
    for inside, size in sizes.items():
        match = _SHARD.fullmatch(inside)
        if match is not None:
            shards.setdefault(match[1], {})[int(match[2])] = size
    return shards


def directories_of(sizes: Iterable[str]) -> set[str]:
    """Return the paths of all directories that objects lie in, below the group."""
    directories: set[str] = set()
    for inside in sizes:
        directory = inside.rpartition("/")[0]
        while directory and directory not in directories:
            directories.add(directory)
            directory = directory.rpartition("/")[0]
    return directories


def is_own_key(inside: str, domains: Mapping[str, DomainLayout]) -> bool:
    """Say whether an object has a name, in its group, that the writer of a store with these domains gives."""
    paths = {array.array_name for layout in domains.values() for array in layout.arrays.values()}
    parent, _, last = inside.rpartition("/")
    if last == ROOT_KEY:
        return not parent or parent in domains or parent in paths
    shard = _SHARD.fullmatch(inside)
    return shard is not None and shard[1] in paths


@dataclass(frozen=True, slots=True)
class OwnManifest:
    """What a complete group says of itself.

    Attributes
    ----------
    alone : StoreManifest
        A manifest of its sample alone.
    sample_id : str
        The sample.
    entry : SampleEntry
        What the store's manifest is to say of it.
    checksum_state : {"intact", "broken", "none"}
        Whether its root ``zarr.json`` is as it was written.
    """

    alone: StoreManifest
    sample_id: str
    entry: SampleEntry
    checksum_state: ChecksumState

    @classmethod
    def of_root(cls, document: bytes, path: str, origin: str) -> OwnManifest:
        """Read it from the root ``zarr.json`` of the group at `path`, which is called `origin` in errors.

        Raises
        ------
        ManifestError
            It has none, or says that it lies elsewhere.
        """
        alone = StoreManifest.of_group(document, origin)
        samples = dict(alone.samples)
        if [entry.relpath for entry in samples.values()] != [path]:
            raise ManifestError(
                f"{path}: it says that it is {', '.join(entry.relpath for entry in samples.values()) or 'nothing'}; "
                "expected a group that lies where it was written"
            )
        [(sample_id, entry)] = samples.items()
        return cls(alone, sample_id, entry, checksum_state_of_root(document))


def checksum_state_of_root(document: bytes) -> ChecksumState:
    """Tell whether the root ``zarr.json`` of a group is as it was written."""
    try:
        attributes: Any = parse_document(document)["attributes"]
    except (ValueError, LookupError, TypeError):
        return "none"
    return checksum_state(document, attributes) if isinstance(attributes, dict) else "none"


def read_own_manifests(storage: Storage, paths: Collection[str]) -> Iterator[tuple[str, OwnManifest | ManifestError]]:
    """Ask each complete group what it is; yield its path, and the answer or why there is none."""

    def read(path: str) -> OwnManifest | ManifestError:
        # Empty, so no group, where one that was listed is being replaced.
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
    """Return the manifest that groups make together; None where there is neither one nor a group.

    Parameters
    ----------
    current : StoreManifest or None
        What is kept where the groups say nothing: splits, keys that are not known here, and samples whose group is
        not complete or, if it is trusted, is not among `groups`.
    groups : iterable of OwnManifest
        Groups whose roots are intact. Those with other settings than the result's are left out, and so are those that
        a trusted manifest says are being removed.
    complete : collection of str
        Paths of all complete groups.
    trusted : bool
        Whether `current` is what was written, and so has the settings.
    """
    found = list(groups)
    settings = current if trusted or not found else _most_common([one.alone for one in found])
    if settings is None:
        return None
    # What a damaged manifest says is being removed may be what a flipped bit made of something else.
    removing = unfinished_removals(current) if trusted and current is not None else {}
    fitting = {
        one.sample_id: one.entry
        for one in found
        if one.entry.relpath not in removing and not settings.differing_settings(one.alone, of_group=True)
    }
    samples, beside = dict[str, SampleEntry](), dict[str, Any]()
    if current is not None:
        # Who else but an intact root could tell that what a damaged manifest says of a group is right?
        taken = {entry.relpath for entry in fitting.values()}.union(() if trusted else complete)
        samples = {name: entry for name, entry in dict(current.samples).items() if entry.relpath not in taken}
        beside = {"splits": current.splits, **(current.model_extra or {})}
    samples = dict(sorted((samples | fitting).items()))
    made = settings.model_copy(
        update={"samples": samples, "chunk_index": None, "sample_index": None, "removing": removing, **beside}
    )
    return united_fields(settings, [one for one in found if fitting.get(one.sample_id) is one.entry], made)


def _most_common(manifests: Sequence[StoreManifest]) -> StoreManifest:
    """Return one that has the settings that most of them have."""
    keys = [one.model_dump_json(exclude={"samples", "splits", "chunk_index"}) for one in manifests]
    [(most, _)] = Counter(keys).most_common(1)
    return manifests[keys.index(most)]
