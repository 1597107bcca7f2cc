"""The saves of a conversion: they use at most a hundredth of its time, and costly saves wait for a turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import ReportFile, SampleResult, turns
from noether.data.zarr_store.convert.recorder import Recorder
from noether.data.zarr_store.convert.turns import TURN_NAME
from noether.data.zarr_store.stores import open_storage
from support.ahmed import AHMED_FILEMAP
from support.manifests import entry
from support.places import Place, make_place


class Clock:
    """A clock that tests set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SlowWriter(ZarrStoreWriter):
    """A writer whose saves set the clock forward, and that records their beginning."""

    def __init__(self, root: Path | str, clock: Clock, seconds: float) -> None:
        super().__init__(root, AHMED_FILEMAP, "ahmed")
        self.clock, self.seconds = clock, seconds
        self.saved_at: list[float] = []

    def save_manifest(self) -> str:
        self.saved_at.append(self.clock.now)
        self.clock.now += self.seconds
        return super().save_manifest()


def result(sample_id: str) -> SampleResult:
    return SampleResult(sample_id, "converted", entry(sample_id))


def record(recorder: Recorder, clock: Clock, count: int, seconds: float = 10.0) -> None:
    for number in range(count):
        clock.now += seconds
        recorder.add(result(f"new_{number:04}"))


@pytest.mark.parametrize(
    ("seconds", "pause"),
    [(0.001, 10.0), (0.5, 50.0), (6.0, 600.0), (60.0, 3600.0)],
    ids=["at once", "half a second", "seconds", "a minute"],
)
def test_pauses_are_a_hundred_times_the_save_time(tmp_path: Path, seconds: float, pause: float) -> None:
    """A pause has at least ten seconds and at most an hour."""
    clock = Clock()
    writer = SlowWriter(tmp_path / "store", clock, seconds)
    recorder = Recorder(writer, {}, clock=clock)
    record(recorder, clock, 40, seconds=pause / 10)
    pauses = [after - before - seconds for before, after in zip(writer.saved_at, writer.saved_at[1:], strict=False)]
    assert len(pauses) >= 2
    assert all(pause <= one <= 1.2 * pause for one in pauses)
    recorder.finish()
    assert len(StoreManifest.load(str(tmp_path / "store")).samples) == 40


def test_the_first_save_waits_longer_the_more_samples_a_store_has(tmp_path: Path) -> None:
    """Otherwise each of many processes would save a large manifest with its first sample."""
    clock = Clock()
    writer = SlowWriter(tmp_path / "store", clock, 0.8)
    for number in range(5_000):
        writer.record(f"old_{number}", entry(f"old_{number}"))
    start = clock.now
    record(Recorder(writer, {}, clock=clock), clock, 10)
    assert [at - start for at in writer.saved_at] == [30.0]


@pytest.fixture(params=["memory", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A remote storage in which the saves of every store are costly."""
    monkeypatch.setattr(turns, "_MANY_SAMPLES", 1)
    return make_place(request.param, request)


def test_processes_that_end_together_save_one_by_one(place: Place) -> None:
    """No save is repeated, and no turn is left."""
    under_way, together = [0], threading.Barrier(6)
    met: list[int] = []

    class WatchingWriter(ZarrStoreWriter):
        def save_manifest(self) -> str:
            under_way[0] += 1
            met.append(under_way[0])
            url = super().save_manifest()
            under_way[0] -= 1
            return url

    def run(number: int) -> None:
        writer = WatchingWriter(place.root, AHMED_FILEMAP, "ahmed", storage_options=place.options)
        recorder = Recorder(writer, {})
        recorder.add(result(f"run_{number}"))
        together.wait()
        recorder.finish()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    assert met == [1] * 6
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == [
        f"run_{number}" for number in range(6)
    ]
    assert len(ReportFile.load(str(place.root), storage_options=place.options).samples) == 6
    assert list(place.files()) == ["conversion.json", "manifest.json"]


def test_no_process_waits_for_a_turn_between_samples(place: Place) -> None:
    """The save is made after a later sample."""
    clock = Clock()
    storage = open_storage(place.root, place.options)
    writer = ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed", storage_options=place.options)
    recorder = Recorder(writer, {}, clock=clock)
    storage.write(TURN_NAME, b"of another process")
    record(recorder, clock, 3)
    assert list(place.files()) == [TURN_NAME]
    storage.delete([TURN_NAME])
    record(recorder, clock, 1)
    assert list(place.files()) == ["conversion.json", "manifest.json"]


def test_a_turn_that_a_killed_process_left_behind_is_taken_over(place: Place) -> None:
    """A turn is not taken over while its process may still be saving."""
    clock, waits = Clock(), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    storage = open_storage(place.root, place.options)
    storage.write(TURN_NAME, b"of a killed process")
    with turns.Turns(storage, clock=clock, sleep=sleep).turn(wait=True) as has_turn:
        assert has_turn
        with turns.Turns(storage).turn(wait=False) as has_another:
            assert not has_another
    assert 60.0 < sum(waits) < 62.0
    assert list(place.files()) == []


def test_a_taken_over_turn_is_not_ended_by_its_first_owner(place: Place) -> None:
    storage = open_storage(place.root, place.options)
    with turns.Turns(storage).turn(wait=False):
        storage.write(TURN_NAME, b"of another process")
    assert place.files() == {TURN_NAME: b"of another process"}
