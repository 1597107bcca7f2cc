"""Reads of damaged stores, with every kind of damage by a disk or a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import CorruptDataError, ManifestError, StorageError
from noether.data.zarr_store.stores import make_store
from support.reading import write_samples

FILEMAP = FileMap(surface_position="p", surface_pressure="q")
SAMPLE = {
    "surface_position": np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
    # Constant, so that fill values of lost chunks would go unnoticed.
    "surface_pressure": np.zeros(50, np.float32),
}
PRESSURE = "s1.zarr/surface/pressure"
SHARD = f"{PRESSURE}/c/0/0"
Metadata = dict[str, Any]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("errors") / "store"
    return write_samples(root, {"s1": SAMPLE, "s2": SAMPLE}, FILEMAP, chunk_points=8)


@pytest.fixture
def root(intact: Path, tmp_path: Path) -> Path:
    """A copy of the store to damage."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


def change_json(path: Path, change: Callable[[Metadata], object]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def change_metadata(root: Path, change: Callable[[Metadata], object]) -> None:
    """Change the metadata of the pressure array in the root zarr.json of s1."""
    change_json(root / "s1.zarr/zarr.json", lambda document: change(document["consolidated_metadata"]["metadata"]))


def unconsolidate(root: Path) -> None:
    change_json(root / "s1.zarr/zarr.json", lambda document: document.pop("consolidated_metadata"))


def remove_array(root: Path) -> None:
    shutil.rmtree(root / PRESSURE)


def remove_array_and_its_metadata(root: Path) -> None:
    unconsolidate(root)
    remove_array(root)


def cut_array_metadata(root: Path) -> None:
    unconsolidate(root)
    (root / PRESSURE / "zarr.json").write_text('{"zarr_format": 3')


def flip_bit(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0b100
    path.write_bytes(data)


FIELD_DAMAGE = [
    pytest.param(lambda root: (root / SHARD).unlink(), "shard 0 is damaged: it is missing", id="shard lost"),
    pytest.param(lambda root: (root / SHARD).write_bytes(b""), "shard 0 is damaged: it ends early", id="shard empty"),
    pytest.param(
        lambda root: flip_bit(root / SHARD, 3),
        "chunk 0, in shard 0, is damaged: its checksum does not match",
        id="bit flipped in a chunk",
    ),
    pytest.param(
        lambda root: flip_bit(root / SHARD, -20),
        "shard 0 is damaged: the checksum of its index does not match",
        id="bit flipped in the index",
    ),
    pytest.param(remove_array, "shard 0 is damaged: it is missing", id="array lost, metadata consolidated"),
    pytest.param(remove_array_and_its_metadata, "no array surface/pressure", id="array lost altogether"),
    pytest.param(
        lambda root: change_metadata(root, lambda arrays: arrays.pop("surface/pressure")),
        "no array surface/pressure",
        id="array not in the metadata",
    ),
    pytest.param(
        lambda root: change_metadata(root, lambda arrays: arrays["surface/pressure"].update(shape=[49, 1])),
        r"expected an array of shape \(50, 1\), as in the manifest, got an array of shape \[49, 1\]",
        id="wrong number of points",
    ),
    pytest.param(
        lambda root: change_metadata(root, lambda arrays: arrays.update({"surface/pressure": arrays["surface"]})),
        r"expected an array of shape \(50, 1\), as in the manifest, got a group",
        id="a group in the array's place",
    ),
    pytest.param(cut_array_metadata, "metadata cannot be read", id="array metadata cut"),
]

GROUP_DAMAGE = [
    pytest.param(lambda root: shutil.rmtree(root / "s1.zarr"), "the manifest lists it, but", id="group lost"),
    pytest.param(lambda root: (root / "s1.zarr/zarr.json").unlink(), "the manifest lists it, but", id="incomplete"),
    *(
        pytest.param(
            lambda root, text=text: (root / "s1.zarr/zarr.json").write_bytes(text),
            "metadata of its group cannot be read",
            id=f"zarr.json is {text!r}",
        )
        for text in (b"", b"null", b"[]", b'{"zarr_format": 3, "node', b"\xff\xfe")
    ),
]


@pytest.mark.parametrize(("damage", "expected"), FIELD_DAMAGE)
@pytest.mark.parametrize("num_points", [None, {"surface": 48}], ids=["whole", "draw"])
def test_a_broken_field_is_named_with_its_sample(
    root: Path, damage: Callable[[Path], object], expected: str, num_points: dict[str, int | None] | None
) -> None:
    damage(root)
    with pytest.raises(
        CorruptDataError, match=rf"sample 's1', field surface_pressure: .*{expected}.*; convert the sample again"
    ):
        # A draw of 48 of 50 points leaves out at most the short last chunk.
        ZarrChunkReader(root).read_arrays("s1", num_points, 0)


@pytest.mark.parametrize(("damage", "expected"), GROUP_DAMAGE)
def test_a_broken_group_is_named(root: Path, damage: Callable[[Path], object], expected: str) -> None:
    damage(root)
    with pytest.raises(CorruptDataError, match=rf"sample 's1': .*{expected}.*; convert"):
        ZarrChunkReader(root).read_arrays("s1")


@pytest.mark.parametrize(("damage", "_expected"), [*FIELD_DAMAGE, *GROUP_DAMAGE])
def test_other_samples_of_a_broken_store_stay_readable(
    root: Path, damage: Callable[[Path], object], _expected: str
) -> None:
    damage(root)
    reader = ZarrChunkReader(root, read_concurrency=2)
    with pytest.raises(CorruptDataError):
        reader.read_arrays("s1")
    np.testing.assert_array_equal(
        reader.read_arrays("s2", order="original")["surface_position"], SAMPLE["surface_position"]
    )


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_shard_goes_unnoticed(intact: Path, position: float, bit: int) -> None:
    path = intact / "s1.zarr/surface/position/c/0/0"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[int(position * len(data))] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        with pytest.raises(CorruptDataError, match="sample 's1', field surface_position"):
            ZarrChunkReader(intact).read_arrays("s1")
    finally:
        path.write_bytes(data)


# zarr-python adds up what a chunk in the index's place says.
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar add:RuntimeWarning")
@given(kept=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 60))
@example(kept=116 / 928, seed=0).via("a chunk that is as long as the index ends here")
@example(kept=116 / 928, seed=48).via("what it says of another chunk is more than memory holds")
def test_no_truncated_shard_goes_unnoticed(intact: Path, kept: float, seed: int) -> None:
    path = intact / "s1.zarr/surface/position/c/0/0"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    try:
        with pytest.raises(CorruptDataError, match="sample 's1', field surface_position"):
            ZarrChunkReader(intact).read_arrays("s1", {"surface": 1}, seed)
    finally:
        path.write_bytes(data)


class FailingStore(WrapperStore[Store]):
    """A disk on which reads fail, for objects whose keys end in `suffix`."""

    suffix = ""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if key.endswith(self.suffix):
            raise OSError(5, "Input/output error")
        return await super().get(key, prototype, byte_range)


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("zarr.json", "sample 's1': cannot open its group"), ("c/0/0", "sample 's1', field surface_position: cannot be")],
)
def test_storage_errors_differ_from_damaged_bytes(intact: Path, suffix: str, expected: str) -> None:
    def failing(path: str) -> Store:
        store = FailingStore(make_store(path, read_only=True))
        store.suffix = suffix
        return store

    with pytest.raises(StorageError, match=f"{expected}.*Input/output error"):
        ZarrChunkReader(intact, store_factory=failing).read_arrays("s1")


