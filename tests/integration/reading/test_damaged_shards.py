"""Reads of samples with damaged or forged shards."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.codec.shard_index import MISSING
from noether.data.zarr_store.errors import CorruptDataError
from support.ahmed import Arrays
from support.lanes import few_fast
from support.reading import write_runs
from support.shards import forge_header, forge_index, with_crc

pytestmark = pytest.mark.usefixtures("compiled_or_not")

FIELD = "volume_velocity"
ARRAY = "run_1.zarr/volume/velocity"
CHUNK_POINTS, PER_SHARD = 512, 4
# 18,219 points are 36 chunks in 9 shards; the damaged chunk is the second of the second shard.
SHARD, POSITION = 1, 1
CHUNK = SHARD * PER_SHARD + POSITION
INDEX_BYTES = PER_SHARD * 16 + 4
TERABYTE = 1 << 40
Entries = list[tuple[int, int]]


@pytest.fixture(scope="module", params=few_fast([True, False]), ids=["checksum", "no_checksum"])
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"chunk_points": CHUNK_POINTS, "shard_points": PER_SHARD * CHUNK_POINTS, "checksum": request.param}
    return write_runs(tmp_path_factory.mktemp("damaged") / "store", "run_1", "run_2", **settings)


@pytest.fixture
def root(intact: Path, tmp_path: Path) -> Path:
    """A copy of the store to damage."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


@pytest.fixture(scope="module")
def expected(intact: Path) -> dict[str, Arrays]:
    reader = ZarrChunkReader(intact)
    return {run: reader.read_arrays(run) for run in ("run_1", "run_2")}


def shard_of(root: Path) -> Path:
    return root / ARRAY / "c" / str(SHARD) / "0"


def entries_of(data: bytes) -> Entries:
    numbers = struct.unpack(f"<{2 * PER_SHARD}Q", data[-INDEX_BYTES:-4])
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def forge_entry(change: Callable[[tuple[int, int]], tuple[int, int]]) -> Callable[[Path], None]:
    """Change the index entry of the chunk; the checksum of the index stays valid."""

    def damage(root: Path) -> None:
        data = shard_of(root).read_bytes()
        entries = entries_of(data)
        entries[POSITION] = change(entries[POSITION])
        shard_of(root).write_bytes(data[:-INDEX_BYTES] + forge_index(entries))

    return damage


