"""Predictions that come batch by batch: they are exported with all rows, or leave nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import (
    ArgumentError,
    MeshError,
    OriginalOrderError,
    StorageError,
    StoreError,
    UnknownNameError,
)
from noether.data.zarr_store.export import PredictionWriter, export_sample
from noether.data.zarr_store.reader import SampleBatch
from support.ahmed import load_run
from support.export_meshes import BODY_MESH, CELLS_MESH, assert_same_bits, load_cells, read_with_pyvista
from support.reading import write_samples
from support.trees import visible_files

N_CELLS = 500
TARGETS = [("out.vtu", CELLS_MESH), ("out.case", CELLS_MESH), ("out.npz", None)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The body of run_1 as surface, 500 of its cells as volume."""
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    root = tmp_path_factory.mktemp("predictions") / "store"
    return write_samples(root, {"run_1": surface | load_cells()}, values_dtype="float32", chunk_points=64)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A path in a directory that does not exist yet."""
    return tmp_path / "out"


def batches(store: Path, points: int = 150, domain: str = "volume") -> Iterator[SampleBatch]:
    fields = [f"{domain}_position", f"{domain}_pressure"]
    return ZarrChunkReader(store).iter_sample("run_1", points, fields=fields)


def open_writer(store: Path, out: Path, **settings: Any) -> PredictionWriter:
    return PredictionWriter(store, "run_1", out / "out.vtu", **{"onto": CELLS_MESH, **settings})


def everything_below(path: Path) -> list[str]:
    """Every file and directory, including hidden ones."""
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*"))


@pytest.mark.parametrize(("target", "onto"), TARGETS, ids=["vtu", "case", "npz"])
def test_the_file_matches_a_single_export(store: Path, tmp_path: Path, target: str, onto: Path | None) -> None:
    """One export of all predictions at once writes the same file."""
    whole = ZarrChunkReader(store).read_arrays("run_1")
    expected = {"predicted_pressure": whole["volume_pressure"] * 2, "moved": whole["volume_position"] + 1}
    settings: dict[str, Any] = {"onto": onto, "fields": ["volume_sdf"], "domain": "volume"}
    at_once = export_sample(store, "run_1", tmp_path / "once" / target, predictions=expected, **settings)
    with PredictionWriter(store, "run_1", tmp_path / "parts" / target, **settings) as writer:
        for batch in batches(store):
            pressure, position = batch.fields["volume_pressure"], batch.fields["volume_position"]
            writer.add(batch, {"predicted_pressure": pressure * 2, "moved": position + 1})
    assert (writer.domain, writer.n_points) == ("volume", N_CELLS)
    assert writer.export.path == tmp_path / "parts" / target
    assert writer.export.arrays == at_once.arrays
    assert visible_files(tmp_path / "parts") == visible_files(tmp_path / "once")
    assert everything_below(tmp_path / "parts") == everything_below(tmp_path / "once")


def test_predictions_lie_on_their_cells(store: Path, out: Path) -> None:
    with PredictionWriter(store, "run_1", out / "out.vtp", onto=BODY_MESH) as writer:
        for batch in batches(store, 1000, "surface"):
            writer.add(batch.rows, {"copy": batch.tensors()["surface_pressure"]})
    written = read_with_pyvista(writer.export.path)
    assert_same_bits(np.asarray(written.cell_data["copy"]), load_run("run_1")["surface_pressure"])
    assert (writer.export.domain, writer.export.association) == ("surface", "cell")


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        lambda values: torch.from_numpy(values)[:, None],
        lambda values: values.astype(">f4"),
        lambda values: np.repeat(values, 2)[::2],
        lambda values: OnDevice(torch.from_numpy(values)),
    ],
    ids=["tensor", "column", "big endian", "strided", "another device"],
)
def test_arrays_and_tensors_on_any_device_are_accepted(store: Path, out: Path, convert: Callable[..., Any]) -> None:
    with open_writer(store, out) as writer:
        for batch in batches(store):
            writer.add(batch, {"copy": convert(batch.fields["volume_pressure"])})
    written = read_with_pyvista(out / "out.vtu")
    assert_same_bits(np.asarray(written.cell_data["copy"]), load_cells()["volume_pressure"])


class OnDevice:
    """Stands for a tensor on a device that NumPy cannot read."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def cpu(self) -> torch.Tensor:
        return self._values

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_float16_becomes_float32_and_whole_numbers_stay(store: Path, out: Path) -> None:
    with open_writer(store, out) as writer:
        writer.add((0, N_CELLS), {"half": np.ones(N_CELLS, np.float16), "zone": np.arange(N_CELLS)})
    written = read_with_pyvista(out / "out.vtu")
    assert {name: written.cell_data[name].dtype for name in ("half", "zone")} == {"half": "float32", "zone": "int64"}


