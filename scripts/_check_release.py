"""Check that a tag, the version of the package, the changelog and the citation agree; exit with the first deviation."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(tag: str) -> None:
    """Check that the tag is the version, and that the changelog and the citation describe this version."""
    version = package_version()
    released, date = latest_release()
    cited, cited_date = citation()
    if tag != f"v{version}":
        sys.exit(f"tag: expected v{version}, got {tag}; set __version__ in _version.py before the tag")
    if released != version:
        sys.exit(f"CHANGELOG.md: expected a latest release {version}, got {released}; add its section")
    if (cited, cited_date) != (version, date):
        sys.exit(f"CITATION.cff: expected {version} of {date}, got {cited} of {cited_date}; change the file")
    print(f"{tag}: version, changelog and citation agree")


def package_version() -> str:
    """Return the version of the package."""
    text = (ROOT / "src/noether/data/zarr_store/_version.py").read_text(encoding="utf-8")
    return _only(r'^__version__ = "(.+)"$', text)[0]


def latest_release() -> tuple[str, str]:
    """Return version and date of the first release of the changelog."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d\S*)\] - (\d{4}-\d\d-\d\d)$", text, flags=re.MULTILINE)
    return releases[0] if releases else ("no release", "no date")


def citation() -> tuple[str, str]:
    """Return version and date of the citation."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    return _only(r"^version: (\S+)$", text)[0], _only(r"^date-released: (\S+)$", text)[0]


def _only(pattern: str, text: str) -> list[str]:
    found = re.findall(pattern, text, flags=re.MULTILINE)
    if len(found) != 1:
        sys.exit(f"expected one line like {pattern}, got {len(found)}")
    return found


if __name__ == "__main__":
    main(sys.argv[1])
