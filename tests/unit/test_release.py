"""The version, the changelog and the citation agree, and the scripts prepare a source distribution for a release."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.message import Message
from pathlib import Path
from typing import Any

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


def metadata_with(description: str, **addresses: str) -> Message:
    """Return the metadata of a package."""
    metadata = Message()
    for name, address in addresses.items():
        metadata["Project-URL"] = f"{name}, {address}"
    metadata.set_payload(description)
    return metadata


ADDRESSES = dict.fromkeys(("Homepage", "Source", "Issues", "Changelog"), ADDRESS)


@pytest.mark.parametrize(
    ("metadata", "project_url", "message"),
    [
        (metadata_with("[a](b.md)"), "", None),
        (metadata_with("[a](https://a.invalid/b.md) [b](mailto:a@b.invalid)", **ADDRESSES), f"{ADDRESS}/", None),
        (metadata_with(""), ADDRESS, f"Source: expected {ADDRESS}, got None"),
        (metadata_with("", **ADDRESSES), f"{ADDRESS}2", f"Source: expected {ADDRESS}2, got {ADDRESS}"),
        (metadata_with("", Source=ADDRESS), "", "lacks the address of: Changelog, Homepage, Issues; build again"),
        (metadata_with("[a](b.md)", **ADDRESSES), "", "relative links in its description: ](b.md); change README.md"),
        (metadata_with('<img src="b.png">', **ADDRESSES), ADDRESS, "relative links in its description"),
    ],
)
def test_addresses_in_the_files_of_a_release_are_checked(
    metadata: Message, project_url: str, message: str | None
) -> None:
    check: Any = runpy.run_path(str(ROOT / "scripts" / "_check_dist.py"))["check_addresses"]
    if message is None:
        check("file", metadata, project_url)
        return
    with pytest.raises(SystemExit, match=re.escape(message)):
        check("file", metadata, project_url)


def test_a_directory_without_the_files_of_a_release_is_refused(tmp_path: Path) -> None:
    outcome = run_script("_check_dist.py", str(tmp_path))
    assert (outcome.returncode, outcome.stderr.count("\n")) == (1, 1)
    assert "expected 1 source distribution and a wheel, got 0 and 0" in outcome.stderr
    tarfile.open(tmp_path / "a.tar.gz", "w:gz").close()
    (tmp_path / "a.whl").touch()
    assert "a.tar.gz lacks a/PKG-INFO; build it again" in run_script("_check_dist.py", str(tmp_path)).stderr


def test_a_release_has_the_wheels_of_its_version_for_all_platforms(tree: Path) -> None:
    for name in ("check-release", "_env.sh"):
        shutil.copy(ROOT / "scripts" / name, tree / "scripts")
    (tree / "scripts" / "_check_dist.py").touch()
    (tree / "dist").mkdir()
    tags = ("manylinux_2_17_x86_64", "manylinux_2_28_aarch64", "macosx_15_0_arm64", "macosx_15_0_x86_64")
    wheels = ["py3-none-any", *(f"cp311-abi3-{tag}" for tag in tags)]

    def check() -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [str(tree / "scripts" / "check-release"), f"v{__version__}"]
        return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)

    for wheel in wheels:
        (tree / "dist" / f"noether_zarr_store-99.0.0-{wheel}.whl").touch()
        (tree / "dist" / f"noether_zarr_store-{__version__}-{wheel}.whl").touch()
    assert check().returncode == 0, check().stderr
    (tree / "dist" / f"noether_zarr_store-{__version__}-{wheels[-1]}.whl").unlink()
    assert check().returncode == 1
    assert f"found no wheel of v{__version__} for macosx_*_x86_64" in check().stderr


@pytest.mark.parametrize("name", ["build", "test-wheel"])
def test_an_unknown_argument_is_refused_before_any_work(name: str) -> None:
    command = [str(ROOT / "scripts" / name), "--prue"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.endswith("or no argument, got: --prue\n")


def test_a_source_distribution_has_no_files_of_tools(tmp_path: Path) -> None:
    """Tests and Jupyter leave some of them in the directories that MANIFEST.in adds."""
    pytest.importorskip("setuptools")
    files = ["docs/a.md", "docs/tutorials/a.ipynb", "scripts/build"]
    left = ["docs/tutorials/.ruff_cache/CACHEDIR.TAG", "docs/tutorials/.ruff_cache/0.1/a"]
    left += ["docs/tutorials/.ipynb_checkpoints/a.ipynb", "tests/__pycache__/a.pyc", "viewer/node_modules/a/b.js"]
    for name in [*files, *left]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    code = (
        "import sys\nfrom setuptools.command.egg_info import FileList\nfiles = FileList()\n"
        "for line in open(sys.argv[1]):\n    files.process_template_line(line.strip())\n"
        "print(*sorted(set(files.files)), sep='\\n')"
    )
    command = [sys.executable, "-c", code, str(ROOT / "MANIFEST.in")]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert outcome.stdout.split() == files
