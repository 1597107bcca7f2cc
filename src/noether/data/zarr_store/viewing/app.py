"""The web application of `noether-zarr view`: the page, the objects of one store, and its source rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from noether.data.zarr_store.core import check_relative_path
from noether.data.zarr_store.errors import ArgumentError, StoreError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.stores import Storage
from noether.data.zarr_store.viewing.byte_ranges import ByteRange, parse_range

__all__ = ["Served", "make_app"]

_BLOCK_BYTES = 4 << 20
_HEADERS = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
_BYTES = "application/octet-stream"
# Number of permutations that are kept in memory; each takes 8 bytes per point.
_KEPT_SHUFFLES = 4


@dataclass(frozen=True, slots=True)
class Served:
    """The facts about the store that the page receives.

    Attributes
    ----------
    name : str
        Path or URL of the store, for people.
    direct : str or None
        Address at which the browser may read the store itself, if the server there allows it.
    hasSourceRows : bool
        Whether the order of the source is known.
    """

    name: str
    direct: str | None
    hasSourceRows: bool  # noqa: N815  # read by JavaScript


def make_app(page: Path, storage: Storage, reader: ZarrChunkReader, served: Served) -> Starlette:
    """Make the application.

    It answers only requests whose ``Host`` is a name of this machine. Otherwise, any page on the internet could read
    the store through a host name of its own that resolves to this machine (DNS rebinding).
    """
    objects, rows = _Objects(storage), _SourceRows(reader)
    return Starlette(
        routes=[
            Route("/served.json", lambda _: JSONResponse(asdict(served))),
            Route("/source-row", rows.respond),
            Route("/store/{key:path}", objects.respond, methods=["GET", "HEAD"]),
            Mount("/", StaticFiles(directory=page, html=True)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


class _Objects:
    """The objects of a store, whole or by byte range."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def respond(self, request: Request) -> Response:
        """Answer with an object, or with a part of it."""
        key, wanted = request.path_params["key"], parse_range(request.headers.get("range"))
        if not _is_key(key):
            return Response(status_code=404)
        bounds = wanted.bounds if wanted else None
        try:
            if bounds is not None and request.method == "GET" and bounds[1] - bounds[0] <= _BLOCK_BYTES:
                return self._part(key, *bounds)
            return self._whole_or_tail(request.method, key, wanted)
        except StoreError as error:
            return JSONResponse({"error": str(error)}, status_code=502)

    def _part(self, key: str, first: int, stop: int) -> Response:
        """Answer with one request to the storage, without the size of the object."""
        data = bytes(self._storage.read_range(key, first, stop - first))
        if not data:
            return Response(status_code=416, headers=_HEADERS)
        return Response(data, 206, _HEADERS | {"Content-Range": f"bytes {first}-{first + len(data) - 1}/*"}, _BYTES)

    def _whole_or_tail(self, method: str, key: str, wanted: ByteRange | None) -> Response:
        tail = self._storage.read_tail(key, 1)
        if tail is None:
            return Response(status_code=404)
        size = tail[1]
        bounds = (0, size) if wanted is None else wanted.within(size)
        if bounds is None:
            return Response(status_code=416, headers=_HEADERS | {"Content-Range": f"bytes */{size}"})
        first, stop = bounds
        status, headers = 200, _HEADERS | {"Content-Length": str(stop - first)}
        if wanted is not None:
            status, headers = 206, headers | {"Content-Range": f"bytes {first}-{stop - 1}/{size}"}
        kind = "application/json" if key.endswith(".json") else _BYTES
        if method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        return StreamingResponse(self._blocks(key, first, stop), status, headers, kind)

    def _blocks(self, key: str, first: int, stop: int) -> Iterator[bytes]:
        for begin in range(first, stop, _BLOCK_BYTES):
            yield bytes(self._storage.read_range(key, begin, min(_BLOCK_BYTES, stop - begin)))


class _SourceRows:
    """The source rows of stored rows."""

    def __init__(self, reader: ZarrChunkReader) -> None:
        self._permutation = lru_cache(_KEPT_SHUFFLES)(reader.permutation)

    def respond(self, request: Request) -> Response:
        """Answer with the row that a stored row had in its source."""
        query = request.query_params
        try:
            permutation = self._permutation(query["sample"], query["domain"])
            row = int(query["row"])
        except (KeyError, ValueError, StoreError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if not 0 <= row < len(permutation):
            return JSONResponse({"error": f"row {row}: expected 0 to {len(permutation) - 1}"}, status_code=400)
        return JSONResponse({"source_row": int(permutation[row])})


def has_source_rows(manifest: StoreManifest) -> bool:
    """Return whether the source row of each stored row is known."""
    return manifest.shuffle_algorithm is not None and manifest.copied_from is None


def _is_key(key: str) -> bool:
    """Return whether a path can be the key of an object: it stays below the root, and no part of it is hidden."""
    try:
        check_relative_path(key, "the path of an object")
    except ArgumentError:
        return False
    return True
