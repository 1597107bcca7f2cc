"""Small files with large claims: they are refused before decompression, or before their claims take memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.errors import SampleDataError, SourceError
from noether.data.zarr_store.sources.formats import describe_file, load_file
from support.bounds import bounded
from support.hostile_stores import FILEMAP, SAMPLE

WHERE = "sample 'run_1', field surface_pressure"
MIB = 1 << 20


def load(data: bytes, name: str) -> Any:
    return load_file(BytesIO(data), name, WHERE)


def npy_head(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def saved(**arrays: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its type stub expects a bool
    return file.getvalue()


def zeros_as_npz(n_values: int) -> bytes:
    """Return a valid archive of zeros, without memory for the zeros."""
    head, block = npy_head((n_values,)), bytes(MIB)
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("arr_0.npy", "w") as member:
        member.write(head)
        for _ in range(4 * n_values // MIB):
            member.write(block)
    return file.getvalue()


def claiming(data: bytes, claimed: int) -> bytes:
    """Return an archive whose central directory has a wrong size of its only member."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        [info] = archive.infolist()
    true_size = info.file_size.to_bytes(4, "little")
    at = data.index(b"PK\x01\x02") + 24
    assert data[at : at + 4] == true_size
    return data[:at] + claimed.to_bytes(4, "little") + data[at + 4 :]


