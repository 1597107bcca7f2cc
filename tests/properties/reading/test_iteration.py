"""The batches of a sample together equal a whole read, for all grids, fields and sizes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.reader import SampleBatch
from noether.data.zarr_store.reading import iteration
from support.ahmed import Arrays
from support.reading import write_samples

FILEMAP = FileMap(surface_position="a", surface_pressure="b", volume_position="c", volume_velocity="d")
FIELDS = ("surface_position", "surface_pressure", "volume_position", "volume_velocity")
SIZES = st.integers(1, 90)


def made(n_surface: int, n_volume: int) -> Arrays:
    rng = np.random.default_rng([n_surface, n_volume])
    counts = {"surface": n_surface, "volume": n_volume}
    shapes = {field: (counts[field.partition("_")[0]], 3) for field in FIELDS}
    arrays = {field: rng.normal(size=shape).astype(np.float32) for field, shape in shapes.items()}
    arrays["surface_pressure"] = arrays["surface_pressure"][:, 0]
    return arrays


def joined(batches: list[SampleBatch]) -> Arrays:
    """Return the concatenated batches of each field."""
    fields: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        for field, values in batch.fields.items():
            fields.setdefault(field, []).append(values)
    return {field: np.concatenate(parts) for field, parts in fields.items()}


@pytest.mark.parametrize("dtype", ["float32", None])
@given(
    n_points=st.tuples(SIZES, SIZES),
    chunk_points=st.integers(1, 100),
    shard_points=st.none() | st.integers(1, 120),
    batch_points=st.integers(1, 120) | st.fixed_dictionaries({"surface": SIZES, "volume": SIZES}),
    fields=st.none() | st.lists(st.sampled_from(FIELDS), unique=True),
    least_read=st.sampled_from([1, 7, 1 << 16]),
    concurrency=st.sampled_from([1, 3]),
)
def test_all_batches_together_equal_a_whole_read(
    dtype: str | None,
    n_points: tuple[int, int],
    chunk_points: int,
    shard_points: int | None,
    batch_points: int | Mapping[str, int],
    fields: list[str] | None,
    least_read: int,
    concurrency: int,
) -> None:
    """Rows count from zero to the last row. Every batch except the last of a domain has the requested number."""
    with (
        tempfile.TemporaryDirectory() as directory,
        mock.patch.object(iteration, "_LEAST_READ_POINTS", least_read),
    ):
        settings = {"chunk_points": chunk_points, "shard_points": shard_points}
        root = write_samples(Path(directory), {"s": made(*n_points)}, FILEMAP, **settings)
        reader = ZarrChunkReader(root, read_concurrency=concurrency)
        whole = reader.read_arrays("s", fields=fields, dtype=dtype)
        batches = list(reader.iter_sample("s", batch_points, fields=fields, dtype=dtype))

    together = joined(batches)
    assert list(together) == list(whole)
    for field, values in whole.items():
        np.testing.assert_array_equal(together[field], values, strict=True)

    counts = dict(zip(("surface", "volume"), n_points, strict=True))
    wanted = [domain for domain in counts if any(field.startswith(domain) for field in whole)]
    assert [domain for domain, _ in groupby(batches, lambda batch: batch.domain)] == wanted
    for domain, of_domain in groupby(batches, lambda batch: batch.domain):
        size = batch_points if isinstance(batch_points, int) else batch_points[domain]
        rows = [batch.rows for batch in of_domain]
        assert rows == [range(counts[domain])[first : first + size] for first in range(0, counts[domain], size)]
    assert all(len(values) == len(batch.rows) for batch in batches for values in batch.fields.values())
