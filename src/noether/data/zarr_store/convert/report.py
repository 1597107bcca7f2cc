"""The results of a conversion, and conversion.json, the report beside the manifest."""

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

# The report keeps this number of the latest invocations: a store may grow every day.
_MAX_RUNS = 100
# Limit for the JSON values of a report, counted by commas. A record has nine values and one for each domain, and the
# commas of a traceback count, too. The limit is enough for 350,000 samples, or for fewer if many failed.
_MAX_VALUES = 1 << 22

Outcome = Literal["converted", "skipped", "failed"]
RunKind = Literal["convert", "add-fields", "map-fields"]
Association = Literal["cell", "point"]


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The result of one sample.

    Attributes
    ----------
    sample_id : str
        Id of the sample.
    outcome : {"converted", "skipped", "failed"}
        ``"skipped"`` samples were complete before. In an addition of fields, ``"converted"`` samples got the fields.
    entry : SampleEntry or None
        Entry of the sample in the manifest; None if the sample failed.
    reason : str
        Reason of the failure.
    trace : str
        Traceback of the failure.
    seconds : float
        Time spent on the sample.
    source_bytes, stored_bytes : int
        Bytes of the source arrays and of the written objects, if the sample was converted.
    peak_memory_bytes : int
        Peak memory of the process up to the end of the sample.
    associations : dict of str to {"cell", "point"}
        By domain, whether its points are the cells or the points of a mesh; only domains that come from a mesh.
    position_losses : tuple of PositionLoss
        Positions that lose too many digits.
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
    """The results of all samples, in the order of completion.

    Attributes
    ----------
    results : list of SampleResult
        One result per sample.
    seconds : float
        Time of the whole conversion.
    is_indexed : bool
        Whether the store has a chunk index now.
    warnings : list of str
        Warnings about all samples of the store together, each with its remedy.
    precision_warning : str
        Text of the warning about positions that lose too many digits; empty if there are none.
    """

    results: list[SampleResult] = field(default_factory=list)
    seconds: float = 0.0
    is_indexed: bool = False
    warnings: list[str] = field(default_factory=list)
    precision_warning: str = ""

    def having(self, outcome: Outcome) -> list[SampleResult]:
        """Return the results with one outcome, sorted by sample id."""
        return sorted((r for r in self.results if r.outcome == outcome), key=lambda result: result.sample_id)


class SampleRecord(BaseModel):
    """The record of a sample in conversion.json; see `SampleResult`, and `RunRecord` for `run`."""

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
    """The record of one invocation in conversion.json.

    Attributes
    ----------
    kind : {"convert", "add-fields", "map-fields"}
        Kind of the invocation.
    run, host : str
        Id of the invocation, and name of the machine that it was started on.
    started, ended : str
        Times, ISO 8601 in UTC; `ended` is empty during the invocation, and after a kill.
    settings : dict
        Arguments of the call, without the options of file systems, which may contain secrets.
    versions : dict of str to str
        Versions of Python and of the libraries that produce the stored bytes.
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
    """The content of conversion.json: the latest invocations that wrote to a store, and the last result of each sample.

    Attributes
    ----------
    runs : list of RunRecord
        The latest 100 invocations, in the order of their first save.
    samples : dict of str to SampleRecord
        By sample id, the result of its last conversion.
    additions : dict of str to SampleRecord
        By sample id, the result of the last addition of fields.
    """

    runs: list[RunRecord] = []
    samples: dict[str, SampleRecord] = {}
    additions: dict[str, SampleRecord] = {}

    @classmethod
    def parse(cls, data: bytes | None, origin: str) -> ReportFile:
        """Parse a report from its JSON, or return an empty report if `data` is None.

        Raises
        ------
        CorruptDataError
            The data are not a valid report.
        """
        if data is None:
            return cls()
        try:
            return cls.model_validate(parse_document(data, max_values=_MAX_VALUES, finite=False))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"]))
            reason = f"{where + ': ' if where else ''}{problem['msg']}"
            raise CorruptDataError(f"{origin}: expected a conversion report ({reason}); remove the file") from error
        except ValueError as error:
            raise CorruptDataError(f"{origin}: expected a conversion report ({error}); remove the file") from error

    @classmethod
    def load(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> ReportFile:
        """Read the report of the store at `root`, a path or URL; for errors see `parse`."""
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
        """Add results of an invocation to the report at `root` atomically, and return the new report.

        Results that other invocations add at the same time are kept.
        """
        origin, added, report = join(root, REPORT_NAME), list(results), cls()

        def change(current: bytes | None) -> bytes:
            nonlocal report
            report = cls.parse(current, origin).with_results(run, added)
            return report.to_json()

        open_storage(root, storage_options).update(REPORT_NAME, change)
        return report

    def with_results(self, run: RunRecord, results: Iterable[SampleResult]) -> ReportFile:
        """Return a copy with new results of an invocation; `run` replaces the former record of this invocation.

        A sample that was skipped keeps the record of its conversion.
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
        """Return a copy without the records of some samples."""
        kept = {
            name: {sample_id: one for sample_id, one in records.items() if sample_id not in sample_ids}
            for name, records in (("samples", self.samples), ("additions", self.additions))
        }
        return self.model_copy(update=kept)

    def to_json(self) -> bytes:
        """Return the bytes of the file, with their checksum."""
        return with_checksum(to_json(ZERO_CHECKSUM | self.model_dump(mode="json"), indent=1) + b"\n")

    def failed(self, kind: RunKind = "convert") -> set[str]:
        """Return the ids of the samples that failed in the last invocation of this kind that visited them."""
        records = self.samples if kind == "convert" else self.additions
        return {sample_id for sample_id, record in records.items() if record.outcome == "failed"}


def _record(result: SampleResult, run: RunRecord, known: SampleRecord | None) -> SampleRecord:
    # A failure leaves the stored sample, and so its associations, unchanged.
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