def pt(value: object, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return the bytes of a file by torch, with its members compressed or not."""
    file, packed = BytesIO(), BytesIO()
    torch.save(value, file)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(packed, "w", method) as other:
        for info in archive.infolist():
            other.writestr(info.filename, archive.read(info))
    return packed.getvalue()


VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
ONE = npy_head((4, 3)) + VALUES.tobytes()
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "npy of a terabyte": ("p.npy", lambda: npy_head((2**38,)), "it ends early: expected 1,099,511,627,776 bytes, got"),
    "npy of more than there are atoms": ("p.npy", lambda: npy_head((10**80,)), "it ends early: expected 400,0"),
    "npy of less than nothing": ("p.npy", lambda: npy_head((-4, 3)) + bytes(48), r"negative sizes, got \(-4, 3\)"),
    "npy of structures": ("p.npy", lambda: npy_head((4,), "V2000000000"), "it ends early: expected 8,000,000,000"),
    "npz that claims a terabyte": ("p.npz", lambda: npz({"a.npy": npy_head((2**38,))}), "its array claims 1,099,511"),
    "npz that claims less": ("p.npz", lambda: npz({"a.npy": ONE + bytes(MIB)}), r"claims 1,048,752 bytes, its array"),
    "npz whose directory claims more": ("p.npz", lambda: claiming(npz({"a.npy": ONE}), 2**32 - 2), "can hold"),
    "npz whose directory claims less": ("p.npz", lambda: claiming(npz({"a.npy": ONE}), 100), "Bad CRC-32"),
    "npz of Python objects": (
        "p.npz",
        lambda: npz({"a.npy": npy_head((1,), "|O") + pickle.dumps([1])}),
        "Object arrays cannot be loaded",
    ),
    "npz in another compression": ("p.npz", lambda: npz({"a.npy": ONE}, zipfile.ZIP_LZMA), "expected an array as"),
    "npz with other files": ("p.npz", lambda: npz({"../../a.py": b"x"}), r"member '\.\./\.\./a\.py': expected an a"),
    "npz of nothing": ("p.npz", lambda: npz({}), "it holds no array"),
    "npz that is none": ("p.npz", lambda: b"PK\x03\x04" + bytes(100), "it is damaged, or in another format"),
    "pt of compressed zeros": (
        "p.pt",
        lambda: pt(torch.zeros(64 * MIB // 4), zipfile.ZIP_DEFLATED),
        r"it claims 67,\d+,\d+ bytes but has \d+,\d+",
    ),
    "pt of one value a trillion times": (
        "p.pt",
        lambda: pt(torch.zeros(1).expand(10**12, 3)),
        r"its tensor of shape \(1000000000000, 3\) claims 12,000,000,000,000 bytes but has 4; save it with",
    ),
    "pt of such in a dict": ("p.pt", lambda: pt({"a": torch.zeros(1).expand(10**12)}), "claims 4,000,000,000,000 b"),
    "json of many values": (
        "p.json",
        lambda: b"[" + b"1," * 10**6 + b"1]",
        r"expected at most [\d,]+ values, got over 1,000,000",
    ),
    "json of much text": ("p.json", lambda: b'"' + b"a" * 20 * MIB + b'"', "expected at most 16,777,216 bytes"),
    "json without end": ("p.json", lambda: b"[" * MIB, "Invalid JSON: recursion limit"),
    "csv of much text": ("p.csv", lambda: b"a," * 10 * MIB, "expected at most 16,777,216 bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_claims_too_much_is_refused_in_little_memory(name: str) -> None:
    filename, make, message = BOMBS[name]
    data = make()
    with bounded(), pytest.raises(SourceError, match=rf"^{WHERE}: {filename} cannot be read \(.*{message}"):
        load(data, filename)


@pytest.mark.parametrize("name", [name for name in BOMBS if name.startswith(("npy", "npz", "pt of one"))])
def test_the_header_of_a_file_that_claims_too_much_is_refused(name: str) -> None:
    filename, make, _ = BOMBS[name]
    with bounded(), pytest.raises(SourceError, match=rf"^{WHERE}: {filename} cannot be read"):
        describe_file(BytesIO(make()), filename, WHERE)


def test_a_valid_archive_larger_than_free_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("noether.data.zarr_store.sources.npy.available_memory_bytes", lambda: 1000)
    message = "p.npz needs more memory than is free .its arrays need 4,194,304 bytes, 1,000 are free.; use fewer w"
    with bounded(), pytest.raises(SourceError, match=message):
        load(zeros_as_npz(MIB), "p.npz")


@pytest.mark.slow
def test_the_header_of_an_archive_is_read_without_decompressing() -> None:
    data = zeros_as_npz(64 * MIB)
    with bounded(16 * MIB):
        assert describe_file(BytesIO(data), "p.npz", WHERE).n_bytes == 256 * MIB
    assert len(data) < MIB


def test_an_npz_loads_as_an_array_or_a_dict() -> None:
    np.testing.assert_array_equal(load(saved(p=VALUES), "p.npz"), VALUES, strict=True)
    several = load(saved(a=VALUES, b=VALUES + 1), "p.npz")
    assert list(several) == ["a", "b"]
    np.testing.assert_array_equal(several["b"], VALUES + 1, strict=True)
    with pytest.raises(SourceError, match="expected one array, got 2"):
        describe_file(BytesIO(saved(a=VALUES, b=VALUES)), "p.npz", WHERE)


@given(
    n_values=st.integers(1, 200),
    fortran=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4)), max_size=4),
)
def test_any_archive_is_loaded_or_raises_a_source_error(
    n_values: int, fortran: bool, changes: list[tuple[int, bytes]]
) -> None:
    values = np.asfortranarray(np.arange(2 * n_values, dtype="f4").reshape(n_values, 2))
    data = bytearray(saved(p=values if fortran else np.ascontiguousarray(values)))
    for position, replacement in changes:
        data[position : position + len(replacement)] = replacement
    for read in (load_file, describe_file):
        try:
            read(BytesIO(bytes(data)), "p.npz", WHERE)
        except SourceError as error:
            assert str(error).startswith(f"{WHERE}: p.npz ")  # noqa: PT017 - an error is allowed, not required


class Piece:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("ran",))


def test_no_code_in_an_archive_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = io.BytesIO()
    np.savez(file, p=np.array([Piece()], dtype=object))
    with pytest.raises(SourceError, match="Object arrays cannot be loaded"):
        load(file.getvalue(), "p.npz")
    assert not list(tmp_path.iterdir())


def doubled(depth: int) -> list[Any]:
    """Return a list that holds another list twice, and so on: few objects, but very many values in JSON."""
    inner: list[Any] = [1.0]
    for _ in range(depth):
        inner = [inner, inner]
    return inner


def endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["again"] = inner
    return inner


LARGE = {
    "lists that hold each other twice": (doubled(60), r"more than 65,536 values in all attributes"),
    "a dict that holds itself": (endless(), "it is nested more than 100 levels deep"),
    "deep lists": (json.loads("[" * 102 + "]" * 102), "it is nested more than 100 levels deep"),
    "an array of many values": (np.zeros(70_000), "more than 65,536 values in all attributes; store arrays as f"),
    "lists of many values": ([[0.5] * 1000] * 70, "more than 65,536 values in all attributes"),
}


@pytest.mark.parametrize("name", LARGE)
def test_attributes_too_large_for_a_manifest_are_refused(tmp_path: Path, name: str) -> None:
    """Such attributes are refused before a byte is written."""
    value, message = LARGE[name]
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    with bounded(), pytest.raises(SampleDataError, match=rf"attribute 'a': it cannot be written as JSON \({message}"):
        writer.write_sample("s1", SAMPLE, attributes={"a": value})
    assert not list(tmp_path.iterdir())


def test_the_largest_allowed_attributes_are_read(tmp_path: Path) -> None:
    deep = json.loads("[" * 99 + "]" * 99)
    many = [0.1] * 65_000
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    writer.write_sample("s1", SAMPLE, attributes={"deep": deep, "many": many})
    writer.save_manifest()
    again = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    assert again.manifest.sample("s1").attributes == {"deep": deep, "many": many}
    found = again.find_group("s1")
    assert found is not None
    assert found.attributes == {"deep": deep, "many": many}


def test_deflate_does_not_exceed_the_assumed_ratio() -> None:
    data = bytes(64 * MIB)
    assert len(data) / len(zlib.compress(data, 9)) < 1032
