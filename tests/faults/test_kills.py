"""`kill -9` of conversions at any moment: the same command again makes the same store as without a kill."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from noether.data.zarr_store.convert.report import ReportFile
from support.ahmed import AHMED_FILEMAP, Arrays
from support.effort import in_full_mode
from support.places import local_place, make_place
from support.storm import Storm, Watcher, read_whole, stored_bytes
from support.trees import call, save_run

pytestmark = pytest.mark.faults

IDS = [f"run_{number}" for number in range(1, 9)]
SETTINGS = ("--chunk-points", 16, "--shard-points", 32)
FIELDS = {"surface_position", "surface_pressure", "volume_position", "volume_velocity"}
N_KILLS = 6 if in_full_mode() else 3


class Undisturbed(NamedTuple):
    """A conversion without kills: its arguments without the store, and its files."""

    source: tuple[object, ...]
    files: dict[str, bytes]
    arrays: dict[str, Arrays]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    directory = tmp_path_factory.mktemp("undisturbed")
    for number, sample_id in enumerate(IDS):
        save_run(directory / "tree" / sample_id, f"run_{number % 6 + 1}", n_points=60 + number)
    filemap, store = directory / "filemap.json", directory / "store"
    filemap.write_text(AHMED_FILEMAP.model_dump_json(include=FIELDS))
    source = (directory / "tree", "--filemap", filemap, *SETTINGS)
    assert call("convert", *source, store, "--workers", 0).code == 0
    return Undisturbed(source, stored_bytes(local_place(store)), read_whole(store))


@pytest.mark.parametrize("kind", ["local", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def test_a_repeatedly_killed_conversion_ends_in_the_same_bytes(
    kind: str,
    undisturbed: Undisturbed,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A concurrent reader gets every listed sample."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    everywhere = make_place(kind, request)
    rng, n_kills = random.Random(kind), 0
    for number in count():
        if n_kills >= N_KILLS:
            break
        place = replace(everywhere, root=f"{everywhere.root}/{number}", path=f"{everywhere.path}/{number}")
        options = [f"--storage-option={key}={value}" for key, value in (place.options or {}).items()]
        command = ("convert", *undisturbed.source, place.root, *options)
        # The concurrent reader needs a sample from the beginning.
        assert call(*command, "--workers", 0, "--limit", 3).code == 0
        storm = Storm((*command, "--workers", 2), len(IDS), rng)
        with Watcher(place.root, undisturbed.arrays, place.options) as watcher:
            while (storm.strike() if n_kills + storm.n_kills < N_KILLS else storm.calm()).code != 0:
                pass
        n_kills += storm.n_kills
        assert watcher.error is None
        assert watcher.n_reads > 0
        assert stored_bytes(place) == undisturbed.files
        report = ReportFile.load(str(place.root), storage_options=place.options)
        assert list(report.samples) == sorted(IDS)
