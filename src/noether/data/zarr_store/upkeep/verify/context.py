"""State that the checks of a verification share."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from noether.data.zarr_store.errors import TooLargeError
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.reading import ChunkIndex
from noether.data.zarr_store.stores import Storage
from noether.data.zarr_store.upkeep.verify.findings import LEVELS, Findings, Level

__all__ = ["Context", "ListedSample"]


@dataclass(frozen=True, slots=True)
class ListedSample:
    """A sample with its entry in the manifest and the listing of its group.

    Attributes
    ----------
    sample_id : str
        Id of the sample.
    entry : SampleEntry
        Entry of the sample in the manifest.
    sizes : dict of str to int
        Sizes of the objects of the group, by key relative to the group.
    """

    sample_id: str
    entry: SampleEntry
    sizes: dict[str, int]

    def key(self, inside: str) -> str:
        """Return the key of an object of the group, relative to the root of the store."""
        return f"{self.entry.relpath}/{inside}"


@dataclass(slots=True)
class Context:
    """The store under verification, and the findings so far. Safe to use from many threads.

    Attributes
    ----------
    storage : Storage
        Storage of the store.
    manifest : StoreManifest
        Expected state of the store.
    manifest_is_intact : bool
        Whether the manifest matches its checksum.
    findings : Findings
        Findings so far.
    level : Level
        Level of the verification.
    chunk_index : ChunkIndex or None
        Chunk index of the store, with the lengths of the chunks.
    n_bytes : int
        Bytes of shards that were read so far.
    """

    storage: Storage
    manifest: StoreManifest
    manifest_is_intact: bool
    findings: Findings
    level: Level
    chunk_index: ChunkIndex | None = None
    n_bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def reaches(self, level: Level) -> bool:
        """Return whether the verification includes a level."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def read(self, key: str) -> bytes:
        """Return the bytes of a document, or no bytes if it is missing or larger than any valid document."""
        try:
            return self.storage.read_if_there(key) or b""
        except TooLargeError:
            return b""

    def count_bytes(self, n_bytes: int) -> None:
        """Add to the number of shard bytes that were read."""
        with self._lock:
            self.n_bytes += n_bytes
