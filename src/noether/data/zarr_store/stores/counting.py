"""A zarr Store that counts its reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore

__all__ = ["CountingStore", "Traffic"]


@dataclass(slots=True)
class Traffic:
    """The reads so far: the number of requests, the number of bytes, and the keys."""

    requests: int = 0
    n_bytes: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str, data: Buffer | None) -> None:
        """Count one request."""
        self.requests += 1
        self.n_bytes += 0 if data is None else len(data)
        self.keys.append(key)


class CountingStore(WrapperStore[Store]):
    """Counts the reads of another store, for `ZarrChunkReader`'s `store_factory`.

    ::

        traffic = Traffic()
        reader = ZarrChunkReader(root, store_factory=lambda path: CountingStore(make_store(path), traffic))

    Parameters
    ----------
    store : zarr Store
        The store whose reads are counted.
    traffic : Traffic
        The counters, which many stores can share.
    """

    def __init__(self, store: Store, traffic: Traffic) -> None:
        super().__init__(store)
        self.traffic = traffic

    def _with_store(self, store: Store) -> CountingStore:
        return CountingStore(store, self.traffic)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a byte range."""
        data = await self._store.get(key, prototype, byte_range)
        self.traffic.add(key, data)
        return data

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read byte ranges of objects."""
        wanted = list(key_ranges)
        found = await self._store.get_partial_values(prototype, wanted)
        for (key, _), data in zip(wanted, found, strict=True):
            self.traffic.add(key, data)
        return found
