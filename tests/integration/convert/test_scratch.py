"""Temporary files of a conversion: their size, their directory, and its free space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import plan_conversion
from noether.data.zarr_store.convert.sample_sizes import scratch_bytes_of
from noether.data.zarr_store.convert.worker_count import Machine
from noether.data.zarr_store.core import scratch_root
from noether.data.zarr_store.sources import FieldDescription
from support.out_of_core import scratch_bytes, shrink
from support.sized_sources import SizedSource
from support.trees import call

FILEMAP = FileMap(surface_position="s.npy", volume_position="x.npy", volume_pressure="p.npy", volume_velocity="v.npy")
POINTS = 2_900_000
SHAPES = {
    "surface_position": (POINTS, 3),
    "volume_position": (POINTS, 3),
    "volume_pressure": (POINTS,),
    "volume_velocity": (POINTS, 3),
}
MAPPING = """
name = "h"
id = "run_{n}"
[domains.volume]
file = "run_{n}.h5"
fields = { position = "x" }
"""


class MappedSource(SizedSource):
    """A source whose fields are not in memory."""

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        return {name: replace(one, in_memory=False) for name, one in super().describe(sample_id).items()}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit with which small test samples are too large for memory."""
    shrink(monkeypatch, 1 << 24)


def described(**in_memory: bool) -> dict[str, FieldDescription]:
    return {
        field: FieldDescription(shape, np.dtype(np.float32), in_memory.get(field, False))
        for field, shape in SHAPES.items()
    }


@pytest.mark.slow
@pytest.mark.usefixtures("small_memory")
def test_planned_temporary_bytes_match_the_conversion(tmp_path: Path, scratch: Path) -> None:
    """The temporary files of both domains exist at the same time."""
    writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "n")
    fields: dict[str, Any] = {}
    for field, shape in SHAPES.items():
        np.save(tmp_path / f"{field}.npy", np.ones(shape, np.float32))
        fields[field] = np.load(tmp_path / f"{field}.npy", mmap_mode="r")
    taken = 0

    def measure(_n_bytes: int) -> None:
        nonlocal taken
        taken = max(taken, scratch_bytes(scratch))

    writer.write_group("run_1", fields, on_bytes=measure)
    assert taken == scratch_bytes_of(writer, described()) == POINTS * (12 + 4 + 12 + 2 + 6 + 4)


def test_samples_in_memory_need_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "n")
    assert scratch_bytes_of(writer, described()) == 0
    shrink(monkeypatch, 1 << 24)
    assert scratch_bytes_of(writer, described(**dict.fromkeys(SHAPES, True))) == 0
    assert scratch_bytes_of(writer, described(surface_position=True)) == POINTS * (12 + 2 + 6 + 4)


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize(("copied", "expected"), [(10, POINTS * 16), (10**9, 10**9)])
def test_local_copies_are_removed_before_the_reordering(tmp_path: Path, copied: int, expected: int) -> None:
    writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "n")
    fields = {"volume_position": replace(described()["volume_position"], scratch_bytes=copied)}
    assert scratch_bytes_of(writer, fields) == expected


@pytest.mark.usefixtures("described_in_threads")
def test_a_full_temporary_directory_causes_a_warning(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest sample counts, for each worker; the warning has the number of workers that fit."""
    monkeypatch.setattr(Machine, "now", lambda: Machine(8, None, 4 * 10**9, scratch_root()))
    source = MappedSource({"run_1": 10, "run_2": 100_000_000})
    writer = ZarrStoreWriter(tmp_path / "store", source.filemap, "plan")

    def warnings(workers: int) -> list[str]:
        made = plan_conversion(source, writer, source.sample_ids(), workers=workers)
        assert (made.scratch_bytes, made.scratch_directory) == (100_000_000 * (12 + 2 + 4), str(scratch))
        return [text for text in made.warnings if "temporary" in text]

    assert warnings(2) == []
    assert warnings(3) == [
        f"3 workers may write 5.4 GB of temporary files, and 4.0 GB is free in {scratch}; set TMPDIR to a directory "
        "with more room, or use --workers 2"
    ]
    monkeypatch.setattr(Machine, "now", lambda: Machine(8, None, 10**9, scratch_root()))
    assert [text.rpartition(", ")[2] for text in warnings(1)] == ["since not even one worker fits"]


@pytest.mark.usefixtures("described_in_threads")
def test_the_command_states_temporary_files_and_their_place(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "m.toml").write_text(MAPPING)
    for run, n_points in (("run_1", 9), ("run_2", 20_000_000)):
        with h5py.File(tmp_path / "in" / f"{run}.h5", "w") as file:
            file.create_dataset("x", (n_points, 3), "f4", chunks=True)[0] = 1
    arguments = ("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml", "--dry-run")
    line = "at most 320.0 MB of temporary files a worker"
    assert f"{line}, 640.0 MB for 2 at the same time, in {scratch}" in call(*arguments, "--workers", 2).stdout
    assert f"{line}, in {scratch}" in call(*arguments, "--workers", 0).stdout
    assert "no temporary files" in call(*arguments, "--workers", 2, "--limit", 1).stdout
