"""The viewer: a page that shows the points of a store in a browser, and the server of `noether-zarr view`."""

from __future__ import annotations

from noether.data.zarr_store.viewing.page import export_page, page_directory
from noether.data.zarr_store.viewing.server import ViewServer

__all__ = ["ViewServer", "export_page", "page_directory"]
