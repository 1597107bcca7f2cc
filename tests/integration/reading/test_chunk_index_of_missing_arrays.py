"""Indexing reports arrays that the manifest lists and a group lacks, and indexes all other arrays."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.reading.index_making import write_chunk_index
from noether.data.zarr_store.stores import open_storage
from support.damage import all_of, remove
from support.foreign_stores import CODECS, write_foreign
from support.places import Place, make_place
from support.reading import FIELDS, write_runs

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")

PRESSURE = "surface/pressure"
Missing = dict[str, tuple[str, ...]]


def forget(array: str) -> Callable[[Path], None]:
    """Take an array out of the consolidated metadata of run_1."""

    def damage(root: Path) -> None:
        path = root / "run_1.zarr" / "zarr.json"
        document = json.loads(path.read_text())
        del document["consolidated_metadata"]["metadata"][array]
        path.write_text(json.dumps(document))

    return damage


def make_index(root: Path | str, **options: object) -> tuple[str, Missing]:
    """Build the index; return its name and the fields that were reported missing."""
    told: list[Missing] = []
    name = write_chunk_index(root, on_missing=told.append, **options)  # type: ignore[arg-type]  # storage options
    return name, told[0] if told else {}


def indexed(root: Path, sample_id: str) -> set[str]:
    """Return the fields of a sample that the index describes."""
    index = open_chunk_index(open_storage(str(root)), StoreManifest.load(str(root)))
    assert index is not None
    return set(index.lengths(sample_id))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(remove(f"run_1.zarr/{PRESSURE}"), id="deleted"),
        pytest.param(all_of(remove(f"run_1.zarr/{PRESSURE}"), forget(PRESSURE)), id="deleted-and-forgotten"),
    ],
)
def test_a_missing_array_is_reported_and_the_others_are_indexed(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    root = write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=256)
    damage(root)
    name, missing = make_index(root)
    assert missing == {"run_1": ("surface_pressure",)}
    assert StoreManifest.load(str(root)).index_name == name
    fields = {*FIELDS["surface"], *FIELDS["volume"]}
    assert (indexed(root, "run_1"), indexed(root, "run_2")) == (fields - {"surface_pressure"}, fields)
    assert len(ZarrChunkReader(root).read_arrays("run_2")) == len(fields)


def test_a_lost_shard_is_no_lost_array(tmp_path: Path) -> None:
    """The reader reports damage of an array when it reads the array."""
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    remove(f"run_1.zarr/{PRESSURE}/c")(root)
    assert make_index(root)[1] == {}
    assert "surface_pressure" not in indexed(root, "run_1")


def test_all_arrays_of_a_lost_group_are_reported(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=256)
    remove("run_1.zarr")(root)
    assert make_index(root)[1] == {"run_1": (*FIELDS["surface"], *FIELDS["volume"])}


@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("consolidated", [False, True], ids=["plain", "consolidated"])
def test_an_array_without_chunks_differs_from_a_missing_array(tmp_path: Path, codecs: str, consolidated: bool) -> None:
    """An array without chunks has fill values. The deleted array is still in the consolidated metadata."""
    root = write_foreign(tmp_path / "store", CODECS[codecs], consolidated=consolidated)
    remove(f"run_1.zarr/{PRESSURE}/c")(root)
    assert make_index(root)[1] == {}
    if codecs == "no checksums":
        assert "surface_pressure" in indexed(root, "run_1")
        assert not np.any(ZarrChunkReader(root).read_arrays("run_1")["surface_pressure"])
    remove(f"run_1.zarr/{PRESSURE}")(root)
    assert make_index(root)[1] == {"run_1": ("surface_pressure",)}
    assert "surface_pressure" not in indexed(root, "run_1")


def test_without_on_missing_a_warning_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=4096)
    all_of(remove("run_2.zarr/volume/sdf"), remove(f"run_1.zarr/{PRESSURE}"))(root)
    write_chunk_index(root)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"{root}: the groups of 2 samples lack arrays that the manifest lists, such as surface_pressure of sample "
        f"'run_1'; list them with noether-zarr verify {root} --level census"
    )


def test_an_intact_store_has_no_missing_arrays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=4096)
    assert make_index(root)[1] == {}
    write_chunk_index(root)
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["memory", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def test_a_missing_array_is_reported_in_every_storage(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place: Place = make_place(kind, request)
    write_runs(str(place.root), "run_1", chunk_points=4096, storage_options=place.options)
    for key in [key for key in place.files() if key.startswith(f"run_1.zarr/{PRESSURE}/")]:
        place.remove(key)
    assert make_index(str(place.root), storage_options=place.options)[1] == {"run_1": ("surface_pressure",)}
