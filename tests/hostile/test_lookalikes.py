"""Sample ids that look alike, or that a file system does not distinguish, and text with control characters."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.core.names import is_plain, portable_key, printable
from noether.data.zarr_store.errors import SampleIdError
from noether.data.zarr_store.sources import TreeSource
from support.hostile_stores import FILEMAP, SAMPLE, make_small_store

ALIKE = [
    pytest.param("S1", "s1", id="case"),
    pytest.param("straße", "STRASSE", id="case-of-several-letters"),
    pytest.param("σίσυφος", "ΣΊΣΥΦΟΣ", id="letter-of-two-forms"),
    pytest.param("é", "e\u0301", id="accent-of-its-own"),
    pytest.param("Å", "\u212b", id="letter-and-unit"),
    pytest.param("run_①", "run_1", id="circled-digit"),
    pytest.param("\uff52\uff55\uff4e", "run", id="wide-letters"),
    pytest.param("ﬁne", "fine", id="ligature"),
    pytest.param("K", "\u212a", id="kelvin"),
    pytest.param("part/É", "PART/e\u0301", id="in-a-part"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_a_sample_with_a_lookalike_id_is_refused_unwritten(tmp_path: Path, one: str, other: str) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    writer.write_sample(one, SAMPLE)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SampleIdError, match=f"^sample id {other!r}: it differs from {one!r} only in case"):
        writer.write_sample(other, SAMPLE)
    assert sorted(tmp_path.rglob("*")) == before
    writer.write_sample(one, SAMPLE)


def test_a_lookalike_of_a_stored_id_is_refused_by_the_writer(tmp_path: Path) -> None:
    make_small_store(tmp_path)
    with pytest.raises(SampleIdError, match="it differs from 's1' only in case"):
        ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8).write_sample("S1", SAMPLE)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_with_lookalike_ids_is_not_converted(tmp_path: Path, workers: int) -> None:
    for name in ("run", "RUN"):
        (tmp_path / "source" / name).mkdir(parents=True)
        for file, values in zip(("p.npy", "q.npy"), SAMPLE.values(), strict=True):
            np.save(tmp_path / "source" / name / file, values)
    writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "ahmed")
    with pytest.raises(SampleIdError, match=r"^sample id 'run': it differs from 'RUN' only in case or in the"):
        convert(TreeSource(tmp_path / "source", FILEMAP), writer, workers=workers)
    assert not (tmp_path / "store").exists()


def test_a_sample_that_was_refused_leaves_its_id_free(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    with pytest.raises(ValueError, match="lacks surface_pressure"):
        writer.write_sample("RUN", {"surface_position": SAMPLE["surface_position"]})
    writer.write_sample("run", SAMPLE)


@pytest.mark.parametrize(("one", "other"), [("run_1", "run_l"), ("a", "\u0430"), ("a/b", "a_b"), ("1", "01")])
def test_ids_that_all_file_systems_distinguish_are_accepted(tmp_path: Path, one: str, other: str) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", chunk_points=8)
    writer.write_sample(one, SAMPLE)
    writer.write_sample(other, SAMPLE)


@given(st.text())
def test_every_form_of_a_text_has_the_same_key(text: str) -> None:
    key = portable_key(text)
    assert portable_key(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert portable_key(unicodedata.normalize(form, text)) == key
    assert portable_key(text.casefold()) == key


@given(st.text())
def test_any_text_is_printed_plain_and_plain_text_unchanged(text: str) -> None:
    assert all(map(is_plain, printable(text).split("\n")))
    assert (printable(text) == text) == all(map(is_plain, text.split("\n")))
    printable(text).encode()
