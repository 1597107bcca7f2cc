"""Manifests and metadata with impossible sizes: an error that names them, and no memory for their claims."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.datasets import Draw, ZarrStoreDataset
from noether.data.zarr_store.errors import CorruptDataError, ManifestError, StoreError, TooLargeError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.sampling.joint_plan import JointPlan
from support.bounds import bounded
from support.hostile_stores import ACTIONS, Document, edit_json, fresh_copy, make_small_store, outcome_of
from support.lanes import few_fast
from support.shards import forge_index

Lie = Callable[[Path], None]
PRESSURE = "surface/pressure"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_store(tmp_path_factory.mktemp("grids") / "store")


def grid(n_points: int, chunk_points: int = 8, shard_points: int = 56, *, also_metadata: bool = False) -> Lie:
    """Return an edit that forges a grid in the manifest, or consistently in the manifest and the metadata."""

    def claim(root: Path) -> None:
        claimed = {
            "n_points": n_points,
            "chunk_points": chunk_points,
            "shard_points": shard_points,
            "n_chunks": -(-n_points // chunk_points),
        }
        edit_json(root / "manifest.json", lambda m: m["samples"]["s1"]["domains"].update(surface=claimed))
        if also_metadata:
            edit_json(root / "s1.zarr/zarr.json", in_metadata)

    def in_metadata(document: Document) -> None:
        for name in ("surface/position", PRESSURE):
            array = array_of(document, name)
            array["shape"][0] = n_points
            array["chunk_grid"]["configuration"]["chunk_shape"][0] = shard_points
            array["codecs"][0]["configuration"]["chunk_shape"][0] = chunk_points

    return claim


def one_chunk_of_a_petabyte(root: Path) -> None:
    grid(2**46, 2**46, 2**46, also_metadata=True)(root)
    for name in ("position", "pressure"):
        (root / "s1.zarr/surface" / name / "c/0/0").write_bytes(b"x" * 100 + forge_index([(0, 100)]))


def large_shard_of_a_petabyte(root: Path) -> None:
    grid(50, 8, 2**46, also_metadata=True)(root)
    os.truncate(root / "s1.zarr/surface/position/c/0/0", 1 << 40)


def array_of(document: Document, name: str) -> Document:
    array: Document = document["consolidated_metadata"]["metadata"][name]
    return array


def layout(**claims: Any) -> Lie:
    """Return an edit that forges the layout of the pressure array in the manifest."""
    return lambda root: edit_json(
        root / "manifest.json", lambda m: m["domains"]["surface"]["arrays"]["surface_pressure"].update(claims)
    )


def width(dim: int) -> Lie:
    def claim(root: Path) -> None:
        layout(dim=dim)(root)
        edit_json(root / "s1.zarr/zarr.json", in_metadata)

    def in_metadata(document: Document) -> None:
        array = array_of(document, PRESSURE)
        array["shape"][1] = array["chunk_grid"]["configuration"]["chunk_shape"][1] = dim
        array["codecs"][0]["configuration"]["chunk_shape"][1] = dim

    return claim


def manifest(**claims: Any) -> Lie:
    return lambda root: edit_json(root / "manifest.json", lambda m: m.update(claims))


SHAPES = r"field surface_position: expected an array of shape \(1000000, 3\), as in the manifest, got .* \[50, 3\]"
CHUNKS = (
    r"sample 's1', domain 'surface': expected a read of at most 1,048,576 chunks, got .* chunks of .* points in all"
)
MEMORY = r"field surface_\w+: .* do not fit in memory .*; draw fewer points"
POINTS = r"samples\.s1\.domains\.surface: n_points: expected at most 281,474,976,710,656, got a number of"
LIES: dict[str, tuple[Lie, type[StoreError], str]] = {
    "a million points": (grid(10**6), CorruptDataError, SHAPES),
    "a billion points": (grid(10**9), TooLargeError, CHUNKS),
    "a billion points, in the metadata as well": (grid(10**9, also_metadata=True), TooLargeError, CHUNKS),
    "a petabyte": (grid(2**46), TooLargeError, CHUNKS),
    "a petabyte, in the metadata as well": (grid(2**46, also_metadata=True), TooLargeError, CHUNKS),
    "a petabyte in one chunk": (
        grid(2**46, 2**46, 2**46, also_metadata=True),
        CorruptDataError,
        "shard 0 is damaged: the checksum of its index does not match",
    ),
    "a petabyte in one chunk, in the index as well": (one_chunk_of_a_petabyte, TooLargeError, MEMORY),
    "a shard for each point": (grid(10**9, 1, 1, also_metadata=True), TooLargeError, CHUNKS),
    "a shard of a petabyte": (
        grid(50, 8, 2**46, also_metadata=True),
        CorruptDataError,
        "shard 0 is damaged: it ends early: expected an index of 140,737,488,355,332 bytes, got",
    ),
    "a shard of a petabyte, in a file of some size": (
        large_shard_of_a_petabyte,
        CorruptDataError,
        "shard 0 is damaged: it ends early: expected an index of 140,737,488,355,332 bytes, got 67,108,868",
    ),
    "more points than there are atoms": (grid(10**80), ManifestError, POINTS),
    "a number of 4,000 digits": (grid(10**4000), ManifestError, POINTS),
    "a billion values a point": (width(10**9), TooLargeError, MEMORY),
    "more values a point than there are atoms": (width(10**80), TooLargeError, MEMORY),
    "no values": (width(0), ManifestError, "dim: expected a whole number of at least 1, got 0"),
    "less than no values": (width(-3), ManifestError, "dim: expected a whole number of at least 1, got -3"),
    "objects for values": (layout(dtype="O"), ManifestError, "dtype: expected one of float16, .*, got 'O'"),
    "a structure for values": (layout(dtype="f4," * 10**5), ManifestError, "dtype: expected one of float16"),
    "another field's name": (
        layout(field="surface_area"),
        ManifestError,
        "its array names another field, 'surface_area'",
    ),
    "another field's array": (layout(array_name="position"), ManifestError, "another field has the same array"),
    "a chunk index that is the manifest": (manifest(chunk_index="manifest.json"), ManifestError, "chunk_index: "),
    "a chunk index in another directory": (manifest(chunk_index="s2.zarr/zarr.json"), ManifestError, "chunk_index: "),
    "a name that clears the terminal": (manifest(dataset_name="\x1b[2J"), ManifestError, r"'\\x1b\[2J' holds"),
    "a name that is written backwards": (
        manifest(dataset_name="\u202egpj"),
        ManifestError,
        "holds invisible or bidirectional control characters",
    ),
    "a key of a megabyte": (
        lambda root: edit_json(
            root / "manifest.json", lambda m: m["samples"]["s1"].update(fidelity={"\x1b" + "x" * 10**6: 1})
        ),
        ManifestError,
        r"samples\.s1\.fidelity\.'\\x1bxxx",
    ),
    "100,000 grids that are none": (
        lambda root: edit_json(
            root / "manifest.json", lambda m: m["samples"]["s1"].update(domains=dict.fromkeys(map(str, range(100_000))))
        ),
        ManifestError,
        r"samples\.s1 has 100,000 problems; repair it: noether-zarr repair STORE$",
    ),
    "150,000 domains": (
        manifest(domains=dict.fromkeys(map(str, range(150_000)))),
        ManifestError,
        r"expected at most 131,072 values beside the samples, got over 150,\d+",
    ),
    "150,000 splits": (manifest(splits=dict.fromkeys(map(str, range(150_000)))), ManifestError, "expected at most"),
    "150,000 wrong ids in a split": (manifest(splits={"train": [1] * 150_000}), ManifestError, r"splits\.train\.0: "),
    "150,000 samples that are none": (
        manifest(samples=dict.fromkeys(map(str, range(150_000)), 1)),
        ManifestError,
        r"samples\.0: Input should be",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_forged_store_is_refused_without_memory_for_its_claims(intact: Path, tmp_path: Path, name: str) -> None:
    lie, kind, message = LIES[name]
    root = fresh_copy(intact, tmp_path / "store")
    lie(root)
    with bounded():
        error = outcome_of(ACTIONS["read it whole"], root)
    assert isinstance(error, kind)
    assert re.search(message, str(error)), error
    assert len(str(error)) < 600


# A refused manifest is refused in every action.
@pytest.mark.parametrize(
    "name", few_fast([name for name, (_, kind, _) in LIES.items() if kind is not ManifestError], 2)
)
@pytest.mark.slow
def test_every_action_on_a_forged_store_ends_in_a_result_or_our_error(intact: Path, tmp_path: Path, name: str) -> None:
    """All errors are errors of this library."""
    for action in ACTIONS.values():
        root = fresh_copy(intact, tmp_path / "store")
        LIES[name][0](root)
        with bounded():
            outcome_of(action, root)


def test_an_honest_store_is_read_within_the_same_bounds(intact: Path, tmp_path: Path) -> None:
    for name, action in ACTIONS.items():
        root = fresh_copy(intact, tmp_path / "store")
        with bounded():
            assert outcome_of(action, root) is None, name


def test_a_chunk_index_of_too_many_chunks_is_refused(intact: Path, tmp_path: Path) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    grid(2**46)(root)
    message = r": expected at most 1,073,741,824 chunks .*claims [\d,]+; convert .*unless the manifest is wrong$"
    with bounded(), pytest.raises(TooLargeError, match=message):
        write_chunk_index(root)


def test_a_sweep_of_too_many_draws_is_refused() -> None:
    message = "at most 16,777,216 draws in a sweep .* got 281,474,976,710,656 draws .*; draw more points"
    with bounded(), pytest.raises(TooLargeError, match=message):
        JointPlan.of_sweep(Grid(2**48, 4096, 4096), [1], 0, Random(0))


def test_the_cast_loss_of_an_unknown_dtype_is_not_reported(intact: Path, tmp_path: Path) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    fidelity = {"surface_pressure": {"source_dtype": "(1000000000,)f4"}}
    edit_json(root / "manifest.json", lambda m: m["samples"]["s1"].update(fidelity=fidelity))
    assert outcome_of(ACTIONS["sum it up"], root) is None


@pytest.mark.parametrize("num_points", [2**45, 10])
def test_claimed_candidates_of_a_weighted_draw_get_no_memory(intact: Path, tmp_path: Path, num_points: int) -> None:
    """A chunk of a petabyte is refused, even with few candidates."""
    root = fresh_copy(intact, tmp_path / "store")
    one_chunk_of_a_petabyte(root)
    draws = {"q": Draw("surface", num_points, weight="surface_pressure")}
    with bounded():
        error = outcome_of(lambda root: ZarrStoreDataset(root, sample_ids=["s1"], fields=[], draws=draws)[0], root)
    assert isinstance(error, StoreError)
    assert re.search(MEMORY if num_points > 10 else "s1", str(error))
