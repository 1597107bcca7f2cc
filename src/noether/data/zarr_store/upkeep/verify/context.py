"""What the parts of a verification share."""

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
    """A sample as the manifest and a listing have it.

    Attributes
    ----------
    sample_id : str
        Which sample.
    entry : SampleEntry
        What the manifest says of it.
    sizes : dict of str to int
        The sizes of the objects of its group, by key in it.
    """

    sample_id: str
    entry: SampleEntry
    sizes: dict[str, int]

    def key(self, inside: str) -> str:
        """Return the key of an object of the group, relative to the root of the store."""
        return f"{self.entry.relpath}/{inside}"


@dataclass(slots=True)
class Context:
    """What is verified, and what was found so far. Safe to use from many threads.

    Attributes
    ----------
    storage : Storage
        Where the store lies.
    manifest : StoreManifest
        What the store should be.
    manifest_is_intact : bool
        Whether the manifest is to the byte what this library wrote.
    findings : Findings
        What it is not.
    level : Level
        How closely to look.
    chunk_index : ChunkIndex or None
        The lengths of chunks that the store's chunk index has.
    n_bytes : int
        Bytes of shards that were read.
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
        """Say whether the verification goes as far as a level."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def read(self, key: str) -> bytes:
        """Read a document; nothing where there is none, or where it is larger than any."""
        try:
            return self.storage.read_if_there(key) or b""
        except TooLargeError:
            return b""

    def count_bytes(self, n_bytes: int) -> None:
        """Count bytes of shards that were read."""
        with self._lock:
            self.n_bytes += n_bytes
