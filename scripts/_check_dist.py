"""Check the files of the source distribution and the wheel in a directory; exit with the first deviation."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "noether/data/zarr_store/"
PAGE = ROOT / "src" / PACKAGE / "viewing" / "page"
# Files that only a checkout needs.
CHECKOUT_ONLY = (".ci/", ".gitignore", ".github/")
# Files that setuptools writes.
WRITTEN = ("PKG-INFO", "setup.cfg", "src/noether_zarr_store.egg-info/")


def main(directory: Path) -> None:
    """Check the one source distribution and the one wheel."""
    [sdist] = directory.glob("*.tar.gz")
    [wheel] = directory.glob("*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive if member.isfile()}
    with zipfile.ZipFile(wheel) as zipped:
        in_wheel = set(zipped.namelist())
    page = {str(path.relative_to(ROOT)) for path in PAGE.rglob("*") if path.is_file()}
    check_sdist(sdist.name, in_sdist, page)
    check_wheel(wheel.name, in_wheel, {path.removeprefix("src/") for path in page})


def check_sdist(name: str, files: set[str], page: set[str]) -> None:
    """Check that the source distribution has the files of the checkout and the page, and no others."""
    expect_none(name, "has no page of the viewer", {"index.html"} - {Path(path).name for path in page & files})
    if not (ROOT / ".git").exists():  # an unpacked source distribution
        return
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {path for path in listed.split("\0") if path and not path.startswith(CHECKOUT_ONLY)}
    expect_none(name, "lacks", (tracked | page) - files)
    expect_none(name, "has too much", {path for path in files - tracked - page if not path.startswith(WRITTEN)})


def check_wheel(name: str, files: set[str], page: set[str]) -> None:
    """Check that the wheel has the page, the demo, the native module and all Python files, and no sources in C."""
    if "-cp311-abi3-" not in name:
        sys.exit(f"{name}: expected a wheel cp311-abi3, got another; read the messages of the compiler")
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py*") if path.suffix != ".pyc"}
    paths = [*(ROOT / "src").rglob("*.toml"), *(ROOT / "src" / PACKAGE / "demo").rglob("*")]
    data = {str(path.relative_to(ROOT / "src")) for path in paths if path.is_file() and path.suffix != ".pyc"}
    expect_none(name, "lacks", (modules | data | page | {PACKAGE + "py.typed"}) - files)
    natives = {file for file in files if file.startswith(PACKAGE + "codec/_native.") and file.endswith((".so", ".pyd"))}
    if len(natives) != 1:
        sys.exit(f"{name}: expected 1 native module, got {len(natives)}; read the messages of the compiler")
    expect_none(name, "has sources in C", {file for file in files if file.endswith((".c", ".h"))})
    expect_none(name, "has files of another package", {file for file in files if not file.startswith("noether")})
    expect_none(name, "lacks a licence of", {"LICENSE", "zstd.txt"} - {Path(file).name for file in files})


def expect_none(name: str, problem: str, files: set[str]) -> None:
    """Exit with a message if there are such files."""
    if files:
        sys.exit(f"{name} {problem}: {', '.join(sorted(files)[:10])}; change MANIFEST.in or pyproject.toml")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
