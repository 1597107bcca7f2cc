"""The version, the changelog and the citation agree, and the scripts prepare a source distribution for a release."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from noether.data.zarr_store import __version__
from support.repository import ROOT

VERSION_FILE = "src/noether/data/zarr_store/_version.py"
ADDRESS = "https://example.invalid/owner/name"


def run_script(name: str, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a script of a tree and return its outcome."""
    command = [sys.executable, str(root / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the files that a release changes or compares."""
    names = ["CHANGELOG.md", "CITATION.cff", "README.md", "pyproject.toml", VERSION_FILE, "scripts/_check_release.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_version_changelog_and_citation_agree() -> None:
    outcome = run_script("_check_release.py", f"v{__version__}")
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("file", "pattern", "changed", "message"),
    [
        pytest.param(VERSION_FILE, r'= ".+"', '= "99.0.0"', "tag: expected v99.0.0", id="version"),
        pytest.param(
            "CHANGELOG.md", r"## \[\d.*\] - ", "## [99.0.0] - ", "got 99.0.0; add its section", id="changelog"
        ),
        pytest.param("CITATION.cff", r"(?m)^version: .*", "version: 99.0.0", "CITATION.cff: expected", id="citation"),
        pytest.param("CITATION.cff", r"released: .*", "released: 2001-01-01", "CITATION.cff: expected", id="date"),
    ],
)
def test_a_release_whose_files_disagree_is_refused(
    tree: Path, file: str, pattern: str, changed: str, message: str
) -> None:
    text = (tree / file).read_text(encoding="utf-8")
    different = re.sub(pattern, changed, text, count=1)
    assert different != text
    (tree / file).write_text(different, encoding="utf-8")
    outcome = run_script("_check_release.py", f"v{__version__}", root=tree)
    assert outcome.returncode == 1
    assert message in outcome.stderr


def test_a_tag_of_another_version_is_refused() -> None:
    outcome = run_script("_check_release.py", "v99.0.0")
    assert outcome.returncode == 1
    assert f"tag: expected v{__version__}, got v99.0.0" in outcome.stderr


def test_metadata_gets_the_addresses_of_the_project(tree: Path) -> None:
    documentation = "https://example.invalid/site/"
    outcome = run_script("_release_tree.py", "metadata", str(tree), f"{ADDRESS}/", documentation)
    assert outcome.returncode == 0, outcome.stderr
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"] == {
        "Homepage": documentation,
        "Documentation": documentation,
        "Source": ADDRESS,
        "Issues": f"{ADDRESS}/issues",
        "Changelog": f"{ADDRESS}/blob/main/CHANGELOG.md",
    }
    again = run_script("_release_tree.py", "metadata", str(tree), ADDRESS)
    assert again.returncode == 1
    assert "leave PROJECT_URL unset" in again.stderr


def test_the_description_on_pypi_has_no_relative_links(tree: Path) -> None:
    readme = tree / "README.md"
    before = readme.read_text(encoding="utf-8") + (
        "[![Chart](docs/chart.png)](docs/benchmarks.md#draws) [above](#install) [zarr](https://zarr.dev) "
        "![Picture](docs/a.png) [mail](mailto:a@b.invalid)\n"
    )
    readme.write_text(before, encoding="utf-8")
    outcome = run_script("_release_tree.py", "metadata", str(tree), ADDRESS)
    assert outcome.returncode == 0, outcome.stderr
    after = readme.read_text(encoding="utf-8")
    pages, pictures = f"{ADDRESS}/blob/v{__version__}", f"{ADDRESS}/raw/v{__version__}"
    assert after.endswith(
        f"[![Chart]({pictures}/docs/chart.png)]({pages}/docs/benchmarks.md#draws) [above]({pages}/README.md#install) "
        f"[zarr](https://zarr.dev) ![Picture]({pictures}/docs/a.png) [mail](mailto:a@b.invalid)\n"
    )
    links = re.findall(r"\]\(([^)\s]+)\)", after)
    assert len(links) == len(re.findall(r"\]\(([^)\s]+)\)", before)) > 20
    assert [link for link in links if not link.startswith(("https://", "mailto:"))] == []


def test_a_pure_wheel_differs_only_by_the_native_module(tree: Path) -> None:
    before = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    outcome = run_script("_release_tree.py", "pure", str(tree))
    assert outcome.returncode == 0, outcome.stderr
    after = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    assert before["tool"]["setuptools"].pop("ext-modules")
    assert before["tool"].pop("distutils")
    assert after == before
