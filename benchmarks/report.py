"""The results as a page of documentation: every figure on it comes from the JSON of a run."""

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

`./scripts/bench` runs in small what takes two minutes at most, `./scripts/bench --full` all of this at full size, and
`--only NAME` one part of it.

- The sample is made from the bundled Ahmed body runs: their cells repeated and moved, their values changed smoothly.
  Four fields: position as float32, pressure, velocity and vorticity as float16.
- All contenders read the same points, shuffled in the same way, in chunks of the same size, and give the same float32
  arrays. What they give is compared with the source before anything is timed.
- Contenders take turns in one process, in another order each time. Times are medians and quartiles, with the data in
  the page cache, and files, stores and clients opened before, unless a table says otherwise.
- A target is the figure that was aimed at; a target that was missed is marked so.
"""

_ON_GPU = """\
## Training on a GPU

A small network is trained on draws of a store on local disk, by `python -m benchmarks.gpu_training`, on a machine of 16
cores. Waiting is the time in which the training has no batch, over all time; copies to the GPU are not waiting. Before
that, the script requires that pinned batches of several workers have, once on the GPU, the values that the dataset
itself gives. The peers read the same store by `array[start:stop]`, and `.pt` files of the same samples."""

_CHAPTERS = {
    "draws": _Chapter(
        "A draw from local disk",
        "All four fields of 16,384 random points. The contenders named *slices* and *fancy* read the points of a run "
        "of whole chunks, by `array[start:stop]` or `array.oindex[rows]`; in a domain of fewer than 512 chunks, draws "
        "of this library begin at any row, and so read and decode up to one chunk more. *Decoding alone* has the bytes "
        "of the same chunks in memory, and writes the rows that are drawn to arrays that are there. *Rows anywhere* "
        "draws each point on its own, as one has to where points are not shuffled; so do the `.pt` files. h5py reads "
        "a file with the same compressor and no checksums; its cache of decoded chunks is switched off, as a loop over "
        "many samples has no use for it. tensorstore with a cache may find chunks that it has decoded before. The "
        "floor copies and casts neighbouring rows of uncompressed files. Without compression, the contenders are "
        "processes that take turns: MosaicML Streaming needs an older NumPy. One of its records holds 16,384 points "
        "as raw bytes, without a checksum, and is read whole. Its time varies from run to run, from 0.4 to 1.3 ms "
        "here, and so does what is met of these targets.",
    ),
    "whole": _Chapter("A whole sample from local disk", "All points of all four fields, in stored order."),
    "iteration": _Chapter(
        "A whole sample, batch by batch",
        "All points of position and pressure, in stored order. `iter_sample` yields batches, and the loop drops "
        "them; the whole read returns one array a field. Both have one thread that decodes. Memory is what a "
        "fresh process grows by at most.",
    ),
    "loading": _Chapter(
        "Loading for training",
        "A PyTorch `DataLoader` with two spawned workers gives batches of eight draws of 16,384 points, as float32 "
        "tensors, to a process that does nothing with them. Times are those of a sample, from the first to the last "
        "batch of an epoch; workers run and have opened their files before. The datasets of the peers read as in "
        "*A draw from local disk* and collate as PyTorch does by default. *The first batch* counts from the making of "
        "the dataset: its manifest is read, two workers are started, and import PyTorch where they are not forked. "
        "The memory of a worker is what is resident of it after 1,000 draws from 500 samples, less what was resident "
        "after ten; the larger of two workers.",
    ),
    "stats": _Chapter(
        "Statistics of a sample",
        "Mean, standard deviation, extremes, and mean and standard deviation on the log scale, of every component of "
        "all four fields. The passes over zarr-python compute them with the code of this library, `RunningStats`, from "
        "whole arrays or from one chunk after the other; the last one casts whole arrays to float64 and asks NumPy for "
        "each figure. With a tolerance, 95 % confidence intervals of the means are given; *true means inside* says how "
        "many of them held the mean of all points, over as many choices of chunks as there are seeds. Bytes are those "
        "of all files that were read, manifest included.",
    ),
    "verify": _Chapter(
        "Verifying a store",
        "A store of one sample. The level *data* checks the checksum of every chunk, decompresses it and counts what "
        "is not finite, besides all metadata and indexes; *index* reads no chunk. A whole read verifies checksums as "
        "well, and gives float32. The two draws differ in nothing but `verify_checksums`.",
    ),
    "weighted": _Chapter(
        "A draw that follows a weight",
        "A dataset gives one named draw of position, pressure and velocity. The weight is 1/(|d| + 0.02 m) of the "
        "distance d to the surface, as the bundled simulations have it: four times the points are read, with their "
        "distances, and a quarter of them is chosen. *Uniform, 4 times the points* reads as many and chooses none.",
    ),
    "s3": _Chapter(
        "A draw from S3",
        "The server is SeaweedFS, on the same machine. This library opens a store by its defaults, with which it has "
        "16 requests under way at most. zarr-python has eight for each field, and reads the four fields at once. *One "
        "range request* fetches as many bytes as the largest of the four fields of a draw has, and decodes nothing. "
        "Behind the delay, each request waits 25 ms at a proxy before it reaches the server. The proxy counts the "
        "requests, the bytes of their responses, and the rounds: the longest chain of requests of which each came "
        "after the response to the one before, so that a draw waits for the delay once a round. In *first draw of a "
        "sample*, each draw is from a sample that was not read before; clients and connections are open, and the store "
        "has no chunk index.",
    ),
    "cache": _Chapter(
        "A remote store with a cache",
        "A dataset reads all items of an epoch, one after the other, in one process; times are those of an item. The "
        "server is SeaweedFS, on the same machine, behind a proxy at which each request waits 25 ms. *Cache filled* is "
        "after `fill_cache` (`noether-zarr cache fill`): all chunks lie in files of this machine, which the system has "
        "in memory, as it has those of the local store. Requests are those of all epochs that are timed; *the second "
        "pass over fixed draws* is the second epoch of a dataset with `fixed=True` and a cache that was empty.",
    ),
    "write": _Chapter(
        "Writing a sample from memory",
        "The fields are float32 arrays in memory; each write runs in a process of its own, in turn. zarr-python gets "
        "them shuffled and cast by NumPy, and writes one shard a field with the same codecs, at their default level of "
        "5, or at level 1; the permutation is made within the time, in all of them. This library also checks every "
        "value, measures what the casts lose, and waits until the files are on disk, which zarr-python does not.",
    ),
    "hdf5": _Chapter(
        "Writing a sample from HDF5",
        "The fields are datasets of an HDF5 file, not arrays in memory: uncompressed, in chunks of 65,536 points. Each "
        f"write runs in a process of its own, in turn. *{BEFORE}* is this library before it encoded chunks in native "
        "code, taken from the history of the repository, compiled, and run by the same job. zarr-python gets whole "
        "fields that h5py has read, and writes them as in *Writing a sample from memory*. The growth of memory is that "
        "of what is resident, with mapped files, from before the write to its peak.",
    ),
    "npy": _Chapter(
        "Converting a sample by the command line",
        "`noether-zarr convert` converts a directory of three `.npy` files of float32: position, pressure and "
        "velocity. Times are those of the whole command, which starts Python and one worker process. "
        f"*{BEFORE}* is the same command of this library before it encoded chunks in native code, taken from the "
        "history of the repository and compiled. Every value of both stores is compared with the source. Memory is "
        "measured in runs that are not timed: the command and its processes are asked every 20 ms for what the system "
        "cannot drop. That is anonymous and shared memory, and changed pages of mapped files; unchanged pages of the "
        "mapped `.npy` files are not counted, as the system drops them when it needs memory.",
    ),
    "vtu": _Chapter(
        "Converting a VTK file by the command line",
        "`noether-zarr convert` converts a `.vtu` of hexahedra, in VTK's blocks of 32,768 bytes, compressed by zlib: "
        "centres and three fields of its cells. *VTK, reading alone* is a process that reads the file with "
        "`vtkXMLUnstructuredGridReader`, and does nothing with it. Both times are those of whole processes. Memory is "
        "measured as in *Converting a sample by the command line*. *Cells of a real case* are copies of a part of an "
        "Ahmed body's mesh by snappyHexMesh, with polyhedra; all centres of the store are compared with OpenFOAM's. "
        "The points are float32 in the file. *Two parts* are the bytes of one file, split; the "
        "processes that convert it may take 2 GB of memory that is not a mapped file (`RLIMIT_DATA`).",
    ),
    "conversion": _Chapter(
        "Converting many samples",
        "Samples lie in directories of `.pt` files, a file for each field. A process has one thread that compresses, "
        "where nothing else is said. Times are those of the whole run: processes are started, and import PyTorch, "
        "which takes some two seconds however large the samples are; the manifest and the chunk index are made. "
        "zarr-python gets each sample from `torch.load` in a process pool, and writes it as in *Writing a sample from "
        "memory*; both stores are compared value by value. *A sample "
        "that takes no work* is one that is complete and unchanged, out of very many, the start of the processes "
        "included; or a call of a function that does nothing, in processes that run. The memory of a worker is planned "
        "by `--dry-run`, from the heads of files.",
    ),
    "added": _Chapter(
        "Adding a field to samples that are there",
        "The samples of *Converting many samples*, by two processes of one thread each. *Converted* writes all four "
        "fields, ten values a point. *The pressure added* writes one value a point beside the other three fields. To "
        "be sure that the source has the same points in the same order, it reads the positions of the source, and "
        "compares those of 262,144 points of a sample, which lie all over it, with those of the store; the last "
        "contender compares all.",
    ),
    "many": _Chapter(
        "Many processes, one large store",
        "Eight processes convert new samples into a store in S3 that lists 100,000, all begun at once and each with "
        "its part, as the tasks of an array job. A sample takes ten seconds, in which its source waits, as a large "
        "one takes to be converted; it has eight points, and its bytes do not count. A process that converts for ten "
        "seconds at the rate of *Converting many samples* reads 36 million points of 40 bytes, and writes some 20 "
        "bytes for each: 2.2 GB. Bytes of manifest and report, `conversion.json`, are counted at a proxy in both "
        "directions. A put is refused where another process put the same object meanwhile; it is then made again, "
        "after another read. The time of a process beside its samples is all that it takes to open the store and to "
        "save at its end, and its wait until the others have saved. In a run this short it saves once; in a longer "
        "one, saves between samples come on top, at most a hundredth of the time. The target is a hundredth of an "
        "hour.",
    ),
    "manifest": _Chapter(
        "Opening a store of many samples",
        "A reader is made in a fresh process; imports are left out. The manifest's samples have one domain each, "
        "attributes, and the measured loss of four fields.",
    ),
    "size": _Chapter(
        "The cost of a draw against the size of the sample",
        "Bytes and requests for 16,384 points, as the system counts what a process reads from local files. The first "
        "draw of a sample also reads metadata and indices of shards.",
    ),
}


def write_report(settings: Settings) -> Path:
    """Write the page and the plots from all results that are there; give the path of the page."""
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
    """Say what was run, where and with what, so that the figures can be judged."""
    parameters = dict(comparison.parameters)
    ratios = parameters.pop("compression_ratio", None)
    if ratios:
        yield "How well the made sample compresses, against a real one: stored bytes over bytes of the stored dtype."
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
