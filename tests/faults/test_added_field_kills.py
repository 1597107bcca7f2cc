"""`kill -9` during additions of fields: the same command again makes the same store as without a kill."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from noether.data.zarr_store import StoreManifest
from support.ahmed import AHMED_FILEMAP, Arrays
from support.effort import in_full_mode
from support.places import local_place, make_place
from support.storm import Storm, Watcher, read_whole, stored_bytes
from support.trees import call, save_run

pytestmark = pytest.mark.faults

IDS = [f"run_{number}" for number in range(1, 7)]
SETTINGS = ("--chunk-points", 16, "--shard-points", 32)
FIELDS = {"surface_position", "surface_pressure", "volume_position"}
LATER = {"surface_friction", "volume_velocity"}
N_KILLS = 6 if in_full_mode() else 3


class Undisturbed(NamedTuple):
    """A tree with its file maps, and the files of a store that was made without kills."""

    tree: Path
    before: Path
    after: Path
    files: dict[str, bytes]
    arrays: dict[str, Arrays]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    directory = tmp_path_factory.mktemp("undisturbed")
    tree, before, after = (directory / name for name in ("tree", "before.json", "after.json"))
    for number, sample_id in enumerate(IDS):
        save_run(tree / sample_id, f"run_{number % 6 + 1}", n_points=60 + number)
    before.write_text(AHMED_FILEMAP.model_dump_json(include=FIELDS))
    after.write_text(AHMED_FILEMAP.model_dump_json(include=FIELDS | LATER))
    store = directory / "store"
    assert call("convert", tree, "--filemap", before, *SETTINGS, store, "--workers", 0).code == 0
    assert call("add-fields", store, tree, "--filemap", after, "--workers", 0).code == 0
    return Undisturbed(tree, before, after, stored_bytes(local_place(store)), read_whole(store))


@pytest.mark.parametrize("kind", ["local", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def test_a_repeatedly_killed_addition_ends_in_the_same_bytes(
    kind: str,
    undisturbed: Undisturbed,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A concurrent reader gets every listed field of every sample."""
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
        made = ("convert", undisturbed.tree, "--filemap", undisturbed.before, *SETTINGS, place.root, *options)
        assert call(*made, "--workers", 0).code == 0
        command = ("add-fields", place.root, undisturbed.tree, "--filemap", undisturbed.after, *options, "--workers", 2)
        storm = Storm(command, len(IDS), rng)
        with Watcher(place.root, undisturbed.arrays, place.options) as watcher:
            while (storm.strike() if n_kills + storm.n_kills < N_KILLS else storm.calm()).code != 0:
                pass
        n_kills += storm.n_kills
        assert watcher.error is None
        assert watcher.n_reads > 0
        assert stored_bytes(place) == undisturbed.files
        manifest = StoreManifest.load(str(place.root), storage_options=place.options)
        assert manifest.pending_fields == {}
