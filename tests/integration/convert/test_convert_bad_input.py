"""Wrong or damaged input of a conversion: it is named and counted, and the other samples are converted."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.sources import TreeSource
from support.s3_server import S3Server
from support.trees import TREE_FILEMAP, call, save_run, save_runs

IDS = ("run_1", "run_2", "run_3")


class FullDisk(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A disk with a limited number of bytes; removed files free their space."""

    protocol = "fulldisk"
    cachable = False

    def __init__(self, root: str, capacity: int) -> None:
        super().__init__()
        self.root, self.capacity = Path(root), capacity

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        taken = sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())
        fits = value[: max(self.capacity - taken, 0)]
        super().pipe_file(path, fits, mode=mode, **kwargs)
        if len(fits) < len(value):
            raise OSError(errno.ENOSPC, "No space left on device")


fsspec.register_implementation("fulldisk", FullDisk, clobber=True)


def test_a_sample_that_does_not_fit_on_the_target_fails_by_name(
    tmp_path: Path,
) -> None:
    """The samples that fit are converted."""
    tree = save_runs(tmp_path / "tree", IDS)
    save_run(tree / "run_2", n_points=18_000)
    (tmp_path / "store").mkdir()
    options = {"root": str(tmp_path / "store"), "capacity": 200_000}
    url = f"fulldisk://{tmp_path}/store"
    writer = ZarrStoreWriter(url, TREE_FILEMAP, "n", storage_options=options)
    report = convert(TreeSource(tree, TREE_FILEMAP), writer)
    [failed] = report.having("failed")
    assert "sample 'run_2'" in failed.reason
    assert "No space left on device" in failed.reason
    assert list(ZarrChunkReader(tmp_path / "store").manifest.samples) == ["run_1", "run_3"]
    assert not [path for path in (tmp_path / "store" / "run_2.zarr").rglob("*") if path.is_file()]
    assert ReportFile.load(str(tmp_path / "store")).failed() == {"run_2"}


@pytest.mark.s3
def test_a_missing_bucket_is_named(tmp_path: Path, s3_server: S3Server) -> None:
    options = [f"--source-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    ran = call("convert", "s3://no-such-bucket/runs", tmp_path / "store", "--preset", "ahmedml", *options)
    assert (ran.code, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith("error: ")
    assert "s3://no-such-bucket/runs" in ran.stderr
    assert not (tmp_path / "store").exists()


def test_duplicate_sample_ids_fail_and_other_samples_are_converted(tmp_path: Path) -> None:
    for directory in ("a/bc", "ab/c", "d/e"):
        (tmp_path / "in" / directory).mkdir(parents=True)
        np.savez(tmp_path / "in" / directory / "p.npz", x=np.ones((5, 3)))
    (tmp_path / "m.toml").write_text(
        'name = "n"\nid = "{one}{two}"\n[domains.surface]\nfile = "{one}/{two}/p.npz"\nfields.position = "x"\n'
    )
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", 0)
    assert ran.code == 3
    assert (
        "failed: sample 'abc': two samples have this id (one = 'a', two = 'bc' and one = 'ab', two = 'c')" in ran.stderr
    )
    assert list(ZarrChunkReader(tmp_path / "store").manifest.samples) == ["de"]


@pytest.mark.parametrize("option", [("--preset", "ahmedml"), ("--mapping", "ahmedml-raw")], ids=["tree", "mapping"])
def test_an_empty_directory_is_named_with_what_was_expected(tmp_path: Path, option: tuple[str, str]) -> None:
    (tmp_path / "in").mkdir()
    ran = call("convert", tmp_path / "in", tmp_path / "store", *option)
    assert ran.code == 1
    assert f"error: {tmp_path / 'in'}: no sample found among 0 files, expected" in ran.stderr
    assert not (tmp_path / "store").exists()