def test_a_directory_without_a_manifest_is_no_store_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"manifest\.json: not found, so .* is no store; check the path, or convert"
    ):
        ZarrChunkReader(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda m: m.pop("samples"), "samples: Field required", id="key missing"),
        pytest.param(
            lambda m: m.update(format_version=3, samples="elsewhere"),
            "format version 3 is not known to this release, which reads versions up to 2; upgrade: pip install",
            id="higher version",
        ),
        pytest.param(
            lambda m: m["samples"]["s1"].update(relpath="../elsewhere.zarr"), "relpath", id="path that leaves the root"
        ),
        pytest.param(
            lambda m: m["samples"]["s1"]["domains"]["surface"].update(n_points=0), "n_points", id="impossible grid"
        ),
    ],
)
def test_a_manifest_is_refused_by_its_place_and_reason(
    root: Path, change: Callable[[Metadata], object], expected: str
) -> None:
    change_json(root / "manifest.json", change)
    with pytest.raises(ManifestError, match=rf"manifest\.json: not a valid manifest: .*{expected}"):
        ZarrChunkReader(root)


@pytest.mark.parametrize("text", ["", "[]", '{"dataset_name": "ahm', "\x00"], ids=repr)
def test_a_manifest_that_is_no_json_object_is_refused(root: Path, text: str) -> None:
    (root / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=r"manifest\.json: not a valid manifest: "):
        ZarrChunkReader(root)
