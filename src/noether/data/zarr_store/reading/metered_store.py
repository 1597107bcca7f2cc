"""A zarr Store that counts and logs the reads of zarr-python."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import perf_counter

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import WrapperStore

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.reading.io_meter import IoMeter
from noether.data.zarr_store.stores import log_request

__all__ = ["MeteredStore"]


class MeteredStore(WrapperStore[Store]):
    """Counts and logs the reads of another store.

    Parameters
    ----------
    store : zarr Store
        Store that does the reads.
    meter : IoMeter
        Counter of the reads.
    """

    def __init__(self, store: Store, meter: IoMeter) -> None:
        super().__init__(store)
        self._meter = meter

    def _with_store(self, store: Store) -> MeteredStore:
        return MeteredStore(store, self._meter)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object, or a byte range of it."""
        begun, n_bytes = perf_counter(), 0
        try:
            data = await self._store.get(key, prototype, byte_range)
            n_bytes = 0 if data is None else len(data)
        finally:
            seconds = perf_counter() - begun
            # A suffix request reads the index at the end of a shard.
            if key.endswith(ROOT_KEY) or isinstance(byte_range, SuffixByteRequest):
                self._meter.add(metadata_requests=1, metadata_bytes=n_bytes, seconds_waiting=seconds)
            else:
                self._meter.add(requests=1, n_bytes=n_bytes, seconds_waiting=seconds)
            log_request(f"read {key}{_describe(byte_range)}", f"{n_bytes:,} bytes", seconds)
        return data

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read ranges of objects."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))


def _describe(byte_range: ByteRequest | None) -> str:
    if isinstance(byte_range, RangeByteRequest):
        return f", bytes {byte_range.start} to {byte_range.end}"
    if isinstance(byte_range, SuffixByteRequest):
        return f", last {byte_range.suffix} bytes"
    if isinstance(byte_range, OffsetByteRequest):
        return f", from byte {byte_range.offset} on"
    return ""
