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
    """An executor that runs calls on the workers of a Dask cluster.

    If a worker dies, Dask passes its calls to other workers. A call fails with ``KilledWorker`` after several workers
    have died of it.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``.

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
            raise WorkerError(
                f"the Dask scheduler {address} cannot be reached ({error}); check the address and the network"
            ) from error
        self._executor = self._client.get_executor(pure=False)
        self._shared: dict[Callable[..., Any], Any] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call `fn` on a worker; the function, its arguments and its result must be picklable."""
        if fn not in self._shared:
            # The function is a task, not scattered data: Dask can recompute it if the worker that holds it dies.
            pickled = zlib.compress(pickle.dumps(fn), 1)
            self._shared[fn] = self._client.submit(_unpickle, pickled, pure=False)
        future: Future[T] = self._executor.submit(_call, self._shared[fn], *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further calls, and leave the cluster after all calls are done; with `cancel_futures`, at once."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def _unpickle(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))  # noqa: S301 - from the client


def _call(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return fn(*args, **kwargs)