def test_arrays_may_be_added_one_after_the_other(store: Path, out: Path) -> None:
    with open_writer(store, out) as writer:
        writer.add(range(N_CELLS), {"a": np.zeros(N_CELLS)})
        writer.add(range(200, N_CELLS), {"b": np.zeros((300, 3))})
        writer.add(range(200), {"b": np.zeros((200, 3))})
    assert writer.export.arrays == ("a", "b")


ONES = np.ones(100)
REFUSALS = {
    "short": ((0, 100), ONES[:99], r"expected shape \(100,\) or \(100, width\) for rows 0 to 100, got \(99,\)"),
    "three axes": ((0, 100), ONES.reshape(100, 1, 1), r"got \(100, 1, 1\)"),
    "no column": ((0, 100), np.ones((100, 0)), r"got \(100, 0\)"),
    "past the end": ((450, 550), ONES, "expected rows from 0 to 500 of volume, got 450 to 550; pass stored rows"),
    "negative": ((-1, 99), ONES, ": rows: expected a whole number of at least 0, got -1"),
    "no rows": ((5, 5), ONES, "expected rows from 0 to 500 of volume, got 5 to 5"),
    "step": (range(0, 200, 2), ONES, "expected a batch of iter_sample, a range of step 1 or"),
    "list": ([0, 100], ONES, r"or \(start, stop\), got \[0, 100\]"),
    "begins within": ((350, 450), ONES, "expected each row once, got rows 350 to 450, and row 350 was added before"),
    "ends within": ((200, 300), ONES, "and row 250 was added before; add every batch once"),
    "around": ((200, 450), np.ones(250), "and row 250 was added before"),
    "again": ((250, 400), np.ones(150), "and row 250 was added before"),
    "width": ((0, 100), np.ones((100, 3)), r"expected float64 of shape \(n,\), .*, got float64 of shape \(n, 3\)"),
    "dtype": ((0, 100), ONES.astype("f4"), r"got float32 of shape \(n,\); use one dtype and width"),
    "text": ((0, 100), np.full(100, "a"), "expected numbers of at most 8 bytes, got dtype <U1"),
    "gradients": ((0, 100), torch.ones(100, requires_grad=True), "expected an array, got Tensor .*detach"),
}


@pytest.mark.parametrize(("rows", "values", "message"), REFUSALS.values(), ids=REFUSALS)
def test_invalid_predictions_are_refused_and_leave_nothing(
    store: Path, out: Path, rows: Any, values: Any, message: str
) -> None:
    """Rows 250 to 400 were added before."""
    with pytest.raises(ArgumentError, match=rf"^sample 'run_1'.*{message}"):
        add_all(open_writer(store, out), [((250, 400), np.ones(150)), (rows, values)])
    assert everything_below(out.parent) == []


def add_all(writer: PredictionWriter, batches: Iterable[tuple[Any, Any]]) -> None:
    with writer:
        for rows, values in batches:
            writer.add(rows, {"q": values})


def test_a_prediction_with_the_name_of_a_field_is_refused(store: Path, out: Path) -> None:
    with (
        pytest.raises(ArgumentError, match=r"the field of that name is exported too; .*'predicted_volume_sdf'"),
        open_writer(store, out, fields=["volume_sdf"]) as writer,
    ):
        writer.add((0, 1), {"volume_sdf": np.ones(1)})


