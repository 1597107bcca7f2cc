"""Check the source distribution and the wheels in a directory; exit with the first deviation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "noether/data/zarr_store/"
PAGE = f"src/{PACKAGE}viewing/page/"  # of the viewer; npm builds it
# Files that only a checkout needs.
CHECKOUT_ONLY = (".ci/", ".editorconfig", ".github/", ".gitignore", ".pre-commit-config.yaml")
# Files that setuptools writes.
WRITTEN = ("PKG-INFO", "setup.cfg", "src/noether_zarr_store.egg-info/")
# A link or an image of Markdown, and an attribute of HTML, without a scheme.
RELATIVE_LINK = re.compile(r"""\]\((?!https?:|mailto:)[^)\s]+\)|(?:src|href)=["'](?!https?:|mailto:)[^"']+""")


def main(directory: Path) -> None:
    """Check the one source distribution and all wheels."""
    sdists, wheels = sorted(directory.glob("*.tar.gz")), sorted(directory.glob("*.whl"))
    if len(sdists) != 1 or not wheels:
        found = f"{len(sdists)} and {len(wheels)}"
        sys.exit(f"{directory}: expected 1 source distribution and a wheel, got {found}; build both: ./scripts/build")
    [sdist] = sdists
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive if member.isfile()}
        metadata = message_from_bytes(_content(archive, sdist.name.removesuffix(".tar.gz") + "/PKG-INFO"))
    page = {path for path in in_sdist if path.startswith(PAGE)}
    check_sdist(sdist.name, in_sdist, page)
    check_addresses(sdist.name, metadata, os.environ.get("PROJECT_URL", ""))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as zipped:
            in_wheel = set(zipped.namelist())
            [path] = [name for name in in_wheel if name.endswith(".dist-info/METADATA")]
            in_its_metadata = message_from_bytes(zipped.read(path))
        check_wheel(wheel.name, in_wheel, {path.removeprefix("src/") for path in page})
        for key in ("Name", "Version", "Project-URL"):
            if metadata.get_all(key) != in_its_metadata.get_all(key):
                expected, got = metadata.get_all(key), in_its_metadata.get_all(key)
                sys.exit(f"{wheel.name}: {key}: expected {expected} as in {sdist.name}, got {got}; build both again")
        if metadata.get_payload() != in_its_metadata.get_payload():
            sys.exit(f"{wheel.name}: the description is not that of {sdist.name}; build both again")


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name) if name in archive.getnames() else None
    if file is None:
        sys.exit(f"{archive.name} lacks {name}; build it again")
    return file.read()


def check_addresses(name: str, metadata: Message, project_url: str) -> None:
    """Check that the metadata has the addresses of the project, and no link that only works in the repository.

    Without a project URL, the metadata may have no addresses. If it has some, they must be complete anyway.
    """
    addresses = dict(text.split(", ", 1) for text in metadata.get_all("Project-URL", []))
    if not project_url and not addresses:
        return
    if project_url and addresses.get("Source") != project_url.rstrip("/"):
        sys.exit(f"{name}: Source: expected {project_url}, got {addresses.get('Source')}; build again")
    lacking = {"Homepage", "Source", "Issues", "Changelog"} - addresses.keys()
    expect_none(name, "lacks the address of", lacking, "build again with PROJECT_URL")
    links = set(RELATIVE_LINK.findall(str(metadata.get_payload())))
    expect_none(name, "has relative links in its description", links, "change README.md")


def check_sdist(name: str, files: set[str], page: set[str]) -> None:
    """Check that the source distribution has the files of the checkout and the page, and no others."""
    expect_none(name, "has no page of the viewer", {f"{PAGE}index.html"} - files)
    if not (ROOT / ".git").exists():  # an unpacked source distribution
        return
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {path for path in listed.split("\0") if path and not path.startswith(CHECKOUT_ONLY)}
    built = {str(path.relative_to(ROOT)) for path in (ROOT / PAGE).rglob("*") if path.is_file()}
    expect_none(name, "lacks", (tracked | built) - files)
    expect_none(name, "has too much", {path for path in files - tracked - page if not path.startswith(WRITTEN)})


def check_wheel(name: str, files: set[str], page: set[str]) -> None:
    """Check that the wheel has the page, the demo, all Python files, no sources in C, and the module of its name."""
    pure = name.endswith("-py3-none-any.whl")
    if not pure and "-cp311-abi3-" not in name:
        sys.exit(f"{name}: expected a wheel cp311-abi3, got another; read the messages of the compiler")
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py*") if path.suffix != ".pyc"}
    paths = [*(ROOT / "src").rglob("*.toml"), *(ROOT / "src" / PACKAGE / "demo").rglob("*")]
    data = {str(path.relative_to(ROOT / "src")) for path in paths if path.is_file() and path.suffix != ".pyc"}
    expect_none(name, "lacks", (modules | data | page | {PACKAGE + "py.typed"}) - files)
    natives = {file for file in files if file.startswith(PACKAGE + "codec/_native.") and file.endswith((".so", ".pyd"))}
    expected = 0 if pure else 1
    if len(natives) != expected:
        sys.exit(f"{name}: expected {expected} native modules, got {len(natives)}; read the messages of the compiler")
    expect_none(name, "has sources in C", {file for file in files if file.endswith((".c", ".h"))})
    expect_none(name, "has files of another package", {file for file in files if not file.startswith("noether")})
    expect_none(name, "lacks a licence of", {"LICENSE", "zstd.txt"} - {Path(file).name for file in files})


def expect_none(
    name: str, problem: str, found: set[str], way_out: str = "change MANIFEST.in or pyproject.toml"
) -> None:
    """Exit with a message if there are files, or other things, with a problem."""
    if found:
        sys.exit(f"{name} {problem}: {', '.join(sorted(found)[:10])}; {way_out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
