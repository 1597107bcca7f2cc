"""The command `index`."""

from __future__ import annotations

from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from support.damage import remove
from support.reading import write_runs
from support.trees import call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=4096)


def test_the_index_is_named_and_the_exit_code_is_0(root: Path) -> None:
    ran = call("index", root)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == f"chunk index: {root / str(StoreManifest.load(str(root)).index_name)}\n"


def test_arrays_that_groups_lack_are_named_with_the_way_out_and_exit_code_4(root: Path) -> None:
    """4 is what `verify` ends with where it finds damage. The index of all other arrays is made."""
    for key in ("run_1.zarr/volume/sdf", "run_1.zarr/surface/area", "run_2.zarr/volume/sdf"):
        remove(key)(root)
    ran = call("index", root)
    assert ran.code == 4
    assert ran.stdout == f"chunk index: {root / str(StoreManifest.load(str(root)).index_name)}\n"
    assert ran.stderr.splitlines() == [
        "damage: sample 'run_1': the group lacks arrays that the manifest lists: surface_area, volume_sdf",
        "damage: sample 'run_2': the group lacks arrays that the manifest lists: volume_sdf",
        f"what to do: noether-zarr repair {root} --source SOURCE",
    ]


def test_only_the_first_of_many_samples_are_named(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=4096)
    manifest = StoreManifest.load(str(root))
    entry = manifest.sample("run_1")
    samples = {f"run_{number}": entry.__class__(f"run_{number}.zarr", entry.domains) for number in range(1, 51)}
    manifest.model_copy(update={"samples": samples}).save(str(root))
    *named, more, _ = call("index", root).stderr.splitlines()
    assert len(named) == 40
    assert more == f"… and 9 more samples, which noether-zarr verify {root} --level census shows"
