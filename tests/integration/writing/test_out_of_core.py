"""Samples that do not fit in memory are read once, from front to back, and make the same bytes as arrays in memory."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.errors import NonFiniteError, SampleDataError, StorageError, ValueOverflowError
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.writing.cast_loss import CastMeter
from support.ahmed import AHMED_FILEMAP, Arrays
from support.lanes import few_fast
from support.out_of_core import scratch_files, shrink
from support.places import local_place

SMALL = FileMap(volume_position="p", volume_pressure="c")
N_POINTS = 5_000


class OnDisk:
    """An array that is not in memory, with only the interface that the writer needs; it records all reads."""

    def __init__(self, values: NDArray[Any], on_read: Callable[[int], object] = int) -> None:
        self._values = values
        self._on_read = on_read
        self.shape, self.dtype = values.shape, values.dtype
        self.read: list[tuple[int, int]] = []

    def __getitem__(self, where: slice) -> NDArray[Any]:
        self.read.append((where.start, where.stop))
        self._on_read(where.start)
        return self._values[where]


class Chunked(OnDisk):
    chunks = (700, 1)


def memmap(values: NDArray[Any], path: Path) -> Any:
    np.save(path, values)
    return np.load(path.with_suffix(".npy"), mmap_mode="r")


def every_second_row_of_a_memmap(values: NDArray[Any], path: Path) -> Any:
    return memmap(np.repeat(values, 2, axis=0), path)[::2]


def changed_copy_of_a_memmap(values: NDArray[Any], path: Path) -> Any:
    np.save(path, np.zeros_like(values))
    mapped = np.load(path.with_suffix(".npy"), mmap_mode="c")
    mapped[:] = values
    return mapped


def hdf5(values: NDArray[Any], path: Path, **options: Any) -> Any:
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, **options)
    return h5py.File(path)["values"]


def hdf5_in_compressed_chunks(values: NDArray[Any], path: Path) -> Any:
    return hdf5(values, path, chunks=(333, *values.shape[1:]), compression="gzip", shuffle=True)


def hdf5_big_endian(values: NDArray[Any], path: Path) -> Any:
    return hdf5(values.astype(values.dtype.newbyteorder(">")), path)


def zarr_array(values: NDArray[Any], path: Path) -> Any:
    return zarr.create_array(str(path), data=values, chunks=(900, *values.shape[1:]))


def mapped_tensor(values: NDArray[Any], path: Path) -> Any:
    torch.save(torch.from_numpy(values), path)
    return torch.load(path, mmap=True, weights_only=True)


def columns_of_a_mapped_tensor(values: NDArray[Any], path: Path) -> Any:
    columns = values.reshape(len(values), -1)
    return mapped_tensor(np.hstack([columns * 0, columns]), path)[:, columns.shape[1] :]


def changed_mapped_tensor(values: NDArray[Any], path: Path) -> Any:
    mapped = mapped_tensor(values * 0, path)
    mapped[:] = torch.from_numpy(values)
    return mapped


def mapped_tensor_of_a_file_that_was_replaced(values: NDArray[Any], path: Path) -> Any:
    mapped = mapped_tensor(values, path)
    path.unlink()
    # From now on, Linux reports the memory-mapped file by its second name.
    for other in (path, path.with_name(f"{path.name} (deleted)")):
        torch.save(torch.from_numpy(values * 0), other)
    return mapped


def mapped_tensor_of_a_file_that_was_removed(values: NDArray[Any], path: Path) -> Any:
    mapped = mapped_tensor(values, path)
    path.unlink()
    return mapped


def plain_array_over_a_memmap(values: NDArray[Any], path: Path) -> Any:
    return np.asarray(memmap(values[::-1], path))[::-1]


def anything_with_slices(values: NDArray[Any], path: Path) -> Any:
    return OnDisk(values)


SOURCES = (
    memmap,
    hdf5_in_compressed_chunks,
    zarr_array,
    mapped_tensor,
    anything_with_slices,
    every_second_row_of_a_memmap,
    changed_copy_of_a_memmap,
    hdf5,
    hdf5_big_endian,
    columns_of_a_mapped_tensor,
    changed_mapped_tensor,
    mapped_tensor_of_a_file_that_was_replaced,
    mapped_tensor_of_a_file_that_was_removed,
    plain_array_over_a_memmap,
)


def sample(n_points: int = N_POINTS) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "volume_position": rng.normal(size=(n_points, 3)).astype("f4"),
        "volume_pressure": rng.normal(size=(n_points, 1)).astype("f4"),
    }


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """A directory on a disk, because files in memory do not count as memory-mapped."""
    return disk_path


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files. Buckets are so small that every field needs several."""
    shrink(monkeypatch, 1 << 13, block_bytes=1 << 12, block_rows=700)
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture
def new(tmp_path: Path) -> ZarrStoreWriter:
    """A writer of a store that does not exist."""
    return ZarrStoreWriter(tmp_path / "new", SMALL, "small", chunk_points=512)


