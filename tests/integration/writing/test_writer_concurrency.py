"""Many threads record samples in one store at the same time and lose none; `tests/faults` tests processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.manifest import SampleEntry
from support.ahmed import AHMED_FILEMAP, Arrays
from support.places import KINDS, Place, make_place

WRITERS = 8
ROUNDS = 3


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def open_writer(place: Place) -> ZarrStoreWriter:
    return ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed", storage_options=place.options)


@pytest.fixture(scope="module")
def entry(run_1: Arrays) -> SampleEntry:
    return ZarrStoreWriter("memory://concurrency", AHMED_FILEMAP, "ahmed").write_group("a", run_1)


def samples_of(writer: int, entry: SampleEntry) -> list[dict[str, SampleEntry]]:
    """Two samples for each round of saving."""
    return [{f"{writer}/{turn}/{i}": entry for i in range(2)} for turn in range(ROUNDS)]


ALL = sorted(f"{writer}/{turn}/{i}" for writer in range(WRITERS) for turn in range(ROUNDS) for i in range(2))


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_eight_writers_that_save_at_once_lose_nothing(place: Place, entry: SampleEntry) -> None:
    together = Barrier(WRITERS, timeout=60)

    def save(number: int) -> None:
        writer = open_writer(place)
        for entries in samples_of(number, entry):
            for sample_id, recorded in entries.items():
                writer.record(sample_id, recorded)
            together.wait()
            writer.save_manifest()

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(save, range(WRITERS)))
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == ALL
    assert list(place.files()) == ["manifest.json"]


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_threads_can_record_while_others_save(place: Place, entry: SampleEntry) -> None:
    writer = open_writer(place)

    def record_and_save(sample_id: str) -> dict[str, Any]:
        writer.record(sample_id, entry)
        writer.save_manifest()
        return dict(StoreManifest.load(str(place.root)).samples)

    with ThreadPoolExecutor(WRITERS) as threads:
        seen = list(threads.map(record_and_save, ALL))
    assert all(sample_id in samples for sample_id, samples in zip(ALL, seen, strict=True))
    assert list(StoreManifest.load(str(place.root)).samples) == ALL
