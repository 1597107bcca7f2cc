"""Forged chunk indexes: an error with the way out, no wrong data, and no memory for their claims."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep.verify import verify_store
from support.bounds import bounded
from support.hostile_stores import edit_json, make_small_store
from support.lanes import few_fast
from support.old_indexes import write_index_in_order

Words = NDArray[np.uint32]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_small_store(tmp_path / "store")


def npy(array: NDArray[Any], **settings: Any) -> bytes:
    file = BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def claiming(shape: tuple[int, ...], words: Words, dtype: str = "<u4") -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + words.tobytes()


def zipped(words: Words) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", npy(words))
    return file.getvalue()


class Trap:
    """An object that makes a directory when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("ran",))


def changed(change: Callable[[Words], object]) -> Callable[[Words], bytes]:
    def make(words: Words) -> bytes:
        change(words)
        return npy(words)

    return make


def starts(*numbers: int) -> Callable[[Words], bytes]:
    """Return an edit of the starts of the lengths of the two samples."""

    def change(words: Words) -> None:
        words[:6] = np.array(numbers, "<u8").view("<u4")

    return changed(change)


# A store of two samples: the starts 0, 14, 28 in six words, then the lengths of 7 chunks of each of two fields.
LIES: dict[str, Callable[[Words], bytes]] = {
    "of a terabyte": lambda words: claiming((2**38,), words),
    "of more than there are atoms": lambda words: claiming((10**80,), words),
    "of less than nothing": lambda words: claiming((-5,), words),
    "of no words": lambda words: npy(words[:0]),
    "of one word": lambda words: npy(words[0]),
    "of rows": lambda words: npy(words[:34].reshape(-1, 2)),
    "of other words": lambda words: npy(words.astype("<i8")),
    "of bytes in the other order": lambda words: npy(words.astype(">u4")),
    "of floats": lambda words: npy(words.view("<f4")),
    "of structures": lambda words: claiming((17,), words, "<u4,<u4"),
    "of pickled objects": lambda _: npy(np.array([Trap()] * 34, dtype=object), allow_pickle=True),
    "in an archive": zipped,
    "with a head that is no dict": lambda words: npy(words).replace(b"{'descr'", b"[[[[[[[["),
    "starts in the other order": starts(28, 14, 0),
    "starts that are the same": starts(0, 0, 28),
    "starts past the end": starts(0, 2**40, 28),
    "starts of 64 bits": starts(2**64 - 1, 2**63, 28),
    "an end past the end": starts(0, 14, 2**63),
    "lengths of 4 GB": changed(lambda words: words.__setitem__(slice(6, None), 2**32 - 2)),
    "lengths of a byte": changed(lambda words: words.__setitem__(slice(6, None), 1)),
    "chunks that are not stored": changed(lambda words: words.__setitem__(slice(6, None), 0)),
    "the lengths of another field": changed(lambda words: words.__setitem__(slice(6, 20), words[13:27].copy())),
}


def with_starts(at: int, *numbers: int) -> Callable[[Words], bytes]:
    """Return an edit of the starts in an index with ids, from a word on."""

    def change(words: Words) -> None:
        words[at : at + 2 * len(numbers)] = np.array(numbers, "<u8").view("<u4")

    return changed(change)


def put(at: int | slice, value: Any) -> Callable[[Words], bytes]:
    return changed(lambda words: words.__setitem__(at, value))


def ids(text: bytes) -> Callable[[Words], bytes]:
    return put(slice(16, 17), np.frombuffer(text, "<u4"))


# With ids: 2 samples in words 0 and 1, starts 0, 14, 28 of lengths, starts 0, 2, 4 of ids, two checksums, "s1s2".
LIES_WITH_IDS: dict[str, Callable[[Words], bytes]] = {
    **{name: make for name, make in LIES.items() if name.startswith(("of ", "in an", "with a head"))},
    "of more samples than a manifest has": with_starts(0, 2**21),
    "of 64 bits of samples": with_starts(0, 2**64 - 1),
    "of one sample more": with_starts(0, 3),
    "of one sample fewer": with_starts(0, 1),
    "an end past the end": with_starts(2, 0, 14, 2**63),
    "an end before the end": with_starts(2, 0, 14, 27),
    "starts in the other order": with_starts(2, 28, 14, 28),
    "starts past the end": with_starts(2, 2**40, 14, 28),
    "starts that are the same": with_starts(2, 14, 14, 28),
    "ids past the end": with_starts(8, 0, 2**40, 4),
    "ids of gigabytes": with_starts(8, 0, 2, 2**40),
    "ids that begin after they end": with_starts(8, 3, 2, 4),
    "the id twice, with fewer lengths": lambda words: npy(
        np.concatenate([words[:2], np.array([0, 3, 28, 0, 2, 4], "<u8").view("<u4"), words[[14, 14]]])
    ),
    "lengths of 4 GB": put(slice(17, None), 2**32 - 2),
    "lengths of a byte": put(slice(17, None), 1),
    "chunks that are not stored": put(slice(17, None), 0),
}

