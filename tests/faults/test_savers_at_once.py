"""Two to eight processes that save one manifest at the same moment: it has every sample once."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.stores import open_storage
from support.ahmed import AHMED_FILEMAP, Arrays
from support.effort import in_full_mode
from support.faulty_proxy import FAULTS, LOST_ANSWERS, FaultyProxy, Script, faulty_proxy
from support.places import Place, make_place
from support.s3_server import S3Server
from support.workers import processes, save_together

ROUNDS = 6 if in_full_mode() else 3
SCRIPTS = range(3 if in_full_mode() else 1)
# Short waits, so that eight concurrent processes finish soon.
RETRY = {
    "max_retries": 30,
    "backoff": {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)},
}


@pytest.fixture(scope="module", params=(2, 5, 8) if in_full_mode() else (5,))
def pool(request: pytest.FixtureRequest) -> Iterator[tuple[int, ProcessPoolExecutor]]:
    """Processes that can wait for each other."""
    with processes(request.param) as pool:
        yield request.param, pool


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def entry(run_1: Arrays) -> SampleEntry:
    return ZarrStoreWriter("memory://savers", AHMED_FILEMAP, "ahmed").write_group("a", run_1)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def samples_of(writer: int, entry: SampleEntry) -> list[dict[str, SampleEntry]]:
    return [{f"{writer}/{turn}": entry} for turn in range(ROUNDS)]


def save_all(
    pool: tuple[int, ProcessPoolExecutor], root: Any, options: dict[str, Any] | None, entry: SampleEntry
) -> None:
    count, workers = pool
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", storage_options=options)
    keywords = pickle.dumps(writer.to_init_kwargs())
    list(workers.map(save_together, [keywords] * count, [samples_of(number, entry) for number in range(count)]))


def append(number: int) -> Callable[[bytes | None], bytes]:
    return lambda current: (current or b"") + bytes([number])


def all_ids(count: int) -> list[str]:
    return sorted(f"{writer}/{turn}" for writer in range(count) for turn in range(ROUNDS))


# fsspec has no conditional put, so for its roots only the threads of one process are promised to lose nothing.
@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", pytest.param("s3-obstore", marks=pytest.mark.s3)], indirect=True)
def test_concurrent_saves_lose_nothing(place: Place, pool: tuple[int, ProcessPoolExecutor], entry: SampleEntry) -> None:
    save_all(pool, place.root, place.options, entry)
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == all_ids(pool[0])
    assert list(place.files()) == ["manifest.json"]


@pytest.mark.faults
@pytest.mark.parametrize("seed", SCRIPTS)
@pytest.mark.parametrize(
    "faults", [LOST_ANSWERS, ("repeat", "repeat, last answer"), FAULTS], ids=["lost", "twice", "all"]
)
def test_concurrent_saves_with_lost_requests_lose_nothing(
    faults: tuple[str, ...],
    seed: int,
    pool: tuple[int, ProcessPoolExecutor],
    entry: SampleEntry,
    proxy: FaultyProxy,
    s3_server: S3Server,
    s3_root: str,
) -> None:
    """No sample is recorded twice either."""
    proxy.play(Script(faults, seed=seed, chance=0.3, limit=None))
    save_all(pool, s3_root, proxy.server.obstore_options | {"retry_config": RETRY}, entry)
    met = [one for one in proxy.stop_faults() if one.fault is not None]
    assert met
    data = open_storage(s3_root, s3_server.obstore_options).read_if_there("manifest.json") or b""
    # Also of the JSON, where a key could come twice.
    members = dict(json.loads(data, object_pairs_hook=list))
    assert [sample_id for sample_id, _ in members["samples"]] == all_ids(pool[0])
    assert list(StoreManifest.parse(data, "manifest").samples) == all_ids(pool[0])


@pytest.mark.faults
@pytest.mark.parametrize("seed", SCRIPTS)
@pytest.mark.parametrize("faults", [LOST_ANSWERS, ("repeat", "repeat, last answer")], ids=["lost", "twice"])
def test_a_single_writer_makes_each_change_once(
    faults: tuple[str, ...], seed: int, proxy: FaultyProxy, s3_server: S3Server, s3_root: str
) -> None:
    """A change that adds something must not be applied twice by a retry."""
    storage = open_storage(s3_root, proxy.server.obstore_options | {"retry_config": RETRY})
    proxy.play(Script(faults, seed=seed, chance=0.5, limit=None, methods="PUT"))
    for number in range(40):
        storage.update("log", append(number))
    proxy.stop_faults()
    assert open_storage(s3_root, s3_server.obstore_options).read_if_there("log") == bytes(range(40))
