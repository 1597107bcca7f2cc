"""Fixtures that every test may use: real samples, and a real S3 server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from noether.data.zarr_store.codec import native
from support.ahmed import Arrays, load_run
from support.native_functions import take_away
from support.s3_server import S3Server, serve_s3

# Laws are tried on more examples where time allows: `./scripts/test --full`.
hypothesis.settings.register_profile("default", max_examples=20, deadline=None)
hypothesis.settings.register_profile("full", max_examples=250, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Tests take the slow path on purpose. Its one warning of this process is spent here, so that no test fails by being the
# first of them; `unit/codec/test_native.py` tests the warning.
native._first_use.acquire(blocking=False)


@pytest.fixture(scope="session")
def run_1() -> Arrays:
    """The fields of a real simulation: 2,041 surface and 18,219 volume points."""
    return load_run("run_1")


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A directory on a disk: `./scripts/test` keeps `tmp_path` in memory where that is large."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS on loopback and free ports; stopped, with all it started, when the tests end."""
    with serve_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def s3_root(s3_server: S3Server, tmp_path: Path) -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://{s3_server.bucket}/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def compiled() -> None:
    """The compiled ways to encode and decode chunks, which are optional for users."""
    if native.decode is None or native.encode is None:
        pytest.skip("built without a C compiler or zstd's headers: apt-get install gcc libzstd-dev, install again")


@pytest.fixture
def python_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of numcodecs and NumPy alone."""
    take_away(monkeypatch)


@pytest.fixture(params=["compiled", "python_only"], ids=["compiled", "python"])
def compiled_or_not(request: pytest.FixtureRequest) -> None:
    """Both ways to encode and decode chunks, which differ in nothing but their speed."""
    request.getfixturevalue(request.param)
