"""The randomness of a draw: its sources, and the parameters that it depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.reading.tensors import RandomSource
from noether.data.zarr_store.sampling.plan import ChunkOrder
from support.ahmed import load_run
from support.reading import FIELDS, write_samples

MakeSource: TypeAlias = Callable[[int], RandomSource]
NUM_POINTS = {"surface": 310, "volume": 1050}
ALL_FIELDS = FIELDS["surface"] + FIELDS["volume"]

SEEDED = [
    pytest.param(np.random.default_rng, id="numpy Generator"),
    pytest.param(lambda seed: torch.Generator().manual_seed(seed), id="torch Generator"),
    pytest.param(int, id="int"),
    pytest.param(np.int64, id="NumPy int"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(
        tmp_path_factory.mktemp("generators") / "store", {"run_1": load_run("run_1")}, chunk_points=100
    )


@pytest.fixture(scope="module")
def reader(root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(root)


def draw(reader: ZarrChunkReader, source: RandomSource) -> bytes:
    """Draw points of the volume; equal bytes are equal points."""
    return reader.read_arrays("run_1", NUM_POINTS, source, ["volume_position"])["volume_position"].tobytes()


@pytest.mark.parametrize("make", SEEDED)
def test_the_same_seed_gives_the_same_draw(reader: ZarrChunkReader, make: MakeSource) -> None:
    assert draw(reader, make(5)) == draw(reader, make(5))


@pytest.mark.parametrize("make", SEEDED)
def test_other_seeds_give_other_draws(reader: ZarrChunkReader, make: MakeSource) -> None:
    assert len({draw(reader, make(seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("make", SEEDED[:2])
def test_a_shared_generator_gives_a_new_draw_each_time(reader: ZarrChunkReader, make: MakeSource) -> None:
    source = make(5)
    first = [draw(reader, source) for _ in range(10)]
    assert len(set(first)) == 10

    again = make(5)
    assert [draw(reader, again) for _ in range(10)] == first


def test_no_generator_gives_fresh_randomness(reader: ZarrChunkReader) -> None:
    assert len({draw(reader, None) for _ in range(10)}) > 1


def test_a_draw_leaves_the_global_random_states_alone(reader: ZarrChunkReader) -> None:
    def states() -> tuple[str, bytes]:
        return repr(np.random.get_state()), torch.get_rng_state().numpy().tobytes()

    before = states()
    for source in (None, 3, np.random.default_rng(0), torch.Generator().manual_seed(1)):
        draw(reader, source)
    assert states() == before


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["volume_sdf"], id="one field"),
        pytest.param(["surface_area"], id="a field of the other domain"),
        pytest.param(["volume_vorticity", "surface_position"], id="a field of each"),
        pytest.param(list(reversed(ALL_FIELDS)), id="all"),
    ],
)
@pytest.mark.parametrize("chunk_order", ["consecutive", "scattered"])
def test_a_draw_is_the_same_whichever_fields_are_asked_for(
    root: Path, fields: list[str], chunk_order: ChunkOrder
) -> None:
    reader = ZarrChunkReader(root, chunk_order=chunk_order)
    everything = reader.read_arrays("run_1", NUM_POINTS, 11)
    some = reader.read_arrays("run_1", NUM_POINTS, 11, fields)
    for field in fields:
        np.testing.assert_array_equal(some[field], everything[field])


@pytest.mark.parametrize("surface", [None, 1, 7, 2041])
def test_a_draw_of_a_domain_does_not_depend_on_other_domains(reader: ZarrChunkReader, surface: int | None) -> None:
    source = np.random.default_rng(3)
    reference = np.random.default_rng(3)
    # Two reads: the numbers that the first takes from a shared generator must not depend on the other domain either.
    for _ in range(2):
        drawn = reader.read_arrays("run_1", {**NUM_POINTS, "surface": surface}, source)
        assert drawn["volume_position"].tobytes() == draw(reader, reference)


def test_domains_are_drawn_independently_of_each_other(tmp_path: Path) -> None:
    indices = np.arange(64, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    filemap = FileMap(surface_position="a", volume_position="b")
    root = write_samples(
        tmp_path, {"twins": {"surface_position": indices, "volume_position": indices}}, filemap, chunk_points=8
    )
    reader = ZarrChunkReader(root)
    stored = {field: array[:, 0].tolist() for field, array in reader.read_arrays("twins").items()}

    def first_chunk(field: str, seed: int) -> int:
        drawn = reader.read_arrays("twins", {"surface": 8, "volume": 8}, seed)[field]
        return int(stored[field].index(drawn[0, 0])) // 8

    pairs = {(first_chunk("surface_position", seed), first_chunk("volume_position", seed)) for seed in range(60)}
    # 64 pairs are possible; of a shared choice only 8 would be.
    assert len(pairs) > 20


def test_read_coords_draws_other_points_than_a_sample_read_with_the_same_generator(reader: ZarrChunkReader) -> None:
    source = np.random.default_rng(0)
    sample = reader.read_sample("run_1", NUM_POINTS, source)["volume_position"]
    coords = reader.read_coords("run_1", "volume", NUM_POINTS["volume"], source)
    more = reader.read_coords("run_1", "volume", NUM_POINTS["volume"], source)
    assert len({tensor.numpy().tobytes() for tensor in (sample, coords, more)}) == 3


@pytest.mark.parametrize(
    "source",
    [True, -1, 1.5, "seed", np.random.RandomState(0), np.random.SeedSequence(0), torch.float32, [1, 2]],
    ids=lambda source: type(source).__name__,
)
def test_anything_else_is_refused_as_a_generator(reader: ZarrChunkReader, source: object) -> None:
    with pytest.raises(ArgumentError, match=r"generator: expected a numpy\.random\.Generator, a torch\.Generator, "):
        reader.read_arrays("run_1", generator=source)  # type: ignore[arg-type]  # the wrong type is the point


def test_a_chunk_order_that_does_not_exist_is_refused(root: Path) -> None:
    with pytest.raises(ArgumentError, match="chunk_order: expected one of consecutive, scattered, got 'random'"):
        ZarrChunkReader(root, chunk_order="random")  # type: ignore[arg-type]  # the wrong value is the point


@pytest.mark.parametrize("read_concurrency", [0, -1, True, 1.5, "2"], ids=repr)
def test_a_read_concurrency_is_refused_when_it_is(root: Path, read_concurrency: object) -> None:
    with pytest.raises(ArgumentError, match="read_concurrency: expected a whole number of at least 1, got"):
        ZarrChunkReader(root, read_concurrency=read_concurrency)  # type: ignore[arg-type]  # the wrong type is the point


def test_tensors_without_a_generator_follow_torch_manual_seed(reader: ZarrChunkReader) -> None:
    """The same seed returns the same draw, the next draw differs, and a whole read does not advance the generator."""

    def positions() -> bytes:
        return reader.read_sample("run_1", NUM_POINTS)["volume_position"].numpy().tobytes()

    torch.manual_seed(3)
    first, second = positions(), positions()
    torch.manual_seed(3)
    reader.read_sample("run_1")
    assert (positions(), positions()) == (first, second)
    assert first != second


def test_read_arrays_does_not_use_torchs_global_generator(reader: ZarrChunkReader) -> None:
    state = torch.get_rng_state()
    assert draw(reader, None) != draw(reader, None)
    assert torch.equal(torch.get_rng_state(), state)
