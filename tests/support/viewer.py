"""The page of the viewer in a headless Chromium."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.viewing import ViewServer, page_directory

__all__ = [
    "SECONDS",
    "keep_screenshot",
    "missing",
    "open_browser",
    "picture",
    "serving",
    "settle",
    "shown",
    "wait_for_points",
]

SECONDS = 60.0
_COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# WebGL2 by the processor; its sandbox does not start for root, or in containers.
_FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-dev-shm-usage"]


def missing() -> str | None:
    """Return what is not installed here, if anything, and how to install it."""
    if not any(map(shutil.which, _COMMANDS)):
        return "no Chromium to show the viewer in; on Debian: apt-get install chromium-headless-shell"
    try:
        page_directory()
    except StorageError as error:
        return str(error)
    return None


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a browser, and close it at the end."""
    command = next(filter(None, map(shutil.which, _COMMANDS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serving(root: str, **options: Any) -> Iterator[ViewServer]:
    """Serve a store as `noether-zarr view` does."""
    server = ViewServer(root, **options)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def wait_for_points(page: Page, text: str) -> None:
    """Wait until a legend has a text such as ``2,041 of 2,041 points``."""
    page.locator(".count", has_text=text).first.wait_for(timeout=1000 * SECONDS)
    settle(page)


def settle(page: Page) -> None:
    """Wait until what changed was drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page: Page, canvas: str = "#first") -> NDArray[np.uint8]:
    """Return the pixels of a canvas, shape (height, width, 3)."""
    settle(page)
    png = page.locator(canvas).screenshot()
    return np.round(255 * imread(io.BytesIO(png))[..., :3]).astype(np.uint8)


def shown(page: Page) -> NDArray[np.bool_]:
    """Return the pixels of the first canvas that show points; the edges, with the name of the sample, are cut off."""
    pixels = picture(page)[40:-3]
    different: NDArray[np.bool_] = (pixels != pixels[5, -5]).any(axis=-1)
    return different


def keep_screenshot(page: Page, name: str) -> None:
    """Leave a picture of the page for people, in the directory that ``SCREENSHOTS`` names."""
    directory = os.environ.get("SCREENSHOTS")
    if directory:
        settle(page)
        Path(directory).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(directory, f"{name}.png"))
