"""The worker processes of a Dask cluster."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from noether.data.zarr_store.errors import MissingDependencyError, WorkerError

__all__ = ["DaskExecutor"]

T = TypeVar("T")


class DaskExecutor(Executor):
    """The workers of a Dask cluster.

    Where a worker dies, Dask gives its calls to others, and fails a call with ``KilledWorker`` once it has seen
    several of them die of it.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    MissingDependencyError
        distributed is not installed.
    WorkerError
        The scheduler cannot be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingDependencyError("distributed", "work on a Dask cluster", "dask") from error
        try:
            self._client = Client(address, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkerError(f"the Dask scheduler {address} cannot be reached: {error}") from error
        self._executor = self._client.get_executor(pure=False)
        self._shared: dict[Callable[..., Any], Any] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a worker call `fn`, which can be pickled, as can its arguments and what it returns."""
        if fn not in self._shared:
            # A task of its own, and no scattered data: a worker that dies with it does not take it from the others.
            pickled = zlib.compress(pickle.dumps(fn), 1)
            self._shared[fn] = self._client.submit(_unpickle, pickled, pure=False)
        future: Future[T] = self._executor.submit(_call, self._shared[fn], *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and leave the cluster when all are done; with `cancel_futures`, at once."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def _unpickle(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))  # noqa: S301 - from the client


def _call(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return fn(*args, **kwargs)
