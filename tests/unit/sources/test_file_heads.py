"""Headers of files: reading them returns the shape and dtype of the array for a few bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import TreeSource, range_reader
from noether.data.zarr_store.sources.formats import describe_file, load_file
from noether.data.zarr_store.sources.range_reader import open_ranged, streamed
from noether.data.zarr_store.stores import LocalStorage, StoredObject, is_remote
from support.places import Place, make_place
from support.trees import TREE_FILEMAP, expected_fields, save_array, save_runs

WHERE = "sample 'run_1', field surface_pressure"


class Counting(LocalStorage):
    """A storage that counts the bytes that are read."""

    n_bytes = 0

    def read_range(self, key: str, start: int, length: int) -> Any:
        data = super().read_range(key, start, length)
        self.n_bytes += len(data)
        return data


def saved(path: Path, values: Any, **settings: Any) -> tuple[Counting, StoredObject]:
    if path.suffix == ".pt":
        torch.save(values, path, **settings)
    else:
        np.save(path, values)
    return Counting(str(path.parent)), StoredObject(path.name, path.stat().st_size, "")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (0, 3), ()], ids=str)
@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_header_describes_the_loaded_array(tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: str) -> None:
    path = tmp_path / f"p{suffix}"
    save_array(path, np.ones(shape, dtype))
    with path.open("rb") as file:
        told = describe_file(file, path.name, WHERE)
        file.seek(0)
        loaded = load_file(file, path.name, WHERE)
    assert (told.shape, told.dtype, told.n_bytes) == (loaded.shape, loaded.dtype, loaded.nbytes)


def test_bfloat16_is_described_as_float32(tmp_path: Path) -> None:
    """Loading converts bfloat16 to float32."""
    torch.save(torch.ones(7, dtype=torch.bfloat16), tmp_path / "p.pt")
    with (tmp_path / "p.pt").open("rb") as file:
        assert describe_file(file, "p.pt", WHERE).dtype == np.float32


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_the_header_of_a_large_file_takes_few_reads(tmp_path: Path, suffix: str) -> None:
    values = np.ones((1_000_000, 3), np.float32)
    storage, item = saved(tmp_path / f"p{suffix}", torch.from_numpy(values) if suffix == ".pt" else values)
    with open_ranged(storage, item) as file:
        assert describe_file(file, item.key, WHERE).shape == values.shape
    assert storage.n_bytes <= 5 << 16


@pytest.mark.parametrize("opened", [open_ranged, streamed])
@given(
    size=st.integers(0, 200_000),
    steps=st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-70_000, 200_000), st.integers(0, 90_000))),
)
def test_a_file_read_by_ranges_behaves_like_a_plain_file(
    tmp_path_factory: pytest.TempPathFactory, opened: Any, size: int, steps: list[tuple[int, int, int]]
) -> None:
    data = np.random.default_rng(size).bytes(size)
    path = tmp_path_factory.getbasetemp() / "ranged"
    path.write_bytes(data)
    plain = BytesIO(data)
    storage, item = LocalStorage(str(path.parent)), StoredObject(path.name, size, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(range_reader, "_BLOCK_BYTES", 20_000)
        patch.setattr(range_reader, "_BLOCKS", 2)
        with opened(storage, item) as file:
            for whence, offset, length in steps:
                base = {0: 0, 1: plain.tell(), 2: size}[whence]
                if base + offset >= 0:
                    assert file.seek(offset, whence) == plain.seek(base + offset)
                assert file.read(length) == plain.read(length)
                assert file.tell() == plain.tell()
                plain.seek(file.seek(max(file.tell() - 30_000, 0)))  # back to bytes that were read before


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("p.npy", b"", "cannot be read"),
        ("p.npy", b"\x93NUMPY\x01\x00\xff\xff{", "cannot be read"),
        ("p.pt", b"PK\x03\x04", "cannot be read"),
    ],
)
def test_a_damaged_header_is_refused_with_field_and_file(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=f"{WHERE}: {name} {reason}.*make the file again"):
        describe_file(BytesIO(data), name, WHERE)


def test_a_pt_file_that_holds_no_tensor_is_refused() -> None:
    file = BytesIO()
    torch.save({"p": torch.ones(3)}, file)
    file.seek(0)
    with pytest.raises(SourceError, match="expected one tensor, got a dict"):
        describe_file(file, "p.pt", WHERE)


@pytest.mark.parametrize("kind", ["local", "memory", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def test_a_tree_describes_local_and_remote_samples(kind: str, request: pytest.FixtureRequest) -> None:
    place: Place = make_place(kind, request)
    local = save_runs(request.getfixturevalue("tmp_path") / "tree", ["run_1"], suffix=".pt")
    place.fs.put(f"{local}/", f"{place.path}/", recursive=True)
    described = TreeSource(place.root, TREE_FILEMAP, storage_options=place.options).describe("run_1")
    expected = expected_fields()
    assert {field: (one.shape, one.dtype) for field, one in described.items()} == {
        field: (values.shape, values.dtype) for field, values in expected.items()
    }
    assert all((one.loading_bytes > one.n_bytes) == is_remote(str(place.root)) for one in described.values())


def test_a_sample_with_only_some_files_of_a_domain_cannot_be_described(tmp_path: Path) -> None:
    tree = save_runs(tmp_path / "tree", ["run_1"])
    (tree / "run_1" / "surface_pressure.npy").unlink()
    with pytest.raises(SourceError, match=r"sample 'run_1': domain 'surface' lacks the file surface_pressure\.npy"):
        TreeSource(tree, TREE_FILEMAP).describe("run_1")


def test_a_fingerprint_changes_with_the_files_of_a_sample(tmp_path: Path) -> None:
    tree = save_runs(tmp_path / "tree", ["run_1", "run_2"])
    source = TreeSource(tree, TREE_FILEMAP)
    seen = {source.fingerprint("run_1"), source.fingerprint("run_2")}
    assert TreeSource(tree, TREE_FILEMAP).fingerprint("run_1") == source.fingerprint("run_1")
    save_array(tree / "run_1" / "surface_pressure.npy", np.zeros((9, 1)))
    seen.add(TreeSource(tree, TREE_FILEMAP).fingerprint("run_1"))
    without = TREE_FILEMAP.model_copy(update={"surface_area": None})
    seen.add(TreeSource(tree, without).fingerprint("run_1"))
    assert len(seen) == 4
    with pytest.raises(SourceError, match="sample 'run_3' is not in"):
        source.fingerprint("run_3")
