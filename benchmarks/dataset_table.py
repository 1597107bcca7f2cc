"""``python -m benchmarks.dataset_table``: extrapolate measured rates to public datasets, for ``docs/datasets.md``.

Sizes are those that the datasets' authors published. Rates are those of ``benchmarks/results``. Memory and temporary
files are those that a conversion plans for files of these sizes, which hold nothing. No dataset is converted here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page_tables import markdown_table, write_table
from benchmarks.settings import REPOSITORY
from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import plan_conversion
from noether.data.zarr_store.layout import FieldSpec, present_specs
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.sources.presets import find_preset

__all__ = [
    "DATASETS",
    "PAGE",
    "SECONDS_A_SAMPLE",
    "Dataset",
    "Rates",
    "Work",
    "conversion_table",
    "raw_table",
    "size_table",
]

PAGE = "datasets.md"
# Time of a small sample in one process, which its number of files decides, not its size. `noether-zarr convert` of the
# bundled simulations, of ten fields each, printed 0.05 to 0.15 s on two cores that other processes used too.
SECONDS_A_SAMPLE = 0.1
_PROCESSES = 2


@dataclass(frozen=True)
class Dataset:
    """A public dataset, as published.

    Attributes
    ----------
    name : str
        Name of the dataset.
    n_samples : int
        Number of samples.
    points : dict of str to int
        Number of points of a typical sample, by domain.
    fields : tuple of str
        Attributes of `FileMap` of the stored fields.
    preset : str or None
        Preset that names its preprocessed files.
    mapping : str or None
        Mapping that describes its published files, if a rate was measured for their format.
    raw_bytes : int
        Bytes of the published volume file of a sample; 0 if not known.
    """

    name: str
    n_samples: int
    points: dict[str, int]
    fields: tuple[str, ...]
    preset: str | None = None
    mapping: str | None = None
    raw_bytes: int = 0

    @property
    def specs(self) -> list[FieldSpec]:
        """The stored fields of the domains with a known number of points."""
        files = {attribute: f"{attribute}.npy" for attribute in self.fields}
        return [spec for spec in present_specs(FileMap(**files)) if spec.domain in self.points]

    @property
    def n_values(self) -> int:
        """Number of values of a sample."""
        return sum(self.points[spec.domain] * spec.width for spec in self.specs)

    @property
    def n_points(self) -> int:
        """Number of points of a sample, of all domains."""
        return sum(self.points.values())

    def bytes_a_point(self, domain: str) -> int:
        """Return the stored bytes of a point, before compression."""
        return sum(_row_bytes(spec) for spec in self.specs if spec.domain == domain)


def _fields_of(preset: str, domains: Sequence[str] = ("surface", "volume")) -> tuple[str, ...]:
    """Return all fields of the preset in these domains, also those that some copies of the dataset lack."""
    return tuple(spec.attribute for spec in present_specs(find_preset(preset).filemap) if spec.domain in domains)


_AUTOMOTIVE = _fields_of("ahmedml")
DATASETS = (
    Dataset(
        "ShapeNet-Car",
        889,
        {"surface": 3_586, "volume": 28_504},
        _fields_of("shapenet-car"),
        preset="shapenet-car",
    ),
    Dataset(
        "AhmedML",
        500,
        {"surface": 1_070_000, "volume": 21_200_000},
        _AUTOMOTIVE,
        preset="ahmedml",
        mapping="ahmedml-raw",
        raw_bytes=5_600_000_000,
    ),
    Dataset(
        "DrivAerML",
        484,
        {"surface": 8_800_000, "volume": 150_000_000},
        _AUTOMOTIVE,
        preset="drivaerml",
        mapping="drivaerml-raw",
        raw_bytes=47_000_000_000,
    ),
    Dataset("DrivAerNet++", 8_000, {"surface": 500_000}, _fields_of("drivaernet"), preset="drivaernet"),
    Dataset(
        "WindsorML",
        355,
        {"volume": 280_000_000},
        ("volume_position", "volume_pressure", "volume_velocity"),
        mapping="mapping.toml",
        raw_bytes=21_000_000_000,
    ),
)


@dataclass(frozen=True)
class Rates:
    """Measured rates of a machine with two cores.

    Attributes
    ----------
    tree_values : float
        Values per second of samples that fit in memory, in files of one array (section "Converting many samples").
    large_values : float
        The same for a sample that does not (section "Converting a sample by the command line").
    cells : float
        Cells per second of a VTK file (section "Converting a VTK file by the command line", cells of a real case).
    ratios : dict of str to float
        Stored bytes over bytes before compression, by field, of a real sample (section "A draw from local disk").
    """

    tree_values: float
    large_values: float
    cells: float
    ratios: dict[str, float]

    @classmethod
    @cache
    def measured(cls) -> Rates:
        """Return the rates of the stored results."""
        many, one, vtk = (_result(name) for name in ("conversion", "npy", "vtu"))
        widths = {"npy": 7, "conversion": 10}  # position, pressure, velocity; and vorticity
        n_values = many["parameters"]["samples"] * many["parameters"]["points"] * widths["conversion"]
        real = next(case for case in vtk["cases"] if case["title"].endswith("cells of a real case"))
        n_cells = int(real["title"].split()[0].replace(",", ""))
        ratios = _result("draws")["parameters"]["compression_ratio"]
        return cls(
            n_values / _median(many["cases"][0], "noether, 2 processes"),
            one["parameters"]["points"] * widths["npy"] / _median(one["cases"][0], "noether"),
            n_cells / _median(real, "noether"),
            {field: both["real"] for field, both in ratios.items()},
        )


def _result(name: str) -> dict[str, Any]:
    path = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _median(case: dict[str, Any], row: str) -> float:
    return float(next(one["median"] for one in case["rows"] if one["name"] == row))


@dataclass(frozen=True)
class Work:
    """The extrapolated work of a dataset.

    Attributes
    ----------
    stored, compressed : float
        Bytes of the store, before and after compression.
    source : float
        Bytes of the arrays of the source, as float32.
    seconds : float
        Time to convert files of one array.
    raw_seconds : float
        Time to convert the published VTK files.
    memory, scratch : int
        Planned memory and temporary files of a worker, for files of one array.
    """

    stored: float
    compressed: float
    source: float
    seconds: float
    raw_seconds: float
    memory: int
    scratch: int

    @classmethod
    def of(cls, dataset: Dataset) -> Work:
        """Extrapolate the work of a dataset."""
        rates = Rates.measured()
        memory, scratch = _planned(dataset.name)
        rate = rates.large_values if scratch else rates.tree_values
        field_bytes = {
            spec.field: dataset.n_samples * dataset.points[spec.domain] * _row_bytes(spec) for spec in dataset.specs
        }
        return cls(
            sum(field_bytes.values()),
            sum(n_bytes * rates.ratios.get(field, 1.0) for field, n_bytes in field_bytes.items()),
            4.0 * dataset.n_samples * dataset.n_values,
            dataset.n_samples * (dataset.n_values / rate + SECONDS_A_SAMPLE / _PROCESSES),
            dataset.n_samples * dataset.n_points / rates.cells,
            memory,
            scratch,
        )


def _row_bytes(spec: FieldSpec) -> int:
    return spec.width * (4 if spec.name == "position" else 2)


@cache
def _planned(name: str) -> tuple[int, int]:
    """Return memory and temporary files of a worker, which the plan reads from the headers of files of holes."""
    dataset = next(one for one in DATASETS if one.name == name)
    with tempfile.TemporaryDirectory(prefix="noether-bench-") as directory:
        tree = Path(directory) / "source"
        (tree / "run_1").mkdir(parents=True)
        for spec in dataset.specs:
            shape = (dataset.points[spec.domain], spec.width)
            np.lib.format.open_memmap(tree / "run_1" / f"{spec.attribute}.npy", "w+", dtype=np.float32, shape=shape)
        source = TreeSource(tree, FileMap(**{spec.attribute: f"{spec.attribute}.npy" for spec in dataset.specs}))
        writer = ZarrStoreWriter(Path(directory) / "store", source.filemap, dataset.name, threads=1)
        plan = plan_conversion(source, writer, ["run_1"])
    return plan.memory_bytes, plan.scratch_bytes


def size_table() -> str:
    """Return the table of points and stored bytes."""
    head = [
        "dataset",
        "samples",
        "surface points",
        "volume points",
        "bytes a point",
        "store before compression",
        "store",
    ]
    rows = []
    for dataset in DATASETS:
        work = Work.of(dataset)
        a_point = [str(dataset.bytes_a_point(domain)) for domain in dataset.points]
        rows.append(
            [
                dataset.name,
                f"{dataset.n_samples:,}",
                *(
                    f"{dataset.points[domain]:,}" if domain in dataset.points else "not counted"
                    for domain in ("surface", "volume")
                ),
                " and ".join(dict.fromkeys(a_point)),
                _size(work.stored),
                _size(work.compressed),
            ]
        )
    return markdown_table(head, rows)


def conversion_table() -> str:
    """Return the table of conversions of preprocessed files, one array in each."""
    head = ["dataset", "arrays of the source", "time, 2 cores", "temporary files of a worker"]
    rows = []
    for dataset in DATASETS:
        if dataset.preset:
            work = Work.of(dataset)
            rows.append([dataset.name, _size(work.source), _duration(work.seconds), _size(work.scratch)])
    return markdown_table(head, rows)


def raw_table() -> str:
    """Return the table of conversions of published VTK files."""
    head = ["dataset", "volume files", "time, 2 cores", "temporary files of a worker"]
    rows = []
    for dataset in DATASETS:
        if dataset.mapping:
            work = Work.of(dataset)
            source = dataset.n_samples * dataset.raw_bytes
            # The points of the mesh, about one for each cell, are kept as float32 beside the rows.
            scratch = work.scratch + 12 * dataset.points["volume"]
            rows.append([dataset.name, _size(source), _duration(work.raw_seconds), _size(scratch)])
    return markdown_table(head, rows)


def _size(n_bytes: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{_two_digits(n_bytes / factor)} {unit}"
    return "none" if n_bytes == 0 else f"{_two_digits(n_bytes / 1e3)} kB"


def _duration(seconds: float) -> str:
    for unit, factor in (("h", 3600.0), ("min", 60.0)):
        if seconds >= factor:
            return f"{_two_digits(seconds / factor)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{float(f'{number:.2g}'):,.0f}"


def main() -> None:
    """Compute the tables, and write them into the page."""
    argparse.ArgumentParser(prog="python -m benchmarks.dataset_table", description=__doc__).parse_args()
    for name, table in (("sizes", size_table), ("preprocessed", conversion_table), ("published", raw_table)):
        write_table(PAGE, name, table())
        print(table(), end="\n\n")


if __name__ == "__main__":
    main()
