"""The origin of a store: the stored positions plus the origin are the positions of the source."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.export import export_sample
from support.out_of_core import shrink

FILEMAP = FileMap(surface_position="a.npy", volume_position="b.npy", volume_velocity="c.npy")
coordinates = st.floats(-1e7, 1e7)
origins = st.tuples(coordinates, coordinates, coordinates).filter(any)
seeds = st.integers(0, 2**32 - 1)


def spacing(values: NDArray[Any]) -> NDArray[Any]:
    """The distance to the next float32."""
    spacings: NDArray[Any] = np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)
    return spacings


@given(origin=origins, size=st.floats(1e-3, 1e5), seed=seeds, dtype=st.sampled_from(["float64", "float32", "int64"]))
def test_stored_positions_are_source_minus_origin(
    origin: tuple[float, float, float], size: float, seed: int, dtype: str
) -> None:
    """NumPy computes the difference in float64 and casts once. zarr-python reads the store. Other fields stay."""
    rng = np.random.default_rng(seed)
    surface, volume = ((rng.random((n, 3)) * size + origin).astype(dtype) for n in (40, 90))
    velocity = rng.random((90, 3), np.float32)
    sample = {"surface_position": surface, "volume_position": volume, "volume_velocity": velocity}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        writer = ZarrStoreWriter(root, FILEMAP, "far", values_dtype="float32", chunk_points=32, origin=origin)
        writer.write_group("run_1", sample, on_position_loss=lambda _: None)
        writer.record("run_1", writer.find_group("run_1"))  # type: ignore[arg-type]  # it is there
        writer.save_manifest()
        reader = ZarrChunkReader(root)
        assert reader.origin == origin
        for domain, source in (("surface", surface), ("volume", volume)):
            array: Any = zarr.open_array(f"{root}/run_1.zarr/{domain}/position", mode="r")
            local = (source.astype(np.float64) - origin)[reader.permutation("run_1", domain)]
            np.testing.assert_array_equal(array[:], local.astype(np.float32))
            assert (np.abs(array[:].astype(np.float64) - local) <= spacing(local) / 2).all()
        velocities = reader.read_arrays("run_1", order="original", fields=["volume_velocity"])["volume_velocity"]
        np.testing.assert_array_equal(velocities, velocity)
        exported = np.load(export_sample(root, "run_1", Path(root, "out.npz")).path)
        for field, source in (("surface_position", surface), ("volume_position", volume)):
            error = np.abs(exported[field] - source.astype(np.float64))
            # Adding the origin rounds once more, in float64.
            assert (error <= spacing(source.astype(np.float64) - origin) + np.spacing(np.abs(origin))).all()


@given(origin=origins, seed=seeds, dtype=st.sampled_from(["float64", "float32"]))
def test_data_that_do_not_fit_in_memory_lose_the_same_origin(
    origin: tuple[float, float, float], seed: int, dtype: str
) -> None:
    points = (np.random.default_rng(seed).random((300, 3)) * 10 + origin).astype(dtype)
    with pytest.MonkeyPatch.context() as patched:
        shrink(patched, 1 << 10)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
            np.save(f"{root}/points.npy", points)
            mapped = np.load(f"{root}/points.npy", mmap_mode="r")
            settings: dict[str, Any] = {"chunk_points": 32, "origin": origin}
            filemap = FileMap(volume_position="a.npy")
            found = []
            for name, values in (("memory", points), ("mapped", mapped)):
                writer = ZarrStoreWriter(f"{root}/{name}", filemap, "far", **settings)
                writer.write_group("run_1", {"volume_position": values}, on_position_loss=lambda _: None)
                files = sorted(Path(root, name).rglob("*"))
                found.append([path.read_bytes() for path in files if path.is_file()])
            assert found[0] == found[1]