Written = tuple[SampleEntry, dict[str, bytes]]


def write_run(root: Path, arrays: Any, shard_points: int | None) -> Written:
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "a", chunk_points=300, shard_points=shard_points)
    return writer.write_group("run_1", arrays), local_place(root).files()


@pytest.fixture(scope="module", params=few_fast([1500, None]))
def in_memory(
    request: pytest.FixtureRequest, run_1: Arrays, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int | None, Written]:
    """The shard size, and the sample that is written from arrays in memory."""
    return request.param, write_run(tmp_path_factory.mktemp("memory") / "store", run_1, request.param)


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("make", few_fast(SOURCES, 5), ids=lambda make: make.__name__.replace("_", " "))
def test_bytes_equal_those_of_arrays_in_memory(
    make: Callable[[NDArray[Any], Path], Any], in_memory: tuple[int | None, Written], run_1: Arrays, tmp_path: Path
) -> None:
    shard_points, expected = in_memory
    sources = {field: make(values, tmp_path / field) for field, values in run_1.items()}
    assert write_run(tmp_path / "disk", sources, shard_points) == expected


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("on_disk", ["volume_position", "volume_pressure"])
def test_domain_can_have_some_fields_in_memory(on_disk: str, new: ZarrStoreWriter, tmp_path: Path) -> None:
    in_memory = ZarrStoreWriter(tmp_path / "memory", SMALL, "small", chunk_points=512)
    in_memory.write_group("run", sample())
    new.write_group("run", sample() | {on_disk: OnDisk(sample()[on_disk])})
    assert local_place(tmp_path / "new").files() == local_place(tmp_path / "memory").files()


