"""Change an unpacked source distribution before it is built.

`metadata DIRECTORY URL [DOCUMENTATION]` adds the addresses of the project to `pyproject.toml`, and makes the links of
`README.md` absolute, because PyPI shows that page. `pure DIRECTORY` removes the native module, so that one wheel fits
all machines.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\[\]]*\]\([^()]*\))*)\]\((?!https?:|mailto:)([^()\s]+)\)")
TABLE = re.compile(r"^\[.*?(?=^\[|\Z)", flags=re.MULTILINE | re.DOTALL)  # with the comments before the next table
NATIVE_TABLES = ("[[tool.setuptools.ext-modules]]", "[tool.distutils.bdist_wheel]")


def add_metadata(directory: Path, url: str, documentation: str) -> None:
    """Add the addresses of the project, unless `pyproject.toml` has some, and make the links of the README absolute."""
    pyproject = directory / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    if "urls" in tomllib.loads(text)["project"]:
        sys.exit(f"{pyproject}: expected no [project.urls], found some; leave PROJECT_URL unset")
    url = url.rstrip("/")
    urls = {
        "Homepage": documentation or url,
        "Documentation": documentation,
        "Source": url,
        "Issues": f"{url}/issues",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
    }
    lines = [f'{name} = "{address}"' for name, address in urls.items() if address]
    table = "\n".join(["[project.urls]", *lines, "", ""])
    pyproject.write_text(text.replace("[project.scripts]\n", f"{table}[project.scripts]\n"), encoding="utf-8")
    readme = directory / "README.md"
    tag = f"v{_version(directory)}"
    readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), f"{url}/{{kind}}/{tag}/"), encoding="utf-8")


def absolute_links(text: str, base: str) -> str:
    """Return the README with absolute links. In the base, ``{kind}`` becomes ``raw`` for images, else ``blob``."""

    def absolute(match: re.Match[str]) -> str:
        kind = "raw" if match[1] else "blob"
        shown = LINK.sub(absolute, match[2])  # an image that is a link
        page = "README.md" if match[3].startswith("#") else ""
        return f"{match[1]}[{shown}]({base.format(kind=kind)}{page}{match[3]})"

    return LINK.sub(absolute, text)


def make_pure(directory: Path) -> None:
    """Remove the native module from the wheel."""
    pyproject = directory / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    for table in TABLE.findall(text):
        if table.startswith(NATIVE_TABLES):
            text = text.replace(table, "")
    tools = tomllib.loads(text)["tool"]
    if "ext-modules" in tools["setuptools"] or "distutils" in tools:
        sys.exit(f"{pyproject}: expected the tables {NATIVE_TABLES}; change NATIVE_TABLES")
    pyproject.write_text(text, encoding="utf-8")


def _version(directory: Path) -> str:
    text = (directory / "src/noether/data/zarr_store/_version.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


if __name__ == "__main__":
    action, unpacked, *addresses = sys.argv[1:]
    if action == "metadata":
        add_metadata(Path(unpacked), addresses[0], addresses[1] if len(addresses) > 1 else "")
    else:
        make_pure(Path(unpacked))