# Samples that are not found, or have another checksum, are read by their own metadata.
IGNORED: dict[str, Callable[[Words], bytes]] = {
    "other ids": ids(b"t1t2"),
    "ids in the other order": ids(b"s2s1"),
    "an id twice": ids(b"s2s2"),
    "ids that are no text": ids(b"\xff\xfe\xfd\xfc"),
    "checksums of others": put(slice(14, 16), 7),
    "no samples": lambda _: npy(np.zeros(6, "<u4")),
}


def lie(root: Path, make: Callable[[Words], bytes], write: Callable[[Path], str] = write_index_in_order) -> Path:
    path = root / write(root)
    path.write_bytes(make(np.load(path)))
    return path


@pytest.mark.parametrize("name", LIES_WITH_IDS)
def test_a_forged_index_with_ids_is_refused_with_the_way_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    lie(root, LIES_WITH_IDS[name], write_chunk_index)
    with bounded(), pytest.raises(CorruptDataError, match="noether-zarr index STORE"):
        ZarrChunkReader(root).read_arrays("s1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", IGNORED)
def test_an_index_of_other_samples_is_ignored_and_found_by_verify(root: Path, name: str) -> None:
    expected = ZarrChunkReader(root).read_arrays("s1")
    lie(root, IGNORED[name], write_chunk_index)
    for field, values in ZarrChunkReader(root).read_arrays("s1").items():
        np.testing.assert_array_equal(values, expected[field])
    assert [one.kind for one in verify_store(root).findings] == ["chunk_index_damaged"]
    write_chunk_index(root)
    assert verify_store(root).findings == ()


def test_verify_finds_duplicate_ids_despite_a_right_hash(root: Path) -> None:
    """`verify` checks the content, not only the hash."""
    path = lie(root, ids(b"s2s2"), write_chunk_index)
    named = f"sample_index-{sha256(path.read_bytes()).hexdigest()[:16]}.npy"
    path.rename(root / named)
    edit_json(root / "manifest.json", lambda manifest: (manifest.pop("crc32c"), manifest.update(sample_index=named)))
    assert {one.explanation.partition("(")[2] for one in verify_store(root).findings} == {
        "its sample ids do not ascend); rebuild it with noether-zarr index STORE"
    }


@pytest.mark.parametrize("name", LIES)
def test_a_forged_index_is_refused_with_the_way_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    lie(root, LIES[name])
    with bounded(), pytest.raises(CorruptDataError, match="noether-zarr index STORE"):
        ZarrChunkReader(root).read_arrays("s1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", few_fast(LIES, 4))
def test_a_new_index_mends_the_store(root: Path, name: str) -> None:
    expected = ZarrChunkReader(root).read_arrays("s1")
    lie(root, LIES[name])
    write_chunk_index(root)
    for field, values in ZarrChunkReader(root).read_arrays("s1").items():
        np.testing.assert_array_equal(values, expected[field])


@given(data=st.data())
def test_any_edit_of_an_index_leads_to_right_data_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.getbasetemp() / "edited-index"
    if not root.exists():
        make_small_store(root)
    path = root / data.draw(st.sampled_from([write_chunk_index, write_index_in_order]))(root)
    expected = ZarrChunkReader(root).read_arrays("s1")
    edited = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(edited) - 1), min_size=1, max_size=4)):
        edited[at] = data.draw(st.integers(0, 255))
    path.write_bytes(edited)
    with bounded():
        try:
            found = ZarrChunkReader(root).read_arrays("s1")
        except CorruptDataError:
            return
    for field, values in found.items():
        np.testing.assert_array_equal(values, expected[field])
