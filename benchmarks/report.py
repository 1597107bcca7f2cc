"""Writing the results as a page of documentation. All numbers on it come from the JSON files of benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.earlier import BEFORE
from benchmarks.plots import plot_comparison
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.settings import COMPARISONS, Settings

__all__ = ["write_report"]


@dataclass(frozen=True)
class _Chapter:
    title: str
    text: str


_INTRODUCTION = """\
# Benchmarks

<!-- Written by ./scripts/bench from benchmarks/results/*.json: change those, not this page. -->

`./scripts/bench` runs a small version within two minutes, `./scripts/bench --full` runs all comparisons at full size,
and `--only NAME` runs one of them.

- The sample is made from the bundled Ahmed body runs: their cells are repeated and moved, their values changed
  smoothly. It has four fields: position as float32, pressure, velocity and vorticity as float16.
- All contenders read the same points, shuffled in the same way, in chunks of the same size, and return the same float32
  arrays. The results are compared with the source before the measurement.
- Contenders take turns in one process, each time in another order. Times are medians and quartiles, with the data in
  the page cache, and with files, stores and clients already open, unless a table states otherwise.
- Pictures show medians, with a line from the first to the third quartile. Bars begin at 0. Where medians differ by more
  than 20 times, they are dots on a logarithmic axis. Pictures of the same contenders have the same axis.
- A target is the figure that this library should reach. Missed targets are marked.
"""

_ON_GPU = """\
## Training on a GPU

`python -m benchmarks.gpu_training` trains a small network on draws of a store on a local disk, on a machine of 16
cores. Waiting is the share of the time in which the training has no batch; copies to the GPU do not count. First, the
script checks that pinned batches of several workers have, on the GPU, the same values as items of the dataset. The
peers read the same store by `array[start:stop]`, and `.pt` files of the same samples."""

_CHAPTERS = {
    "draws": _Chapter(
        "A draw from local disk",
        "All four fields of 16,384 random points.\n\n"
        "- *Slices* and *fancy* read the points of a run of whole chunks, by `array[start:stop]` or "
        "`array.oindex[rows]`. In a domain of fewer than 512 chunks, draws of this library begin at any row, and so "
        "read and decode up to one chunk more.\n"
        "- *Decoding alone* has the bytes of the same chunks in memory, and writes the drawn rows to existing arrays.\n"
        "- *Rows anywhere* draws each point separately, as is necessary if points are not shuffled; so do the `.pt` "
        "files.\n"
        "- h5py reads a file with the same compressor and no checksums. Its cache of decoded chunks is off, because a "
        "loop over many samples does not profit from it.\n"
        "- tensorstore with a cache can find chunks that it has decoded before.\n"
        "- The floor copies and casts neighbouring rows of uncompressed files.\n"
        "- Without compression, the contenders are processes that take turns, because MosaicML Streaming needs an "
        "older NumPy. A record of it holds 16,384 points as raw bytes, without a checksum, and is read whole. Its time "
        "varies from run to run, from 0.4 to 1.3 ms here, and with it the number of these targets that are met.",
    ),
    "whole": _Chapter("A whole sample from local disk", "All points of all four fields, in stored order."),
    "iteration": _Chapter(
        "A whole sample, batch by batch",
        "All points of position and pressure, in stored order. `iter_sample` yields batches, and the loop drops "
        "them. The whole read returns one array per field. Both decode in one thread. Memory is the peak growth of a "
        "fresh process.",
    ),
    "loading": _Chapter(
        "Loading for training",
        "A PyTorch `DataLoader` with two spawned workers sends batches of eight draws of 16,384 points, as float32 "
        "tensors, to a process that drops them.\n\n"
        "- Times are per sample, from the first to the last batch of an epoch. Workers are running and have opened "
        "their files.\n"
        "- The datasets of the peers read as in *A draw from local disk* and collate with PyTorch's default.\n"
        "- *The first batch* includes the making of the dataset: its manifest is read, and two workers are started, "
        "which import PyTorch unless they are forked.\n"
        "- The memory of a worker is its resident memory after 1,000 draws from 500 samples, minus that after ten "
        "draws. The larger of two workers counts.",
    ),
    "stats": _Chapter(
        "Statistics of a sample",
        "Mean, standard deviation, extremes, and mean and standard deviation on the log scale, of every component of "
        "all four fields. The passes over zarr-python compute them with `RunningStats` of this library, from whole "
        "arrays or chunk by chunk. The last one casts whole arrays to float64 and computes each figure with NumPy. A "
        "tolerance adds 95 % confidence intervals of the means. *True means inside* is the share of them that contain "
        "the mean of all points, over one choice of chunks per seed. Bytes are those of all files that were read, "
        "including the manifest.",
    ),
    "verify": _Chapter(
        "Verifying a store",
        "A store of one sample. The level *data* verifies the checksum of every chunk, decompresses it and counts "
        "non-finite values, and reads all metadata and indexes. *Index* reads no chunk. A whole read also verifies "
        "checksums, and returns float32. The two draws differ only in `verify_checksums`.",
    ),
    "weighted": _Chapter(
        "A draw that follows a weight",
        "A dataset returns one named draw of position, pressure and velocity. The weight is 1/(|d| + 0.02 m), with the "
        "distance d to the surface of the bundled simulations. Four times the points are read, with their distances, "
        "and a quarter of them is chosen. *Uniform, 4 times the points* reads as many points, without a choice.",
    ),
    "s3": _Chapter(
        "A draw from S3",
        "The server is SeaweedFS, on the same machine.\n\n"
        "- This library uses its defaults, with at most 16 requests in flight. zarr-python has eight for each field, "
        "and reads the four fields at the same time.\n"
        "- *One range request* fetches the bytes of the largest of the four fields of a draw, and decodes nothing.\n"
        "- With the delay, each request waits 25 ms at a proxy before it reaches the server.\n"
        "- The proxy counts the requests, the bytes of their responses, and the rounds: the longest chain of requests "
        "that each came after the response to the one before. A draw waits for the delay once per round.\n"
        "- In *first draw of a sample*, each draw is from a sample that was not read before. Clients and connections "
        "are open, and the store has no chunk index.",
    ),
    "cache": _Chapter(
        "A remote store with a cache",
        "A dataset reads all items of an epoch, one after the other, in one process. Times are per item. The server is "
        "SeaweedFS, on the same machine, behind a proxy that delays each request by 25 ms. *Cache filled* is after "
        "`fill_cache` (`noether-zarr cache fill`): all chunks are in files of this machine, which are in the page "
        "cache, like those of the local store. Requests are those of all measured epochs. *The second pass over fixed "
        "draws* is the second epoch of a dataset with `fixed=True` and a cache that was empty.",
    ),
    "write": _Chapter(
        "Writing a sample from memory",
        "The fields are float32 arrays in memory. Each write runs in a separate process; the contenders take turns. "
        "NumPy shuffles and casts the arrays for zarr-python, which writes one shard per field with the same codecs, "
        "at their default level of 5, or at level 1. All times include the permutation. This library also checks every "
        "value, measures the loss of the casts, and waits until the files are on the disk; zarr-python does not.",
    ),
    "hdf5": _Chapter(
        "Writing a sample from HDF5",
        "The fields are datasets of an HDF5 file, not arrays in memory: uncompressed, in chunks of 65,536 points. Each "
        f"write runs in a separate process; the contenders take turns. *{BEFORE}* is this library before it encoded "
        "chunks in native code, from the history of the repository, compiled, and run by the same job. zarr-python "
        "gets whole fields from h5py, and writes them as in *Writing a sample from memory*. The growth of memory is "
        "that of the resident memory, with mapped files, from before the write to its peak.",
    ),
    "npy": _Chapter(
        "Converting a sample by the command line",
        "`noether-zarr convert` converts a directory of three `.npy` files of float32: position, pressure and "
        "velocity. Times are those of the whole command, which starts Python and one worker process. "
        f"*{BEFORE}* is the same command of this library before it encoded chunks in native code, from the history of "
        "the repository, compiled. Every value of both stores is compared with the source. Memory is measured in "
        "separate runs, every 20 ms, over the command and its processes: anonymous and shared memory, and changed "
        "pages of mapped files. Unchanged pages of the mapped `.npy` files do not count, because the system drops them "
        "when it needs memory.",
    ),
    "vtu": _Chapter(
        "Converting a VTK file by the command line",
        "`noether-zarr convert` converts a `.vtu` of hexahedra, in VTK's blocks of 32,768 bytes, compressed by zlib: "
        "centres and three fields of its cells.\n\n"
        "- *VTK, reading alone* is a process that only reads the file with `vtkXMLUnstructuredGridReader`. Both times "
        "are those of whole processes.\n"
        "- Memory is measured as in *Converting a sample by the command line*.\n"
        "- *Cells of a real case* are copies of a part of an Ahmed body's mesh by snappyHexMesh, with polyhedra. All "
        "centres of the store are compared with OpenFOAM's. The points are float32 in the file.\n"
        "- *Two parts* are the bytes of one file, split. The processes that convert it may use 2 GB of memory that is "
        "not a mapped file (`RLIMIT_DATA`).",
    ),
    "conversion": _Chapter(
        "Converting many samples",
        "The source has a directory of `.pt` files per sample, one file for each field.\n\n"
        "- A process has one compressing thread, unless stated otherwise.\n"
        "- Times are those of the whole conversion: processes start and import PyTorch, which takes some two seconds "
        "whatever the size of the samples; the manifest and the chunk index are made.\n"
        "- zarr-python gets each sample from `torch.load` in a process pool, and writes it as in *Writing a sample "
        "from memory*. Both stores are compared value by value.\n"
        "- *A sample that takes no work* is either complete and unchanged, or a call of an empty function. The first "
        "time is that of a conversion of very many such samples, divided by their number, and includes the start of "
        "the processes; the second is that of a call in running processes.\n"
        "- `--dry-run` plans the memory of a worker, from the headers of files.",
    ),
    "added": _Chapter(
        "Adding a field to converted samples",
        "The samples of *Converting many samples*, by two processes of one thread each. *Converted* writes all four "
        "fields, ten values per point. *The pressure added* writes one value per point beside the other three fields. "
        "It also reads the positions of the source and compares those of 262,144 points of a sample, spread over it, "
        "with the stored ones, to make sure that the source has the same points in the same order. The last contender "
        "compares all points.",
    ),
    "many": _Chapter(
        "Many processes, one large store",
        "Eight processes convert new samples into a store in S3 that lists 100,000 samples. They start at the same "
        "time, each with its part of the samples, as the tasks of an array job.\n\n"
        "- A sample takes ten seconds, as long as the conversion of a large one, because its source waits. It has "
        "eight points, so its bytes do not matter. A process that converts for ten seconds at the rate of *Converting "
        "many samples* reads 36 million points of 40 bytes, and writes some 20 bytes for each: 2.2 GB.\n"
        "- A proxy counts the bytes of manifest and report, `conversion.json`, in both directions. A put is refused if "
        "another process has put the same object in between. It is then repeated, after another read.\n"
        "- The time of a process beside its samples includes opening the store, saving at the end, and waiting for the "
        "others to save. In this short run it saves once. In a longer one, saves between samples add at most a "
        "hundredth of the time. The target is a hundredth of an hour.",
    ),
    "manifest": _Chapter(
        "Opening a store of many samples",
        "A fresh process makes a reader; imports do not count. The samples of the manifest have one domain each, "
        "attributes, and the measured loss of four fields.",
    ),
    "size": _Chapter(
        "The cost of a draw against the size of the sample",
        "Bytes and requests for 16,384 points, as the system counts the reads of a process from local files. The first "
        "draw of a sample also reads metadata and shard indexes.",
    ),
}


def write_report(settings: Settings) -> Path:
    """Write the page and the plots from all results, and return the path of the page."""
    found = [settings.results_dir / f"{name}.json" for name in COMPARISONS]
    comparisons = [Comparison.load(path) for path in found if path.exists()]
    images = settings.docs_dir / "images"
    images.mkdir(parents=True, exist_ok=True)
    blocks = [_INTRODUCTION.rstrip()]
    if comparisons:
        blocks += _summary(comparisons)
    for comparison in comparisons:
        plot_comparison(comparison, images / f"bench-{comparison.name}.png")
        blocks += _chapter(comparison)
    on_gpu = settings.results_dir / "gpu.md"
    if on_gpu.exists():
        blocks += [_ON_GPU, on_gpu.read_text().rstrip()]
    path = settings.docs_dir / "benchmarks.md"
    path.write_text("\n\n".join(blocks) + "\n")
    return path


def _summary(comparisons: list[Comparison]) -> Iterator[str]:
    rows = [
        [f"[{_CHAPTERS[comparison.name].title}](#{comparison.name}): {case.title}", *_target_cells(target)]
        for comparison in comparisons
        for case in comparison.cases
        for target in case.targets
    ]
    n_met = sum(t.met for comparison in comparisons for case in comparison.cases for t in case.targets)
    yield "## Targets"
    yield f"{n_met} of {len(rows)} targets are met."
    yield _table(["comparison", "measure", "target", "measured", ""], rows, right=(2, 3))


def _chapter(comparison: Comparison) -> Iterator[str]:
    chapter = _CHAPTERS[comparison.name]
    yield f'<a id="{comparison.name}"></a>\n\n## {chapter.title}'
    yield chapter.text
    yield f"![{chapter.title}](images/bench-{comparison.name}.png)"
    for case in comparison.cases:
        yield f"### {case.title[0].upper()}{case.title[1:]}"
        yield _case_table(case)
    yield from _conditions(comparison)


def _case_table(case: Case) -> str:
    extra = list(dict.fromkeys(name for row in case.rows for name in row.extra))
    factor = "over ours" if case.unit != "bytes" and len(case.rows) > 1 else None
    header = ["", f"median ({_shown_unit(case.unit)})", "quartiles", *([factor] if factor else []), *extra]
    rows = []
    for row in case.rows:
        if row.error:
            rows.append([row.name, f"failed: {row.error.replace('|', ' ')}"] + [""] * (len(header) - 2))
            continue
        first, third = row.quartiles
        cells = [row.name, _number(row.median, case.unit)]
        cells.append(f"{_number(first, case.unit)} to {_number(third, case.unit)}" if len(row.values) > 1 else "")
        if factor:
            cells.append(_factor(row, case.rows[0]))
        cells += [f"{row.extra[name]:,.0f}" if name in row.extra else "" for name in extra]
        rows.append(cells)
    return _table(header, rows, right=range(1, len(header)))


def _conditions(comparison: Comparison) -> Iterator[str]:
    """Yield the parameters, the machine and the versions of a run."""
    parameters = dict(comparison.parameters)
    ratios = parameters.pop("compression_ratio", None)
    if ratios:
        yield "Compression of the generated sample and of a real one: stored bytes over bytes of the stored dtype."
        rows = [[field, f"{ratio['real']:.2f}", f"{ratio['generated']:.2f}"] for field, ratio in ratios.items()]
        yield _table(["field", "real", "made"], rows, right=(1, 2))
    machine = comparison.machine
    shown = "; ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in parameters.items())
    load = ", ".join(str(value) for value in machine["load_average"])
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    yield (
        f"<sub>{comparison.mode} run of {comparison.date}. {shown}. {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}, load average {load} at the end. {machine['system']}, Python {machine['python']}; "
        f"{versions}.</sub>"
    )


def _target_cells(target: Target) -> list[str]:
    sign = "≥" if target.at_least else "≤"
    measured = "no result" if target.measured is None else _with_unit(target.measured, target.unit)
    return [
        target.text,
        f"{sign} {_with_unit(target.limit, target.unit)}",
        measured,
        "met" if target.met else "**missed**",
    ]


def _with_unit(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:,.3g}x" if value < 1000 else f"{value:,.0f}x"
    return f"{_number(value, unit)} {_shown_unit(unit)}"


def _factor(row: Row, ours: Row) -> str:
    if not ours.values or not ours.median:
        return ""
    return f"{row.median / ours.median:.2f}"


def _number(value: float, unit: str) -> str:
    shown = value * 1e3 if unit == "s" else value
    return f"{shown:,.0f}" if shown >= 100 or unit != "s" else f"{shown:.3g}"


def _shown_unit(unit: str) -> str:
    return "ms" if unit == "s" else unit


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " and ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _table(header: list[str], rows: list[list[str]], right: Any = ()) -> str:
    aligned = ["--:" if i in right else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, aligned, *rows))
