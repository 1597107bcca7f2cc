"""The files of the viewer's web page, which the package build makes from ``viewer/``."""

from __future__ import annotations

import shutil
from pathlib import Path

from noether.data.zarr_store.errors import StorageError

__all__ = ["export_page", "page_directory"]

_PAGE = Path(__file__).with_name("page")


def page_directory() -> Path:
    """Return the directory of the built page.

    Raises
    ------
    StorageError
        The package was installed from a checkout in which the page was not built.
    """
    if not (_PAGE / "index.html").is_file():
        raise StorageError(f"{_PAGE}: the page of the viewer is not built; run ./scripts/viewer, which needs npm")
    return _PAGE


def export_page(directory: Path) -> Path:
    """Copy the page into a directory of a web space; return the path of its ``index.html``.

    The page opens the store that ``?store=URL`` names, or else the one in the directory above its own.

    Parameters
    ----------
    directory : Path
        The directory to make. Files of an earlier page in it are replaced.

    Raises
    ------
    StorageError
        The page is not built, or the directory holds files that are not those of a page.
    """
    page = page_directory()
    if directory.exists() and any(directory.iterdir()) and not (directory / "index.html").is_file():
        raise StorageError(f"{directory}: it holds other files; name a directory that is new or empty")
    shutil.rmtree(directory / "assets", ignore_errors=True)
    shutil.copytree(page, directory, dirs_exist_ok=True)
    return directory / "index.html"
