"""`noether-zarr bench`: draws through a loader beside a plain read; what they take is not tested."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import measure_throughput, throughput
from noether.data.zarr_store.manifest import save_splits
from support.counting_proxy import counting_proxy
from support.foreign_stores import CODECS, write_foreign
from support.reading import FIELDS, write_runs
from support.s3_server import S3Server
from support.trees import call

# From Python 3.12 on, forking beside threads warns; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

RUNS = ["run_1", "run_2", "run_3"]
SHORT = ("--seconds", 0.05, "--workers", 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("bench") / "store", *RUNS, chunk_points=1024, shard_points=4096)


@pytest.fixture(autouse=True)
def _no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_WARM_UP_SECONDS", 0.0)


def shards_of(store: Path, *fields: str) -> int:
    """Bytes of all shards of some fields."""
    names = [field.replace("_", "/", 1) for field in fields]
    return sum(path.stat().st_size for name in names for path in store.glob(f"*.zarr/{name}/c/*/0"))


def test_the_output_has_what_was_drawn_the_figures_and_the_limit(store: Path) -> None:
    ran = call("bench", store, *SHORT, "--num-points", "volume=500,surface=all")
    assert (ran.code, ran.stderr) == (0, "")
    for words in (
        f"{store}: 3 samples",
        "points of a draw: volume 500, surface all; fields: volume_position,",
        "0 workers on ",
        "draws: samples/s",
        "time between batches, p99",
        "waiting for bytes",
        "decoding",
        "first pass",
        "second pass",
        "page cache",
    ):
        assert words in ran.stdout
    assert "is the limit" in ran.stdout.splitlines()[-1]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_json_has_the_same_figures(store: Path, workers: int) -> None:
    options = ["--num-points", "volume=500", "--field", "volume_position", "--field", "volume_pressure"]
    ran = call("bench", store, "--json", "--batch-size", 2, "--seconds", 0.3, "--workers", workers, *options)
    assert (ran.code, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert (found["n_samples"], found["workers"], found["batch_size"]) == (3, workers, 2)
    assert (found["num_points"], found["fields"]) == ({"volume": 500}, ["volume_position", "volume_pressure"])
    assert found["samples"] == 2 * found["batches"] > 0
    assert found["samples_per_second"] == pytest.approx(found["samples"] / found["seconds"])
    assert 0 < found["batch_ms"]["p50"] <= found["batch_ms"]["p90"] <= found["batch_ms"]["p99"]
    # Positions of three values and pressures of one, in float32.
    assert found["tensor_bytes_per_second"] * found["seconds"] == pytest.approx(found["samples"] * 500 * 4 * 4)
    assert found["limit"] in ("storage", "hand-over", "waiting", "decoding")
    assert found["plain"]["n_bytes"] == shards_of(store, "volume_position", "volume_pressure")
    assert found["io"]["requests"] > 0


def test_what_the_draws_read_is_what_they_cost(store: Path) -> None:
    found = measure_throughput(str(store), num_points={"surface": None}, num_workers=0, seconds=0.05)
    costs = {run: ZarrChunkReader(store).cost(run, None, FIELDS["surface"]) for run in RUNS}
    assert found.fields == FIELDS["surface"]
    assert found.io.requests == found.samples * (costs["run_1"].total_requests or 0)
    each = [cost.total_bytes or 0 for cost in costs.values()]
    assert min(each) * found.samples <= found.io.n_bytes <= max(each) * found.samples
    assert found.bytes_per_second == pytest.approx(found.io.n_bytes / found.seconds)
    assert found.plain is not None
    assert found.plain.n_bytes == shards_of(store, *FIELDS["surface"])


def test_by_default_draws_are_of_16384_points_of_each_domain(store: Path) -> None:
    found = measure_throughput(str(store), num_workers=0, seconds=0.01)
    assert found.num_points == {"surface": 16384, "volume": 16384}
    found = measure_throughput(str(store), num_workers=0, seconds=0.01, fields=["volume_sdf"])
    assert (found.num_points, found.fields) == ({"volume": 16384}, ["volume_sdf"])


def test_the_plain_read_ends_after_its_time(store: Path) -> None:
    found = measure_throughput(str(store), num_workers=0, seconds=1e-9)
    assert found.plain is not None
    first = store / "run_1.zarr" / FIELDS["surface"][0].replace("_", "/", 1) / "c/0/0"
    assert found.plain.n_bytes == first.stat().st_size


def test_a_split_is_measured_alone(tmp_path: Path) -> None:
    store = write_runs(tmp_path / "store", *RUNS, chunk_points=1024)
    save_splits(str(store), {"test": ["run_2"]})
    ran = call("bench", store, *SHORT, "--split", "test", "--json")
    assert json.loads(ran.stdout)["n_samples"] == 1


def test_shards_in_other_places_are_not_read_plainly(tmp_path: Path) -> None:
    keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    store = write_foreign(tmp_path / "store", CODECS["no checksums"] | keys)
    found = measure_throughput(str(store), num_workers=0, seconds=0.01)
    assert found.plain is None
    assert found.io.requests > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num-points", "volume"], "--num-points: expected DOMAIN=N, got 'volume'"),
        (["--num-points", "volume=0"], "--num-points: volume: expected a whole number above 0, or all, got '0'"),
        (["--num-points", "air=5"], "domain 'air' is not in the store; there are: surface, volume"),
        (["--field", "volume_x"], "field 'volume_x' is not in the store"),
        (["--split", "test"], "split 'test' is not in the store"),
        (["--workers", -1], "num_workers: expected a whole number of at least 0, got -1"),
        (["--seconds", 0], "seconds: expected a number above 0, got 0.0"),
        (["--batch-size", 0], "batch_size: expected"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_measured(store: Path, options: list[Any], words: str) -> None:
    ran = call("bench", store, *options)
    assert ran.code != 0
    assert ran.stdout == ""
    assert words in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_without_torch_the_message_says_how_to_install_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("noether.data.zarr_store.datasets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = call("bench", store)
    assert ran.code == 1
    assert "pip install 'noether-zarr-store[torch]'" in ran.stderr


@pytest.mark.s3
def test_objects_are_read_plainly_by_large_ranges(s3_server: S3Server, s3_root: str, store: Path) -> None:
    write_runs(s3_root, "run_1", chunk_points=1024, shard_points=4096, storage_options=s3_server.obstore_options)
    with counting_proxy(s3_server.endpoint) as proxy:
        options = s3_server.obstore_options | {"endpoint": proxy.endpoint}
        found = measure_throughput(
            s3_root, fields=["volume_position"], num_workers=0, seconds=0.1, storage_options=options
        )
        asked = [(line, n_bytes) for line, n_bytes in proxy.handled if "/volume/position/c/" in line]
    assert found.plain is not None
    assert found.plain.in_flight == 16
    assert found.plain.cached_before is None
    large = [n_bytes for _, n_bytes in asked if n_bytes > 20_000]
    assert sum(large) >= 2 * found.plain.n_bytes