def forge_chunk(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change only the chunk; its checksum, if it has one, stays valid."""

    def damage(root: Path) -> None:
        checksum = json.loads((root / "manifest.json").read_bytes())["checksum"]
        data = shard_of(root).read_bytes()
        start, length = entries_of(data)[POSITION]
        forged = change(data[start : start + length - 4 * checksum])
        forged = with_crc(forged) if checksum else forged
        assert len(forged) == length
        shard_of(root).write_bytes(data[:start] + forged + data[start + length :])

    return damage


def claim_terabyte_in_sparse_file(root: Path) -> None:
    data = shard_of(root).read_bytes()
    entries = entries_of(data)
    entries[POSITION] = (entries[-1][0] + entries[-1][1], TERABYTE)
    os.truncate(shard_of(root), 2 * TERABYTE)
    with shard_of(root).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(forge_index(entries))


def claim_shard_size(shard_points: object) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root / "run_1.zarr/zarr.json"
        document: dict[str, Any] = json.loads(path.read_bytes())
        array = document["consolidated_metadata"]["metadata"]["volume/velocity"]
        array["chunk_grid"]["configuration"]["chunk_shape"][0] = shard_points
        path.write_text(json.dumps(document))

    return damage


def cut(n_bytes: int) -> Callable[[Path], None]:
    return lambda root: os.truncate(shard_of(root), shard_of(root).stat().st_size - n_bytes)


IN_SHARD = f"shard {SHARD} is damaged: "
IN_CHUNK = f"chunk {CHUNK}, in shard {SHARD}, is damaged: "
INDEX_DAMAGE = [
    pytest.param(forge_entry(lambda _: (TERABYTE, 9)), IN_SHARD + "its index points past", id="far offset"),
    pytest.param(
        forge_entry(lambda e: (e[0], TERABYTE)), IN_SHARD + "its index points past", id="length of a terabyte"
    ),
    pytest.param(forge_entry(lambda e: (e[0], (1 << 64) - e[0])), IN_SHARD + "its index points", id="overflow"),
    pytest.param(forge_entry(lambda e: (e[0] - 1, e[1])), IN_SHARD + "chunks overlap", id="overlap"),
    pytest.param(forge_entry(lambda e: (e[0], MISSING)), IN_SHARD + "its index has a chunk with only", id="no length"),
    pytest.param(forge_entry(lambda e: (e[0], 0)), IN_SHARD + "its index has a chunk with only", id="no bytes"),
    pytest.param(cut(1), IN_SHARD + "the checksum of its index", id="cut by a byte"),
    pytest.param(lambda root: shard_of(root).write_bytes(b"x"), IN_SHARD + "it ends early", id="a byte is left"),
    pytest.param(lambda root: shard_of(root).unlink(), IN_SHARD + "it is missing", id="lost"),
    pytest.param(
        claim_shard_size(CHUNK_POINTS << 30), "shard 0 is damaged: it ends early", id="shard of a billion chunks"
    ),
]
CHUNK_DAMAGE = [
    pytest.param(forge_entry(lambda _: (MISSING, MISSING)), IN_CHUNK + "it is not stored", id="not stored"),
    pytest.param(forge_entry(lambda e: (e[0] + 20, e[1] - 20)), IN_CHUNK, id="starts late"),
    pytest.param(forge_entry(lambda e: (e[0], 3)), IN_CHUNK, id="three bytes are left"),
    pytest.param(
        claim_terabyte_in_sparse_file,
        IN_CHUNK + "expected at most .* bytes, its index claims 1,099,511,627,776",
        id="sparse terabyte",
    ),
    pytest.param(forge_chunk(lambda c: forge_header(c, nbytes=2**32 - 1)), IN_CHUNK + "its header claims", id="4 GiB"),
    pytest.param(
        forge_chunk(lambda c: forge_header(c, nbytes=0)), IN_CHUNK + "its header claims 0 bytes", id="nothing"
    ),
    pytest.param(forge_chunk(lambda c: forge_header(c, nbytes=6)), IN_CHUNK + "its header claims 6 bytes", id="a row"),
    pytest.param(forge_chunk(lambda c: forge_header(c, cbytes=2**31)), IN_CHUNK + "its header claims", id="compressed"),
    pytest.param(forge_chunk(lambda c: c[:16] + b"\xff" * (len(c) - 16)), IN_CHUNK + "it cannot be", id="junk"),
]


@pytest.mark.parametrize(("damage", "message"), [*INDEX_DAMAGE, *CHUNK_DAMAGE])
def test_damage_is_named_by_sample_field_shard_and_chunk_and_costs_little_memory(
    root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(root)
    reader = ZarrChunkReader(root)
    tracemalloc.start()
    try:
        with pytest.raises(
            CorruptDataError, match=rf"^sample 'run_1', field {FIELD}: {message}.*; convert the sample again$"
        ):
            reader.read_arrays("run_1", fields=[FIELD], dtype=None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Memory for the result and the shards, 110 kB each; for an index of a few bytes; and for the error.
    assert peak < 600_000


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "_message"), few_fast([*CHUNK_DAMAGE, *INDEX_DAMAGE], 5))
def test_undamaged_fields_stay_readable(
    root: Path, expected: dict[str, Arrays], damage: Callable[[Path], None], _message: str
) -> None:
    damage(root)
    reader = ZarrChunkReader(root, read_concurrency=3)
    with pytest.raises(CorruptDataError):
        reader.read_arrays("run_1")
    for run, arrays in expected.items():
        others = [field for field in arrays if (run, field) != ("run_1", FIELD)]
        for field, values in reader.read_arrays(run, fields=others).items():
            np.testing.assert_array_equal(values, arrays[field], err_msg=f"{run} {field}")


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "_message"), CHUNK_DAMAGE)
def test_only_draws_that_hit_a_damaged_chunk_raise_an_error(
    intact: Path, root: Path, damage: Callable[[Path], None], _message: str
) -> None:
    damage(root)
    damaged, whole = ZarrChunkReader(root), ZarrChunkReader(intact)
    refused = 0
    for seed in range(40):
        draw = ("run_1", {"volume": 5000}, seed, [FIELD])
        try:
            values = damaged.read_arrays(*draw)[FIELD]
        except CorruptDataError:
            refused += 1
        else:
            np.testing.assert_array_equal(values, whole.read_arrays(*draw)[FIELD])
    # A draw takes 10 or 11 of the 36 chunks.
    assert 3 < refused < 25


@pytest.mark.slow
@pytest.mark.parametrize("shard_points", [0, -512, 513, 2048.0, "2048", None, 512, 1 << 62], ids=repr)
def test_shards_of_another_size_in_the_metadata_are_corrupt_data(root: Path, shard_points: object) -> None:
    claim_shard_size(shard_points)(root)
    reader = ZarrChunkReader(root)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptDataError, match=r"^sample 'run_1'.*; convert (the sample|it) again$"):
            reader.read_arrays("run_1", fields=[FIELD])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_shard_that_shrinks_after_its_index_was_read_ends_early(root: Path) -> None:
    reader = ZarrChunkReader(root)
    reader.read_arrays("run_1")
    os.truncate(shard_of(root), 100)
    message = rf"{IN_SHARD}it ends early: expected [\d,]+ bytes at offset 0, got 100; convert the sample again$"
    with pytest.raises(CorruptDataError, match=rf"^sample 'run_1', field {FIELD}: {message}"):
        reader.read_arrays("run_1")


@pytest.mark.parametrize("intact", [True], indirect=True, ids=["checksum"])
def test_a_flipped_bit_is_found_only_where_checksums_are_verified(root: Path, expected: dict[str, Arrays]) -> None:
    data = bytearray(shard_of(root).read_bytes())
    start, length = entries_of(bytes(data))[POSITION]
    data[start + length - 1] ^= 1  # a byte of the checksum, so the values stay right
    shard_of(root).write_bytes(data)
    with pytest.raises(CorruptDataError, match=IN_CHUNK + "its checksum does not match its bytes"):
        ZarrChunkReader(root).read_arrays("run_1")
    values = ZarrChunkReader(root, verify_checksums=False).read_arrays("run_1")[FIELD]
    np.testing.assert_array_equal(values, expected["run_1"][FIELD])


def test_a_shard_that_is_cut_while_it_is_open_is_refused(root: Path, expected: dict[str, Arrays]) -> None:
    """The index is cached and the file is open, so the damage shows only when the chunks are read."""
    reader, field = ZarrChunkReader(root), "volume_velocity"
    np.testing.assert_array_equal(reader.read_arrays("run_1", fields=[field])[field], expected["run_1"][field])
    start, length = entries_of(shard_of(root).read_bytes())[-1]
    os.truncate(shard_of(root), start + length - 1)
    with pytest.raises(CorruptDataError, match=rf"'run_1', field {field}: shard {SHARD} is damaged: it ends early"):
        reader.read_arrays("run_1", fields=[field])
