"""Plans of conversions: their numbers match the conversion, and their warnings have remedies."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionPlan, convert, looking, plan_conversion, planning
from noether.data.zarr_store.core.memory import available_memory_bytes
from noether.data.zarr_store.errors import WorkerDiedError
from noether.data.zarr_store.sources import SampleSource, TreeSource
from support.bad_sources import HostileSource
from support.sized_sources import NamedSource, SizedSource
from support.trees import TREE_FILEMAP, call, save_array, save_run, save_runs, visible_files

FILEMAP = FileMap(surface_position="x.npy", surface_pressure="p.npy", volume_position="xv.npy")
POINTS = {"run_1": (150, 999), "run_2": (70, 2000), "run_3": (150, 999)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for run, (surface, volume) in POINTS.items():
        save_array(tmp_path / "tree" / run / "x.npy", np.ones((surface, 3), np.float64))
        save_array(tmp_path / "tree" / run / "p.npy", np.ones(surface, np.float32))
        save_array(tmp_path / "tree" / run / "xv.npy", np.ones((volume, 3), np.float32))
    return tmp_path / "tree"


def plan_of(source: SampleSource, root: Path | str, *, workers: int = 1, **settings: Any) -> ConversionPlan:
    writer = ZarrStoreWriter(root, source.filemap, "plan", **settings)
    return plan_conversion(source, writer, source.sample_ids(), workers=workers)


def plan(tree: Path, store: Path, **settings: Any) -> ConversionPlan:
    return plan_of(TreeSource(tree, FILEMAP), store, **settings)


@pytest.mark.usefixtures("described_in_threads")
def test_points_chunks_and_shards_come_from_file_headers(tree: Path, tmp_path: Path) -> None:
    made = plan(tree, tmp_path / "store", chunk_points={"surface": 64, "volume": 100}, shard_points=200)
    surface, volume = made.domains
    assert (surface.domain, surface.n_samples, surface.n_fields) == ("surface", 3, 2)
    assert (surface.points_min, surface.points_max, surface.chunk_points, surface.n_shards) == (70, 150, 64, 1)
    assert (volume.points_min, volume.points_max, volume.chunk_points, volume.n_shards) == (999, 2000, 100, 10)
    assert (surface.shard_bytes, volume.shard_bytes) == (192 * 3 * 4, 200 * 3 * 4)
    assert (made.n_samples, made.n_complete, made.n_described) == (3, 0, 3)


@pytest.mark.usefixtures("described_in_threads")
def test_planned_objects_and_bytes_match_the_conversion(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made = plan(tree, store, chunk_points=64, shard_points=200)
    assert not store.exists()
    writer = ZarrStoreWriter(store, FILEMAP, "plan", chunk_points=64, shard_points=200)
    results = convert(TreeSource(tree, FILEMAP), writer).results
    assert made.n_objects == len([name for name in visible_files(store) if ".zarr/" in name])
    assert made.source_bytes == sum(result.source_bytes for result in results)
    points = np.sum(list(POINTS.values()), axis=0)
    assert made.stored_bytes == points[0] * (3 * 4 + 2) + points[1] * 3 * 4


@pytest.mark.slow
def test_planned_memory_is_within_30_percent_of_the_measured(tmp_path: Path) -> None:
    n_points = 4_000_000
    save_array(tmp_path / "tree" / "run_1" / "xv.npy", np.ones((n_points, 3), np.float64))
    filemap = FileMap(volume_position="xv.npy")
    source, writer = TreeSource(tmp_path / "tree", filemap), ZarrStoreWriter(tmp_path / "store", filemap, "plan")
    made = plan_conversion(source, writer, source.sample_ids())
    taken = max(result.peak_memory_bytes for result in convert(source, writer, workers=1).results)
    assert taken > n_points * 3 * 8
    assert 0.7 * taken <= made.memory_bytes <= 1.3 * taken


@pytest.mark.usefixtures("described_in_threads")
def test_samples_that_are_complete_and_unchanged_are_counted_and_left_out(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    convert(TreeSource(tree, FILEMAP), ZarrStoreWriter(store, FILEMAP, "plan"))
    save_array(tree / "run_2" / "p.npy", np.zeros(70))
    made = plan(tree, store)
    assert (made.n_samples, made.n_complete, [one.points_max for one in made.domains]) == (3, 2, [70, 2000])
    assert plan(tree, store, chunk_points=50).n_complete == 0


@pytest.mark.usefixtures("described_in_threads")
def test_samples_to_overwrite_are_not_complete(tree: Path, tmp_path: Path) -> None:
    source, writer = TreeSource(tree, FILEMAP), ZarrStoreWriter(tmp_path / "store", FILEMAP, "plan")
    convert(source, writer)
    made = plan_conversion(source, writer, source.sample_ids(), mode="overwrite", keep_grids=True)
    assert (made.n_samples, made.n_complete, made.n_described) == (3, 0, 3)


@pytest.mark.usefixtures("described_in_threads")
def test_of_many_samples_only_some_are_described(tmp_path: Path) -> None:
    """The plan assumes that the other samples have similar sizes."""
    made = plan_of(SizedSource({f"run_{number:03}": 1000 + number for number in range(1000)}), tmp_path)
    [volume] = made.domains
    assert (made.n_described, volume.n_samples) == (200, 200)
    assert (volume.points_min, volume.points_max) == (1000, 1995)
    assert made.n_objects == 1000 * 6
    assert made.source_bytes == pytest.approx(1000 * 1499.5 * 16, rel=0.01)


@pytest.mark.usefixtures("described_in_threads")
def test_samples_that_cannot_be_converted_are_named(tree: Path, tmp_path: Path) -> None:
    (tree / "run_1" / "xv.npy").write_bytes(b"broken")
    (tree / "run_2" / "p.npy").unlink()
    made = plan(tree, tmp_path / "store")
    assert "sample 'run_1', field volume_position: run_1/xv.npy cannot be read" in made.failures["run_1"]
    assert "sample 'run_2': domain 'surface' lacks the file p.npy" in made.failures["run_2"]
    assert (made.n_described, made.n_samples) == (1, 3)


@given(st.integers(1, 700), st.data())
def test_every_prefix_of_the_described_samples_is_spread(count: int, data: st.DataObject) -> None:
    order = [int(sample_id) for sample_id in looking._spread([str(number) for number in range(count)])]
    assert len(set(order)) == len(order) == min(count, 200)
    n_seen = data.draw(st.integers(1, len(order)))
    seen = sorted([*order[:n_seen], count])
    assert max(np.diff(seen)) <= 4 * count / n_seen + 1


@pytest.mark.usefixtures("described_in_threads")
def test_a_source_without_descriptions_loads_one_sample(tmp_path: Path) -> None:
    made = plan_of(NamedSource(["run_1", "run_2"]), tmp_path)
    assert (made.n_described, made.domains[0].points_max, made.source_bytes) == (1, 9, 2 * 9 * 16)
    assert plan_of(NamedSource([]), tmp_path).domains == []


@pytest.mark.slow
def test_a_crash_of_a_reader_is_an_error(tmp_path: Path) -> None:
    """The crash does not end the command."""
    source = HostileSource(save_runs(tmp_path / "tree", ["run_1"]), TREE_FILEMAP, {"run_1": "crashed"})
    with pytest.raises(WorkerDiedError, match="SIGSEGV"):
        plan_of(source, tmp_path / "store")


@pytest.mark.parametrize(
    ("n_points", "advised"),
    [(10, 1024), (2_500_000, 1024), (8_800_000, 4096), (21_200_000, 8192), (140_000_000, 16384), (10**9, 16384)],
)
def test_advised_chunks_are_many_and_of_medium_size(n_points: int, advised: int) -> None:
    assert planning._advised_chunk_points(n_points) == advised


@pytest.mark.slow
def test_an_ordinary_plan_has_no_warnings(tmp_path: Path) -> None:
    assert plan_of(SizedSource({"run_1": 1000}), tmp_path, workers=2).warnings == []


@pytest.mark.usefixtures("described_in_threads")
@pytest.mark.parametrize(
    ("points", "settings", "warning"),
    [
        pytest.param(
            {"run_1": 285_000_000},
            {},
            "domain volume: a shard is one object of 3.4 GB before compression, which is sent again as a whole if a "
            "connection breaks; use --shard-points 22368256 to split it",
            id="a large shard",
        ),
        pytest.param(
            {"run_1": 285_000_000},
            {"shard_points": 20_000},
            "domain volume: a field has 17,396 shards in one directory; use a larger --shard-points",
            id="many shards",
        ),
        pytest.param(
            {f"a/{number}": 10 for number in range(10_001)},
            {},
            "a: 10,001 samples in one directory; use sample ids with more directories, such as a/b/c",
            id="many samples",
        ),
    ],
)
def test_an_unsuitable_layout_causes_a_warning_with_a_remedy(
    points: dict[str, int], settings: dict[str, Any], warning: str
) -> None:
    assert warning in plan_of(SizedSource(points), "memory://plan", **settings).warnings


@pytest.mark.usefixtures("described_in_threads")
def test_a_small_target_causes_a_warning(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    [warning] = [text for text in plan_of(SizedSource({"run_1": free}), tmp_path / "store").warnings if "free" in text]
    assert re.fullmatch(
        r"the samples have [\d.]+ GB before compression, and [\d.]+ GB is free on the target; make room there, or use "
        "--limit to convert fewer samples",
        warning,
    )


@pytest.mark.slow
def test_too_little_memory_for_the_workers_causes_a_warning() -> None:
    """The warning has the number of workers that fit."""
    available = available_memory_bytes()
    assert available is not None
    made = plan_of(SizedSource({"run_1": available // 70}), "memory://plan", workers=4)
    [warning] = [text for text in made.warnings if "memory" in text]
    assert "4 workers may need" in warning
    assert re.search(r"; use --workers [23]$", warning)


@pytest.mark.slow
def test_the_command_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    tree, store = save_runs(tmp_path / "tree"), tmp_path / "store"
    save_run(tree / "run_3", n_points=99)
    (tree / "run_2" / "surface_pressure.npy").write_bytes(b"broken")
    ran = call("convert", tree, store, "--preset", "ahmedml", "--dry-run", "--chunk-points", "surface=64")
    assert (ran.code, ran.stderr) == (0, "")
    table = [line.replace("│", " ").split() for line in ran.stdout.splitlines() if line.startswith("│")]
    assert table == [
        ["surface", "2", "5", "99", "to", "150", "64", "1,024", "1", "2.3", "kB"],
        ["volume", "2", "5", "99", "to", "150", "150", "1,024", "1", "1.8", "kB"],
    ]
    assert f"3 samples to convert, 0 complete before; store: {store}" in ran.stdout.splitlines()
    assert "would fail: sample 'run_2', field surface_pressure: run_2/surface_pressure.npy cannot be read" in ran.stdout
    assert not store.exists()
