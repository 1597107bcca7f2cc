"""Many processes add samples to one large store in S3: the cost of keeping its manifest and report up to date.

``python -m benchmarks.many_writers JSON`` runs one of these processes, and prints its seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from benchmarks.conversion_jobs import TinySource
from benchmarks.costs import MANIFEST_SAMPLES, list_many
from benchmarks.data import FILEMAP, SAMPLE
from benchmarks.proxy import ObjectCounts, start_proxy
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.s3_server import BUCKET, obstore_options, serve_s3
from benchmarks.settings import REPOSITORY, Settings
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import REPORT_NAME, ReportFile, convert
from noether.data.zarr_store.manifest import MANIFEST_NAME
from noether.data.zarr_store.sources import SourceSample
from noether.data.zarr_store.stores import open_storage

__all__ = ["compare_many_writers"]

_ROOT = f"s3://{BUCKET}/store"
_PROCESSES = 8
_SAMPLE_SECONDS = 10.0
_ALLOWED = 0.02
# Targets for a conversion of an hour: a hundredth of it for opening, inspecting and the last save together, and another
# hundredth for all other saves.
_ALLOWED_SECONDS = 36.0
# Points per second of one process, and bytes that it reads and writes per point: see "Converting many samples".
_POINTS_A_SECOND = 3_600_000
_BYTES_A_POINT = 40 + 20


class SlowSource(TinySource):
    """A source of samples of eight points. Loading one takes as long as converting a large sample."""

    def sample_ids(self) -> list[str]:
        """Return the sample ids, and an id that is never converted, so that no process makes the chunk index."""
        return [f"new_{sample_id}" for sample_id in [*super().sample_ids(), "of_nobody"]]

    def load(self, sample_id: str) -> SourceSample:
        """Wait, then return the points."""
        time.sleep(_SAMPLE_SECONDS)
        return super().load(sample_id.removeprefix("new_"))


@dataclass(frozen=True)
class _Ran:
    """Seconds of a process: in total, and for its samples."""

    seconds: float
    seconds_of_samples: float


def compare_many_writers(settings: Settings) -> Comparison:
    """Add samples to a large store from several processes at once; count the traffic of manifest and report."""
    n_samples = settings.repetitions(quick=8, full=12)
    with serve_s3(settings.work_dir / "s3") as endpoint, start_proxy(endpoint, 0.0) as proxy:
        sizes = _write_store(endpoint)
        ran = _run_all(proxy.endpoint, n_samples)
        counts = proxy.counts_by_name()
        _require_all(endpoint, n_samples)
    documents = {name: counts[name] for name in (MANIFEST_NAME, REPORT_NAME)}
    parameters = {
        "samples of the store": MANIFEST_SAMPLES,
        "manifest bytes": sizes[0],
        "report bytes": sizes[1],
        "processes": _PROCESSES,
        "samples of a process": n_samples,
        "seconds of a sample": _SAMPLE_SECONDS,
        "bytes that a process moves for a sample": _bytes_of_sample(),
    }
    cases = [_time(ran), _traffic(documents, n_samples)]
    return Comparison.of("many", settings, parameters, cases)


def _bytes_of_sample() -> int:
    return round(_SAMPLE_SECONDS * _POINTS_A_SECOND * _BYTES_A_POINT)


def _time(ran: list[_Ran]) -> Case:
    others = [one.seconds - one.seconds_of_samples for one in ran]
    case = Case("time of a process beside its samples", "s", [Row("noether", others)])
    case.below(_ALLOWED_SECONDS)
    return case


def _traffic(documents: dict[str, ObjectCounts], n_samples: int) -> Case:
    rows = [
        Row(
            f"noether, {name}",
            [float(each.received + each.sent)],
            {"requests": each.requests, "puts": each.puts, "refused puts": each.refused},
        )
        for name, each in documents.items()
    ]
    case = Case("bytes of manifest and report", "bytes", rows)
    moved = sum(each.received + each.sent for each in documents.values())
    share = moved / (_PROCESSES * n_samples * _bytes_of_sample())
    case.targets.append(Target("bytes of manifest and report over those of samples", share, _ALLOWED, at_least=False))
    again = sum(each.refused for each in documents.values()) / sum(each.puts for each in documents.values())
    case.targets.append(Target("refused puts of manifest and report over all puts", again, _ALLOWED, at_least=False))
    return case


def _write_store(endpoint: str) -> tuple[int, int]:
    """Write a manifest and a report that list many samples; return the bytes of each."""
    options = obstore_options(endpoint)
    writer = ZarrStoreWriter(_ROOT, FILEMAP, "benchmark", storage_options=options)
    sample = TinySource(1).load("run_0")
    writer.write_sample(SAMPLE, sample.fields, attributes={"design_parameters": [25.0, 1.044, 0.288, 40.0]})
    many = list_many(writer.manifest)
    many.save(_ROOT, storage_options=options)
    record = {"outcome": "converted", "seconds": 10.0, "source_bytes": 2**31, "stored_bytes": 2**30, "run": "0" * 12}
    report = ReportFile.model_validate({"samples": dict.fromkeys(many.samples, record)}).to_json()
    storage = open_storage(_ROOT, options)
    storage.write(REPORT_NAME, report)
    return len(storage.read_if_there(MANIFEST_NAME) or b""), len(report)


def _run_all(endpoint: str, n_samples: int) -> list[_Ran]:
    """Start all processes at once, like an array job, and wait for them."""
    with ExitStack() as started:
        processes = []
        for part in range(1, _PROCESSES + 1):
            arguments = {"endpoint": endpoint, "part": part, "n_samples": n_samples}
            command = [sys.executable, "-m", "benchmarks.many_writers", json.dumps(arguments)]
            process = subprocess.Popen(
                command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            started.enter_context(process)
            started.callback(process.kill)
            processes.append(process)
        ran = []
        for process in processes:
            output, errors = process.communicate()
            if process.returncode:
                raise RuntimeError(errors.strip().splitlines()[-1])
            ran.append(_Ran(**json.loads(output.splitlines()[-1])))
    return ran


def _run_one(endpoint: str, part: int, n_samples: int) -> _Ran:
    """Convert the samples of one process without workers."""
    source = SlowSource(_PROCESSES * n_samples)
    start = time.perf_counter()
    writer = ZarrStoreWriter(_ROOT, FILEMAP, "benchmark", storage_options=obstore_options(endpoint))
    report = convert(source, writer, limit=_PROCESSES * n_samples, part=(part, _PROCESSES))
    seconds = time.perf_counter() - start
    if len(report.having("converted")) != n_samples:
        raise RuntimeError(f"expected {n_samples:,} converted samples")
    return _Ran(seconds, sum(result.seconds for result in report.results))


def _require_all(endpoint: str, n_samples: int) -> None:
    """Check that manifest and report list all samples."""
    options = obstore_options(endpoint)
    expected = MANIFEST_SAMPLES + _PROCESSES * n_samples
    listed = StoreManifest.load(_ROOT, storage_options=options).samples
    reported = ReportFile.load(_ROOT, storage_options=options).samples
    if (len(listed), len(reported)) != (expected, expected):
        raise RuntimeError(f"expected {expected} samples, got {len(listed)} listed and {len(reported)} reported")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_run_one(**json.loads(sys.argv[1])))) + "\n")
