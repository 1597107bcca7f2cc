"""Limits of a repair: objects that it keeps, data that it does not trust, and calls that it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.core.document_checksum import ZERO_CHECKSUM, with_checksum
from noether.data.zarr_store.errors import ArgumentError, ManifestError, StorageError
from noether.data.zarr_store.sources import SourceSample, TreeSource
from noether.data.zarr_store.upkeep.repair import Action, repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import GROUP, all_of, convert_tree, copy, every_file, flip, found, put, remove

ROOT = f"{GROUP}/zarr.json"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("refusals"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> TreeSource:
    return converted[1]


STRANGERS = ["notes.txt", f"{GROUP}/notes.txt", "other.zarr/zarr.json", "run_3.zarr/volume/mine", ".mine", ".a.b/x"]


def test_unknown_objects_are_kept_and_named(root: Path, source: TreeSource) -> None:
    all_of(*(put(key) for key in STRANGERS), copy(GROUP, "half.zarr"), remove("half.zarr/zarr.json"))(root)
    put("half.zarr/volume/mine.txt")(root)
    put("chunk_index-0123456789abcdef.npy")(root)
    before = every_file(root)
    report = repair_store(root, source=source)
    assert every_file(root) == {key: data for key, data in before.items() if not key.startswith("chunk_index-0123")}
    assert report.after is not None
    assert {note.object for note in report.after.having("note")} == {
        "notes.txt",
        f"{GROUP}/notes.txt",
        "other.zarr",
        "run_3.zarr",
        "half.zarr",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-9], id="the root cannot be read"),
        pytest.param(lambda data: data.replace(b"0.0", b"7.0", 1), id="the root says otherwise"),
    ],
)
def test_no_entry_is_taken_from_a_damaged_manifest_and_root(root: Path, damage: Callable[[bytes], bytes]) -> None:
    # Otherwise a flipped byte of the manifest would get a valid checksum in the group.
    data = (root / "manifest.json").read_bytes()
    place = data.index(b'"run_2": {')
    put("manifest.json", data[:place] + data[place:].replace(b"0.0", b"9.0", 1))(root)
    put(ROOT, damage((root / ROOT).read_bytes()))(root)
    for _ in range(2):
        report = repair_store(root)
        assert not report.is_sound
        assert "run_2" not in StoreManifest.load(str(root)).samples
        assert ("metadata_damaged", "run_2", ROOT) in found(verify_store(root))


def test_a_sample_with_a_damaged_root_is_converted_again(root: Path, source: TreeSource) -> None:
    """A conversion does not adopt a group with a damaged root."""
    before = {key: data for key, data in every_file(root).items() if key != "conversion.json"}
    put(ROOT, (root / ROOT).read_bytes().replace(b"0.0", b"7.0", 1))(root)
    report = convert(source, ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64))
    assert [result.sample_id for result in report.having("converted")] == ["run_2"]
    assert {key: data for key, data in every_file(root).items() if key != "conversion.json"} == before


def test_files_added_during_a_removal_stay(root: Path) -> None:
    all_of(copy(GROUP, "run_3.zarr"), remove("run_3.zarr/zarr.json"))(root)
    repair_store(root, on_action=lambda _: put("run_3.zarr/notes.txt")(root))
    assert {key for key in every_file(root) if key.startswith("run_3")} == {"run_3.zarr/notes.txt"}


def test_concurrent_changes_are_not_overwritten(root: Path, source: TreeSource) -> None:
    flip("manifest.json", -20)(root)

    def interfere(action: Action) -> None:
        if action.kind == "save_manifest":
            put("manifest.json", b"{}")(root)

    with pytest.raises(
        StorageError, match=r"another process changed manifest.json during the repair; repair the store again"
    ):
        repair_store(root, source=source, on_action=interfere)
    assert (root / "manifest.json").read_bytes() == b"{}"


class OtherSource:
    """A source with other fields."""

    filemap = FileMap(surface_position="x.npy")
    notices: list[str] = []  # noqa: RUF012  # as the protocol has it

    def sample_ids(self) -> list[str]:
        return ["run_2"]

    def load(self, sample_id: str) -> SourceSample:
        raise NotImplementedError


def test_a_source_that_lacks_fields_is_refused_before_anything_is_changed(root: Path) -> None:
    flip(ROOT)(root)
    before = every_file(root)
    with pytest.raises(
        ArgumentError, match=r"^source: .* got a source without surface_area, .* same preset or file map$"
    ):
        repair_store(root, source=OtherSource())
    assert every_file(root) == before


def test_a_store_that_was_not_converted_from_a_source_is_not_converted_again(root: Path, source: TreeSource) -> None:
    manifest = json.loads((root / "manifest.json").read_bytes()) | ZERO_CHECKSUM | {"compressor": "gzip"}
    put("manifest.json", with_checksum(json.dumps(manifest).encode()))(root)
    with pytest.raises(ArgumentError, match="expected a store that this library converted from a source"):
        repair_store(root, source=source)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        pytest.param({"level": "source"}, "source: expected a source for the level 'source', got none", id="no source"),
        pytest.param({"level": "deep"}, "level: expected one of", id="level"),
    ],
)
def test_invalid_parameters_are_refused(root: Path, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        repair_store(root, **kwargs)


def test_a_missing_store_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not a store; check the path"):
        repair_store(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