def test_batches_of_another_domain_or_sample_are_refused(store: Path, out: Path) -> None:
    batch = next(batches(store, domain="surface"))
    with (
        pytest.raises(
            ArgumentError, match=r"its domain volume, got a batch of sample 'run_1', domain surface; .* fields of one"
        ),
        open_writer(store, out) as writer,
    ):
        writer.add(batch, {"q": np.ones(150)})
    other = SampleBatch("run_2", "volume", range(150), {})
    with pytest.raises(ArgumentError, match="got a batch of sample 'run_2'"), open_writer(store, out) as writer:
        writer.add(other, {"q": np.ones(150)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "sample 'run_1': no predictions were added; call add with each batch"),
        ([(0, 400)], r"prediction 'q': expected all 500 rows, got 400, and the first missing rows are 400 to 500; add"),
        ([(400, 500), (10, 50)], "got 140, and the first missing rows are 0 to 10; add the batches"),
        ([(400, 500), (0, 50), (50, 60), (70, 80)], "got 170, and the first missing rows are 60 to 70"),
    ],
)  # fmt: skip
def test_missing_rows_are_named_and_leave_nothing(
    store: Path, out: Path, given: list[tuple[int, int]], message: str
) -> None:
    writer = open_writer(store, out)
    with pytest.raises(ArgumentError, match=message):
        add_all(writer, [(rows, np.ones(rows[1] - rows[0])) for rows in given])
    assert everything_below(out.parent) == []
    with pytest.raises(ArgumentError, match="nothing was exported yet"):
        _ = writer.export


def test_an_exception_in_the_block_leaves_nothing(store: Path, out: Path) -> None:
    """An existing file stays, and the exception of the block is raised."""
    add_all(open_writer(store, out), [((0, N_CELLS), np.ones(N_CELLS))])
    former, before = visible_files(out), held_files()
    writer = open_writer(store, out, overwrite=True)
    with pytest.raises(ZeroDivisionError):
        add_all(writer, failing_batches())
    assert (visible_files(out), everything_below(out)) == (former, ["out.vtu"])
    assert held_files() == before
    with pytest.raises(ArgumentError, match="nothing was exported yet"):
        _ = writer.export


def failing_batches() -> Iterator[tuple[tuple[int, int], Any]]:
    """All rows, and then an error of the model."""
    yield (0, N_CELLS), np.zeros(N_CELLS)
    raise ZeroDivisionError


def test_predictions_outside_the_block_are_refused(store: Path, out: Path) -> None:
    writer = open_writer(store, out)
    with pytest.raises(ArgumentError, match="the writer is closed; add predictions within its with block"):
        writer.add((0, N_CELLS), {"q": np.ones(N_CELLS)})
    with writer:
        writer.add((0, N_CELLS), {"q": np.ones(N_CELLS)})
    with pytest.raises(ArgumentError, match="the writer is closed"):
        writer.add((0, N_CELLS), {"q": np.ones(N_CELLS)})


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"sample_id": "run_9"}, UnknownNameError, "run_9"),
        ({"domain": "volum"}, UnknownNameError, "did you mean 'volume'"),
        ({"fields": ["volume_sd"]}, UnknownNameError, "did you mean 'volume_sdf'"),
        ({"fields": "volume_sdf"}, ArgumentError, r"write \['volume_sdf'\]"),
        ({"fields": ["volume_sdf", "surface_area"]}, ArgumentError, "do not belong to one domain"),
        ({"association": "cells"}, ArgumentError, "association: expected one of cell, point, got 'cells'"),
        ({"onto": "nowhere.vtu"}, ArgumentError, "onto: nowhere.vtu does not exist"),
        ({"onto": BODY_MESH, "domain": "volume"}, MeshError, "expected a mesh with the number of points of the sample"),
        ({"parts": ["bod"]}, ArgumentError, "the mesh has no part 'bod'"),
        ({"target": "out.vtp"}, MeshError, "write a .vtu"),
        ({"target": "out.npz", "onto": None}, ArgumentError, "expected one domain, got surface, volume; set domain"),
    ],
)  # fmt: skip
def test_an_invalid_export_is_refused_before_any_prediction(
    store: Path, out: Path, settings: dict[str, Any], kind: type[StoreError], message: str
) -> None:
    """No model has to run for it."""
    arguments: dict[str, Any] = {"sample_id": "run_1", "target": "out.vtu", "onto": CELLS_MESH, **settings}
    target = out / arguments.pop("target")
    with pytest.raises(kind, match=message):
        PredictionWriter(store, arguments.pop("sample_id"), target, **arguments)
    assert not out.exists()