def resident_bytes(file: Path) -> int:
    """Return the resident memory of the mappings of a file."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(
        next(int(count.split()[1]) << 10 for count in lines if count.startswith("Rss:"))
        for line in lines
        if line.endswith(f" {file}")
    )


@pytest.mark.slow
def test_a_mapped_tensor_goes_through_buckets_in_the_memory_of_a_block(
    new: ZarrStoreWriter, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapping of the tensor's file takes the memory of only one block."""
    # 4 MB, because some kernels map 2 MB around each page that is read. That is still a small part of the file.
    shrink(monkeypatch, 1 << 20, block_bytes=4 << 20, block_rows=1 << 20)
    n_points, file, resident = 4_000_000, tmp_path / "position.pt", list[int]()
    position = mapped_tensor(np.ones((n_points, 3), "f4"), file)
    take = CastMeter.add

    def watched(self: CastMeter, *block: Any) -> None:
        take(self, *block)
        resident.append(resident_bytes(file))

    monkeypatch.setattr(CastMeter, "add", watched)
    new.write_group("run", {"volume_position": position, "volume_pressure": np.zeros(n_points, "f4")})
    assert len(resident) > 4
    assert 0 < max(resident) < file.stat().st_size / 2
    assert scratch_files(scratch) == []


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("kind", ["tensor", "view", "shared memory"])
def test_arrays_in_memory_need_no_temporary_file(
    kind: str, new: ZarrStoreWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    arrays: dict[str, Any] = sample()
    position, shared = arrays["volume_position"], SharedMemory(create=True, size=N_POINTS * 12)
    try:
        if kind == "tensor":
            arrays["volume_position"] = torch.from_numpy(position)
        elif kind == "view":
            arrays["volume_position"] = np.repeat(position, 2, axis=0)[::2]
        else:
            arrays["volume_position"] = np.ndarray((N_POINTS, 3), "f4", shared.buf)
        new.write_group("run", arrays)
    finally:
        arrays.clear()
        shared.close()
        shared.unlink()


@pytest.mark.usefixtures("scratch")
def test_every_row_is_read_once_front_to_back(new: ZarrStoreWriter) -> None:
    sources = {field: OnDisk(values) for field, values in sample().items()}
    new.write_group("run", sources)
    for source in sources.values():
        assert len(source.read) > 1
        assert (source.read[0][0], source.read[-1][1]) == (0, N_POINTS)
        assert all(stop == start for (_, stop), (start, _) in pairwise(source.read))


@pytest.mark.usefixtures("scratch")
def test_whole_chunks_of_the_source_are_read_at_a_time(new: ZarrStoreWriter) -> None:
    sources = {field: Chunked(values) for field, values in sample().items()}
    new.write_group("run", sources)
    for source in sources.values():
        assert len(source.read) > 1
        assert all(start % 700 == 0 for start, _ in source.read)


def test_nothing_is_written_before_the_last_row_is_read(new: ZarrStoreWriter, tmp_path: Path, scratch: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    def look(start: int) -> None:
        seen.append((Path(new.store_root).exists(), bool(scratch_files(scratch))))

    new.write_group("run", {field: OnDisk(values, look) for field, values in sample().items()})
    assert {in_store for in_store, _ in seen} == {False}
    assert all(in_scratch for _, in_scratch in seen)
    assert (tmp_path / "new" / "run.zarr").exists()


def with_value(row: int, value: float, other: tuple[int, float] = (0, 0.0)) -> Arrays:
    changed = sample()
    changed["volume_pressure"][row] = value
    changed["volume_pressure"][other[0]] = other[1]
    return changed


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        pytest.param(with_value(N_POINTS - 1, 1e6), ValueOverflowError, id="overflow in the last row"),
        pytest.param(with_value(9, -1e6, (N_POINTS - 1, 3e6)), ValueOverflowError, id="peak in a later block"),
        pytest.param(with_value(N_POINTS - 1, 1e6, (3, np.nan)), ValueOverflowError, id="NaN in an earlier block"),
        pytest.param(with_value(70, np.nan, (N_POINTS - 1, np.inf)), NonFiniteError, id="holes"),
    ],
)
def test_bad_values_are_refused_and_leave_no_trace(
    arrays: Arrays, error: type[SampleDataError], new: ZarrStoreWriter, scratch: Path
) -> None:
    with pytest.raises(error) as expected:
        new.write_group("run", arrays)
    with pytest.raises(error) as caught:
        new.write_group("run", {field: OnDisk(values) for field, values in arrays.items()})
    assert str(caught.value) == str(expected.value)
    assert not Path(new.store_root).exists()
    assert scratch_files(scratch) == []


def fail(start: int) -> None:
    if start > N_POINTS // 2:
        raise OSError("wrong checksum of a chunk")


class Shrinking(OnDisk):
    def __getitem__(self, where: slice) -> NDArray[Any]:
        return super().__getitem__(where)[:-1]


class Widening(OnDisk):
    def __getitem__(self, where: slice) -> NDArray[Any]:
        return super().__getitem__(where).astype("f8")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            OnDisk(sample()["volume_pressure"], fail),
            r"rows [\d,]+ to [\d,]+ of the OnDisk cannot be read \(wrong checksum of a chunk\); correct the source",
            id="cannot be read",
        ),
        pytest.param(
            Shrinking(sample()["volume_pressure"]),
            r"rows 0 to 1,024 of the Shrinking: expected shape \(1024, 1\) and dtype float32, .*, got \(1023, 1\) and ",
            id="fewer rows than it says",
        ),
        pytest.param(
            Widening(sample()["volume_pressure"]),
            r"rows 0 to 1,024 of the Widening: expected .* dtype float32, .*, got \(1024, 1\) and float64; pass",
            id="another dtype than it says",
        ),
    ],
)
def test_lying_source_is_refused_and_leaves_no_trace(
    source: OnDisk, message: str, new: ZarrStoreWriter, scratch: Path
) -> None:
    """The source cannot be read, or its rows do not have the declared shape or dtype."""
    with pytest.raises(SampleDataError, match=rf"^sample 'run', field volume_pressure: {message}"):
        new.write_group("run", sample() | {"volume_pressure": source})
    assert not Path(new.store_root).exists()
    assert scratch_files(scratch) == []


