"""The interface for reading an array, whichever library decodes its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sampling import ReadPlan

__all__ = ["ReadRequest", "ReadableArray"]


class ReadRequest(Protocol):
    """One step of a read; steps are independent of one another."""

    @property
    def length(self) -> int | None:
        """Number of bytes that the step fetches; None if the library that fetches them does not report it."""


Request = TypeVar("Request", bound=ReadRequest)


class ReadableArray(Protocol[Request]):
    """One field of one sample. Safe to use from many threads, also for requests of the same read."""

    @property
    def where(self) -> str:
        """Sample and field, with which error messages begin."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype, in the byte order of the machine."""

    def unread_indexes(self, plan: ReadPlan) -> Sequence[int]:
        """Return the shards of a plan whose indexes `requests` would otherwise read one after the other."""

    def read_index(self, shard: int) -> object:
        """Prefetch the index of one shard; errors are those of `read`."""

    def requests(self, plan: ReadPlan) -> Sequence[Request]:
        """Split the read of a plan into requests; may read shard indexes to locate the chunks."""

    def read_near(self, request: Request, out: NDArray[Any]) -> bool:
        """Read a request from the cache on this machine; return whether the cache had all of it. See `read`."""

    def keep_near(self, request: Request) -> None:
        """Store the bytes of a request in the cache on this machine, unless it has them.

        Raises
        ------
        ArgumentError
            The array cannot be cached.
        CorruptDataError, StorageError
            See `read`.
        """

    def read(self, request: Request, out: NDArray[Any]) -> None:
        """Fetch and decode the rows of one request.

        Parameters
        ----------
        request : Request
            A request that `requests` returned.
        out : ndarray, shape (plan.n_points, width)
            The result of the whole plan, of any floating dtype; only the rows of the request are written.

        Raises
        ------
        CorruptDataError
            The bytes cannot be decoded, or do not match their checksums.
        StorageError
            The storage fails.
        """
