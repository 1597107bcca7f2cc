"""What became of the samples of a conversion, and conversion.json, which says so beside the manifest."""

from __future__ import annotations

import platform
import socket
import uuid
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError
from pydantic_core import to_json

from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.core import ZERO_CHECKSUM, parse_document, with_checksum
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.stores import join, open_storage
from noether.data.zarr_store.writing import PositionLoss

__all__ = [
    "REPORT_NAME",
    "ConversionReport",
    "Outcome",
    "ReportFile",
    "RunKind",
    "RunRecord",
    "SampleRecord",
    "SampleResult",
]

REPORT_NAME = "conversion.json"

# Of a store that is added to every day, the last runs are enough.
_MAX_RUNS = 100
# A record has nine values and one for each domain, a traceback commas of its own: enough for 350,000 samples, or fewer
# that failed.
_MAX_VALUES = 1 << 22

Outcome = Literal["converted", "skipped", "failed"]
RunKind = Literal["convert", "add-fields", "map-fields"]
Association = Literal["cell", "point"]


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What became of one sample.

    Attributes
    ----------
    sample_id : str
        Which sample.
    outcome : {"converted", "skipped", "failed"}
        Skipped samples were complete before. Of a run that adds fields, converted samples got them.
    entry : SampleEntry or None
        Its entry in the manifest, unless it failed.
    reason : str
        Why it failed.
    trace : str
        The traceback, where it failed.
    seconds : float
        Time spent on it.
    source_bytes, stored_bytes : int
        Bytes of the arrays it was made from, and of its objects, where it was converted.
    peak_memory_bytes : int
        Most memory that its process had taken by then.
    associations : dict of str to {"cell", "point"}
        By domain, whether its points are the cells or the points of a mesh, where it was converted from one.
    position_losses : tuple of PositionLoss
        The positions that lose too many digits.
    """

    sample_id: str
    outcome: Outcome
    entry: SampleEntry | None = None
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0
    source_bytes: int = 0
    stored_bytes: int = 0
    peak_memory_bytes: int = 0
    associations: dict[str, Association] = field(default_factory=dict)
    position_losses: tuple[PositionLoss, ...] = ()


@dataclass(slots=True)
class ConversionReport:
    """What became of all samples, in the order in which they were done.

    Attributes
    ----------
    results : list of SampleResult
        One for each sample.
    seconds : float
        Time that all took.
    is_indexed : bool
        Whether the store has a chunk index now.
    warnings : list of str
        What is wrong with the samples of the store taken together, and what to do.
    precision_warning : str
        The text of the warning of positions that lose too many digits; empty where none do.
    """

    results: list[SampleResult] = field(default_factory=list)
    seconds: float = 0.0
    is_indexed: bool = False
    warnings: list[str] = field(default_factory=list)
    precision_warning: str = ""

    def having(self, outcome: Outcome) -> list[SampleResult]:
        """List the samples of one outcome, by id."""
        return sorted((r for r in self.results if r.outcome == outcome), key=lambda result: result.sample_id)


class SampleRecord(BaseModel):
    """What conversion.json says of a sample; see `SampleResult`, and `RunRecord` for `run`."""

    outcome: Outcome
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0
    source_bytes: int = 0
    stored_bytes: int = 0
    peak_memory_bytes: int = 0
    associations: dict[str, Association] = {}
    run: str = ""


class RunRecord(BaseModel):
    """What conversion.json says of a run.

    Attributes
    ----------
    kind : {"convert", "add-fields", "map-fields"}
        What it did with its samples.
    run, host : str
        Its id, and the machine that it was started on.
    started, ended : str
        Times, ISO 8601 in UTC; `ended` is empty while it goes on, or where it was killed.
    settings : dict
        How it was called, without options of file systems, which may be secret.
    versions : dict of str to str
        Of Python and the libraries that make the bytes.
    """

    kind: RunKind = "convert"
    run: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    host: str = Field(default_factory=socket.gethostname)
    started: str = Field(default_factory=lambda: _now())
    ended: str = ""
    settings: dict[str, JsonValue] = {}
    versions: dict[str, str] = Field(default_factory=lambda: _versions())

    def finished(self) -> RunRecord:
        """Return a copy that ends now."""
        return self.model_copy(update={"ended": _now()})


class ReportFile(BaseModel):
    """conversion.json: all runs that wrote to a store, and what became of each sample the last time.

    Attributes
    ----------
    runs : list of RunRecord
        In the order in which they were started here.
    samples : dict of str to SampleRecord
        What became of each sample the last time that it was converted, by sample id.
    additions : dict of str to SampleRecord
        What became of each sample the last time that fields were added to it, by sample id.
    """

    runs: list[RunRecord] = []
    samples: dict[str, SampleRecord] = {}
    additions: dict[str, SampleRecord] = {}

    @classmethod
    def parse(cls, data: bytes | None, origin: str) -> ReportFile:
        """Read a report from its JSON; an empty one where there is none.

        Raises
        ------
        CorruptDataError
            It is no report.
        """
        if data is None:
            return cls()
        try:
            return cls.model_validate(parse_document(data, max_values=_MAX_VALUES, finite=False))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"]))
            reason = f"{where + ': ' if where else ''}{problem['msg']}"
            raise CorruptDataError(f"{origin}: no report of a conversion ({reason}); remove it") from error
        except ValueError as error:
            raise CorruptDataError(f"{origin}: no report of a conversion ({error}); remove it") from error

    @classmethod
    def load(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> ReportFile:
        """Read the report of the store at `root`, a path or URL; see `parse`."""
        return cls.parse(open_storage(root, storage_options).read_if_there(REPORT_NAME), join(root, REPORT_NAME))

    @classmethod
    def add(
        cls,
        root: str,
        run: RunRecord,
        results: Iterable[SampleResult],
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> ReportFile:
        """Add what a run did to the report at `root`, in one atomic step, beside what other runs add; return it."""
        origin, added, report = join(root, REPORT_NAME), list(results), cls()

        def change(current: bytes | None) -> bytes:
            nonlocal report
            report = cls.parse(current, origin).with_results(run, added)
            return report.to_json()

        open_storage(root, storage_options).update(REPORT_NAME, change)
        return report

    def with_results(self, run: RunRecord, results: Iterable[SampleResult]) -> ReportFile:
        """Return a copy with a run, in place of its former record, and what became of some samples in it.

        A sample that was only seen to be complete keeps what is known of its conversion.
        """
        records = dict(self.samples if run.kind == "convert" else self.additions)
        for result in results:
            known = records.get(result.sample_id)
            if not (result.outcome == "skipped" and known is not None and known.outcome == "converted"):
                records[result.sample_id] = _record(result, run, known)
        runs = {one.run: one for one in self.runs} | {run.run: run}
        changed = {"samples" if run.kind == "convert" else "additions": dict(sorted(records.items()))}
        return self.model_copy(update={"runs": list(runs.values())[-_MAX_RUNS:], **changed})

    def without_samples(self, sample_ids: Set[str]) -> ReportFile:
        """Return a copy that knows nothing of some samples."""
        kept = {
            name: {sample_id: one for sample_id, one in records.items() if sample_id not in sample_ids}
            for name, records in (("samples", self.samples), ("additions", self.additions))
        }
        return self.model_copy(update=kept)

    def to_json(self) -> bytes:
        """Return the bytes of the file, with their checksum."""
        return with_checksum(to_json(ZERO_CHECKSUM | self.model_dump(mode="json"), indent=1) + b"\n")

    def failed(self, kind: RunKind = "convert") -> set[str]:
        """Return the ids of the samples that failed the last time that a run did such a thing with them."""
        records = self.samples if kind == "convert" else self.additions
        return {sample_id for sample_id, record in records.items() if record.outcome == "failed"}


def _record(result: SampleResult, run: RunRecord, known: SampleRecord | None) -> SampleRecord:
    # A sample that fails leaves what the store has of it as it was.
    made = result if known is None or result.outcome == "converted" else known
    return SampleRecord(
        outcome=result.outcome,
        reason=result.reason,
        trace=result.trace,
        seconds=round(result.seconds, 3),
        source_bytes=result.source_bytes,
        stored_bytes=result.stored_bytes,
        peak_memory_bytes=result.peak_memory_bytes,
        associations=made.associations,
        run=run.run,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("zarr", "numcodecs", "numpy")}
    return {"noether-zarr-store": __version__, "python": platform.python_version(), **libraries}
