"""The server of `noether-zarr view`, on the loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from noether.data.zarr_store.errors import MissingDependencyError, StorageError
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.stores import open_storage
from noether.data.zarr_store.viewing.page import page_directory

if TYPE_CHECKING:
    import uvicorn

__all__ = ["ViewServer"]


class ViewServer:
    """Serves the page of the viewer and one store.

    Parameters
    ----------
    store_root : str
        Directory or URL of the store.
    port : int
        Port of the loopback interface; 0 takes a free one.
    storage_options : mapping, optional
        Options of the store's file system.

    Attributes
    ----------
    url : str
        Address of the page.

    Raises
    ------
    MissingDependencyError
        The extra ``view`` is not installed.
    StorageError
        The page is not built, or the port is taken.
    ManifestError
        There is no store at this place, or this release cannot read it.
    """

    url: str

    def __init__(self, store_root: str, *, port: int = 0, storage_options: Mapping[str, Any] | None = None) -> None:
        for library in ("starlette", "uvicorn"):
            if find_spec(library) is None:
                raise MissingDependencyError(library, "`noether-zarr view`", "view")
        import uvicorn

        from noether.data.zarr_store.viewing.app import Served, has_source_rows, make_app

        page = page_directory()
        self._reader = ZarrChunkReader(store_root, storage_options=storage_options)
        served = Served(
            store_root, _web_address(store_root, storage_options or {}), has_source_rows(self._reader.manifest)
        )
        app = make_app(page, open_storage(store_root, storage_options=storage_options), self._reader, served)
        self._socket = _listen(port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._server: uvicorn.Server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        )

    def address_of(self, sample_id: str | None) -> str:
        """Return the address that shows a sample.

        Raises
        ------
        UnknownNameError
            The store has no such sample.
        """
        if sample_id is None:
            return self.url
        self._reader.manifest.sample(sample_id)
        return f"{self.url}?{urlencode({'sample': sample_id})}"

    def serve(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Serve until the process is interrupted, or `stop` is called from another thread."""
        ready = threading.Timer(0, on_ready)
        ready.start()
        try:
            # The socket listens already: requests that come before the loop runs wait in its queue.
            self._server.run(sockets=[self._socket])
        finally:
            ready.join()
            self._socket.close()

    def stop(self) -> None:
        """End `serve`."""
        self._server.should_exit = True


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise StorageError(f"port {port}: {error.strerror}; choose another with --port, or leave it out") from error
    return listening


def _web_address(store_root: str, options: Mapping[str, Any]) -> str | None:
    """Return the address at which a browser may read a store, if the server there allows it; None for other places."""
    protocol, _, path = store_root.rstrip("/").partition("://")
    bucket, _, prefix = path.partition("/")
    if protocol in ("http", "https"):
        return f"{store_root.rstrip('/')}/"
    if protocol in ("gs", "gcs"):
        return f"https://storage.googleapis.com/{path}/"
    if protocol == "s3" and (endpoint := options.get("endpoint")):
        return f"{str(endpoint).rstrip('/')}/{path}/"
    if protocol == "s3" and (region := options.get("region")):
        return f"https://{bucket}.s3.{region}.amazonaws.com/{prefix}/"
    return None