def test_a_store_with_an_unknown_shuffle_is_refused_at_once(tmp_path: Path, out: Path) -> None:
    root = write_samples(tmp_path / "store", {"run_1": load_cells()})
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"shuffle_algorithm": "hash-v1"', '"shuffle_algorithm": null'))
    for settings in ({"onto": CELLS_MESH, "check_positions": False}, {"onto": None}):
        target = out / ("out.vtu" if settings["onto"] else "out.npz")
        with pytest.raises(OriginalOrderError, match="the order of the source is unknown"):
            PredictionWriter(root, "run_1", target, **settings)


def test_an_array_of_the_mesh_is_refused_with_the_first_batch(store: Path, out: Path) -> None:
    with (
        pytest.raises(
            MeshError, match=r"of the mesh already has cell data 'p'; .* use another name for the prediction"
        ),
        open_writer(store, out) as writer,
    ):
        writer.add((0, 1), {"p": np.zeros(1)})


def test_predictions_are_kept_in_an_unnamed_file_by_the_target(
    store: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the directory does not exist yet, its nearest parent is used, and not the system's temporary directory."""
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    before = held_files()
    with open_writer(store, out / "deep") as writer:
        writer.add((0, 300), {"q": np.ones(300)})
        [file] = held_files() - before
        assert re.fullmatch(rf"{out.parent}/.*\(deleted\)", file)
        assert everything_below(out.parent) == []
        writer.add((300, N_CELLS), {"q": np.ones(200)})
    assert held_files() == before
    assert everything_below(out) == ["deep", "deep/out.vtu"]


def held_files() -> set[str]:
    """The paths of the files that this process has open."""
    return {str(link.readlink()) for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()}


# Files of more than 2 kB cannot be written, as on a disk that is full.
ON_A_FULL_DISK = """
import resource, sys
import numpy as np
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.export import PredictionWriter

store, target, onto = sys.argv[1:]
with PredictionWriter(store, "run_1", target, onto=onto) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
    writer.add((0, 100), {"q": np.ones(100)})
    try:
        writer.add((100, 400), {"q": np.ones(300)})
    except StorageError as error:
        print(error)
    # The rows count as missing still, and may come again.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
    raise SystemExit(0)
"""


@pytest.mark.slow
def test_a_full_disk_is_named(store: Path, out: Path) -> None:
    """The error has the directory of the temporary file."""
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(store), str(out / "out.vtu"), str(CELLS_MESH)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    start = f"sample 'run_1', prediction 'q': cannot write a temporary file in {out.parent} (File too large); make room"
    assert done.stdout.startswith(start), done.stderr
    assert everything_below(out.parent) == []


def test_rows_can_be_added_again_after_a_failed_write(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[FailingFile] = []

    def open_file(**settings: Any) -> FailingFile:
        opened.append(FailingFile(make(**settings)))
        return opened[0]

    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    with open_writer(store, out) as writer:
        writer.add((0, 300), {"q": np.ones(300)})
        opened[0].fails = True
        with pytest.raises(StorageError, match="No space left"):
            writer.add((300, N_CELLS), {"q": np.ones(200)})
        opened[0].fails = False
        writer.add((300, N_CELLS), {"q": np.full(200, 2.0)})
    written = np.asarray(read_with_pyvista(out / "out.vtu").cell_data["q"])
    assert sorted(written.tolist()) == [1.0] * 300 + [2.0] * 200


class FailingFile:
    """A file on a disk that is full for a while."""

    def __init__(self, file: Any) -> None:
        self._file, self.fails = file, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        if self.fails:
            raise OSError(28, "No space left on device")
        return int(self._file.write(data))


def test_memory_holds_one_batch_until_the_export(tmp_path: Path, out: Path) -> None:
    n_points, step = 400_000, 20_000
    positions = np.zeros((n_points, 3), np.float32)
    root = write_samples(tmp_path / "store", {"run_1": {"volume_position": positions}}, FileMap(volume_position="a"))
    with PredictionWriter(root, "run_1", out / "out.npz") as writer:
        writer.add((0, step), {"q": np.ones((step, 4))})
        tracemalloc.start()
        try:
            for first in range(step, n_points, step):
                writer.add((first, first + step), {"q": np.full((step, 4), float(first))})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    batch_bytes = step * 4 * 8
    assert peak < 3 * batch_bytes < 20 * batch_bytes == n_points * 32