@pytest.mark.usefixtures("scratch")
def test_missing_temporary_directory_is_named(
    new: ZarrStoreWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how to set ``TMPDIR``."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with pytest.raises(
        StorageError,
        match=r"^sample 'run', domain volume: cannot keep 20,000 bytes in a temporary file in .*/nowhere "
        r"\(No such file or directory\); set TMPDIR to a directory on a disk with ",
    ):
        new.write_group("run", {field: OnDisk(values) for field, values in sample().items()})
    assert not Path(new.store_root).exists()


def test_no_temporary_file_outlasts_a_store_that_cannot_be_written(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "file").touch()
    writer = ZarrStoreWriter(tmp_path / "store", SMALL, "small", chunk_points=512)
    (tmp_path / "store").touch()
    with pytest.raises(StorageError, match=r"cannot write .*run\.zarr"):
        writer.write_group("run", {field: OnDisk(values) for field, values in sample().items()})
    assert scratch_files(scratch) == []


def test_no_temporary_file_outlasts_a_success(new: ZarrStoreWriter, scratch: Path) -> None:
    new.write_group("run", {field: OnDisk(values) for field, values in sample().items()})
    assert scratch_files(scratch) == []


def test_a_small_array_is_loaded_and_needs_no_temporary_file(
    new: ZarrStoreWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    new.write_group("run", {field: OnDisk(values) for field, values in sample().items()})
    in_memory = ZarrStoreWriter(tmp_path / "memory", SMALL, "small", chunk_points=512)
    in_memory.write_group("run", sample())
    assert local_place(tmp_path / "new").files() == local_place(tmp_path / "memory").files()


class Generated:
    """A field of any size that is computed when it is read."""

    def __init__(self, n_points: int, width: int) -> None:
        self.shape, self.dtype = (n_points, width), np.dtype("f4")

    def __getitem__(self, where: slice) -> NDArray[Any]:
        first, last = (where.start or 0) * self.shape[1], where.stop * self.shape[1]
        return (np.arange(first, last) % 2039).astype("f4").reshape(-1, self.shape[1])


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_memory_holds_a_few_blocks_and_buckets(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 1 << 19, block_bytes=1 << 18, block_rows=1 << 14)
    n_points = 1_000_000
    filemap = FileMap(volume_position="p", volume_velocity="v", volume_vorticity="w", volume_pressure="c")
    widths = {"volume_position": 3, "volume_velocity": 3, "volume_vorticity": 3, "volume_pressure": 1}
    sources: dict[str, Any] = {field: Generated(n_points, width) for field, width in widths.items()}
    writer = ZarrStoreWriter(tmp_path / "store", filemap, "large", values_dtype="float32", threads=2)
    writer.write_group("small", {field: Generated(100_000, width) for field, width in widths.items()})
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    writer.write_group("large", sources)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < 6 << 20 < 8 * n_points, "a permutation alone takes more"


def test_a_process_that_is_killed_leaves_no_temporary_file(new: ZarrStoreWriter, scratch: Path) -> None:
    """The process is killed when half of the rows of the second field were read."""

    def kill(start: int) -> None:
        if start > N_POINTS // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    sources = {field: OnDisk(values) for field, values in sample().items()}
    sources["volume_pressure"] = OnDisk(sample()["volume_pressure"], kill)
    pid = os.fork()
    if pid == 0:
        try:
            new.write_group("run", sources)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert list(scratch.iterdir()) == []
    assert not Path(new.store_root).exists()
