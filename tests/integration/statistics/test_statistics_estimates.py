"""Statistics with a tolerance: the share that is read, and how often the interval contains the true mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.statistics import RunningStats, calculate_store_statistics, position_bounds
from noether.data.zarr_store.statistics.planning import select
from support.ahmed import RUNS, load_run
from support.counting_disk import CountingDisk, counted_root
from support.lanes import few_fast
from support.reading import FIELDS, write_runs, write_samples

SEEDS = range(120)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chunks are small, so that the bundled runs have many of them."""
    return write_runs(tmp_path_factory.mktemp("estimates") / "store", *RUNS, chunk_points=32, compression_level=1)


@pytest.fixture(scope="module")
def true(root: Path) -> dict[str, RunningStats]:
    return calculate_store_statistics(root)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "tolerance"),
    [pytest.param("volume", 0.05, id="a-hundredth-of-the-points"), pytest.param("surface", 0.02, id="half-of-them")],
)
def test_the_interval_contains_the_true_mean_95_times_of_100(
    root: Path, true: dict[str, RunningStats], domain: str, tolerance: float
) -> None:
    hits: dict[str, list[bool]] = {}
    for seed in SEEDS:
        stats = calculate_store_statistics(root, fields=FIELDS[domain], tolerance=tolerance, seed=seed, max_workers=1)
        for field, one in stats.items():
            for name in ("mean", "logmean"):
                errors = np.abs(getattr(one, name) - getattr(true[field], name))
                for component, is_within in enumerate(errors <= getattr(one, f"{name}_margin")):
                    hits.setdefault(f"{field} {component} {name}", []).append(bool(is_within))
    rates = {name: float(np.mean(each)) for name, each in hits.items()}
    assert len(rates) == 2 * sum(true[field].width for field in FIELDS[domain])
    # The fields of a draw hit or miss together, so the mean over these seeds has a standard error of 0.008.
    assert 0.92 <= np.mean(list(rates.values())) <= 0.98, rates
    # Of friction, whose values are skewed, 0.90 over 800 seeds; this is three standard errors below.
    assert min(rates.values()) >= 0.82, rates


@pytest.mark.parametrize("tolerance", few_fast([0.03, 0.01, 0.1]))
def test_every_margin_is_within_the_tolerance(root: Path, tolerance: float) -> None:
    for field, one in calculate_store_statistics(root, tolerance=tolerance).items():
        assert (one.mean_margin <= tolerance * one.std).all(), field
        assert (one.logmean_margin <= tolerance * one.logstd).all(), field
        assert one.points_read < one.count


def test_a_tolerance_reads_a_small_part_of_the_bytes(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    calculate_store_statistics(counted_root(root), fields=FIELDS["volume"])
    whole = sum(CountingDisk.read.values())
    calculate_store_statistics(counted_root(root), fields=FIELDS["volume"], tolerance=0.1)
    # Two chunks of 72. The rest is metadata, read once; larger samples have hardly more.
    assert CountingDisk.read[f"{root}/run_1.zarr/zarr.json"] == (root / "run_1.zarr/zarr.json").stat().st_size
    assert sum(CountingDisk.read.values()) < 0.1 * whole


def test_every_sample_gives_at_least_one_chunk_of_every_field(root: Path) -> None:
    calculate_store_statistics(counted_root(root), tolerance=0.9)
    for run in RUNS:
        for domain, fields in FIELDS.items():
            for field in fields:
                shard = f"{root}/{run}.zarr/{domain}/{field.removeprefix(f'{domain}_')}/c/0/0"
                index = 16 * -(-len(load_run(run)[field]) // 32) + 4
                assert CountingDisk.read[shard] > index, shard


@pytest.mark.parametrize("seed", range(5))
def test_an_estimate_reads_whole_chunks_of_samples_with_few(root: Path, seed: int) -> None:
    """Draws for training begin at any row there, which takes one more chunk."""
    selection = select(StoreManifest.load(str(root)), fields=FIELDS["surface"])
    for planned in selection.blocks(selection.shares(0.9), seed):
        short = planned.plan.grid.n_chunks - 1
        of_short = sum(part.n_points for part in planned.plan.parts if part.chunk == short)
        of_others = [part.n_points for part in planned.plan.parts if part.chunk != short]
        assert of_others == ([32 - of_short] if of_short < 32 else [])


def test_extremes_and_bounds_of_positions_are_not_known(root: Path) -> None:
    stats = calculate_store_statistics(root, tolerance=0.1)
    for one in stats.values():
        assert np.isnan([one.min, one.max]).all()
    bounds = position_bounds(stats)
    assert bounds is not None
    assert np.isnan(bounds).all()


def test_a_tolerance_that_needs_all_points_is_a_full_pass(tmp_path: Path) -> None:
    root = write_samples(tmp_path / "store", {"run_1": load_run("run_1")}, chunk_points=4096)
    fields = FIELDS["surface"]
    given, expected = (calculate_store_statistics(root, fields=fields, tolerance=each) for each in (0.001, None))
    for field, one in given.items():
        assert not one.is_estimate
        np.testing.assert_array_equal(one.max, expected[field].max)
        np.testing.assert_array_equal(one.mean, expected[field].mean)


def test_the_seed_chooses_the_chunks(root: Path) -> None:
    first, again, other = (
        calculate_store_statistics(root, fields=["volume_sdf"], tolerance=0.1, seed=seed)["volume_sdf"]
        for seed in (1, 1, 2)
    )
    assert first.mean == again.mean != other.mean


def test_samples_of_different_sizes_count_by_their_points(tmp_path: Path) -> None:
    run = load_run("run_1")
    large = {field: np.full_like(values, 10) for field, values in run.items()}
    small = {field: np.full_like(values[:100], 20) for field, values in run.items()}
    root = write_samples(tmp_path / "store", {"large": large, "small": small}, chunk_points=32)
    stats = calculate_store_statistics(root, fields=["volume_sdf"], tolerance=0.9)["volume_sdf"]
    n_large = len(run["volume_sdf"])
    assert stats.points_read == 64
    assert stats.mean == pytest.approx((10 * n_large + 20 * 100) / (n_large + 100))
