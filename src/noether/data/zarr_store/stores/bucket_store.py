"""A bucket as a zarr Store, for forked processes, which cannot use zarr's own `ObjectStore`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from noether.data.zarr_store.stores.bucket import Bucket, ByteRange

__all__ = ["BucketStore"]


class BucketStore(Store):
    """The objects of a bucket.

    Parameters
    ----------
    bucket : Bucket
        Bucket that sends the requests.
    read_only : bool
        Whether changes raise an error.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, bucket: Bucket, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._bucket = bucket

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketStore) and (self._bucket, self.read_only) == (other._bucket, other.read_only)

    def with_read_only(self, read_only: bool = False) -> BucketStore:
        """Return the same store with another value of `read_only`."""
        return BucketStore(self._bucket, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a byte range."""
        try:
            data, _ = await asyncio.to_thread(self._bucket.get, key, _obstore_range(byte_range))
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read byte ranges of objects."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        try:
            await asyncio.to_thread(self._bucket.head, key)
        except FileNotFoundError:
            return False
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._check_writable()
        await asyncio.to_thread(self._bucket.put, key, value.to_bytes())

    async def delete(self, key: str) -> None:
        """Delete an object."""
        self._check_writable()
        await asyncio.to_thread(self._bucket.delete, [key])

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys below a directory."""
        for meta in await asyncio.to_thread(self._bucket.objects, prefix):
            yield meta["path"]

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the names of the objects and directories in a directory."""
        top = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in {key.removeprefix(top).split("/")[0] async for key in self.list_prefix(prefix)}:
            yield name


def _obstore_range(byte_range: ByteRequest | None) -> ByteRange | None:
    match byte_range:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return {"offset": offset}
        case SuffixByteRequest(suffix):
            return {"suffix": suffix}
        case None:
            return None
