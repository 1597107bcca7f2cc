"""Findings of a verification, and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any, Literal, get_args

__all__ = ["LEVELS", "Finding", "FindingKind", "Findings", "Level", "Severity", "VerifyReport"]

Level = Literal["census", "index", "data", "source"]
LEVELS: tuple[Level, ...] = get_args(Level)

Severity = Literal["damage", "unchecked", "note"]
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)

FindingKind = Literal[
    "manifest_damaged",
    "report_damaged",
    "metadata_damaged",
    "entry_differs",
    "settings_differ",
    "unlisted_group",
    "missing_group",
    "half_written_group",
    "missing_array",
    "unfinished_removal",
    "unfinished_addition",
    "missing_object",
    "wrong_size",
    "leftover",
    "chunk_index_missing",
    "chunk_index_damaged",
    "shard_index_damaged",
    "chunk_damaged",
    "not_finite",
    "source_differs",
    "not_compared",
    "source_changed",
    "not_converted",
    "not_recognised",
    "unknown_sample_in_split",
    "pending_field",
]

_REPAIR, _RECONVERT = "noether-zarr repair {store}", "noether-zarr repair {store} --source SOURCE"
_WAYS_OUT: dict[FindingKind, tuple[Severity, str]] = {
    "manifest_damaged": ("damage", _REPAIR),
    "report_damaged": ("damage", _REPAIR),
    "metadata_damaged": ("damage", _REPAIR),
    "entry_differs": ("damage", _REPAIR),
    "settings_differ": ("damage", _RECONVERT),
    "unlisted_group": ("damage", _REPAIR),
    "missing_group": ("damage", f"{_RECONVERT}; or, to remove the sample from the manifest, {_REPAIR}"),
    "half_written_group": ("damage", _RECONVERT),
    "missing_array": ("damage", _RECONVERT),
    "unfinished_removal": ("damage", _REPAIR),
    "unfinished_addition": ("damage", _REPAIR),
    "missing_object": ("damage", _RECONVERT),
    "wrong_size": ("damage", _RECONVERT),
    "leftover": ("damage", _REPAIR),
    "chunk_index_missing": ("damage", _REPAIR),
    "chunk_index_damaged": ("damage", _REPAIR),
    "shard_index_damaged": ("damage", _RECONVERT),
    "chunk_damaged": ("damage", _RECONVERT),
    "not_finite": ("damage", _RECONVERT),
    "source_differs": ("damage", _RECONVERT),
    "not_compared": ("unchecked", "repair the source, or leave the sample out"),
    "source_changed": ("note", "convert the sample again to follow the source"),
    "not_converted": ("note", "noether-zarr convert SOURCE {store}"),
    "not_recognised": ("note", "no action is needed: the library ignores it"),
    "unknown_sample_in_split": ("note", "convert the sample, or remove it from the split"),
    "pending_field": (
        "note",
        "noether-zarr add-fields {store} SOURCE; or, to remove it, noether-zarr remove {store} --field FIELD",
    ),
}

_MAX_CHUNKS_NAMED = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a verification.

    Attributes
    ----------
    kind : str
        Kind of the finding, from `FindingKind`.
    severity : {"damage", "unchecked", "note"}
        Damage of the store, a check that was not possible, or a note.
    sample_id, field : str or None
        The sample and field that the finding concerns.
    object : str or None
        Key of the object, relative to the root.
    explanation : str
        Description of the problem.
    way_out : str
        Remedy.
    """

    kind: FindingKind
    severity: Severity
    sample_id: str | None
    field: str | None
    object: str | None
    explanation: str
    way_out: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification.

    Attributes
    ----------
    store_root : str
        Path or URL of the store.
    level : {"census", "index", "data", "source"}
        Level of the verification.
    n_samples, n_objects, n_bytes : int
        Number of samples and objects that were checked, and bytes of the shards that were read.
    seconds : float
        Duration of the verification.
    findings : tuple of Finding
        All findings, sorted by severity (damage first), sample and object.
    limits : tuple of str
        Kinds of damage that this verification could not find, with the reason.
    """

    store_root: str
    level: Level
    n_samples: int
    n_objects: int
    n_bytes: int
    seconds: float
    findings: tuple[Finding, ...]
    limits: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no damage was found."""
        return not self.having("damage")

    def having(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [one for one in self.findings if one.severity == severity]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {"is_sound": self.is_sound} | asdict(self)


@dataclass(slots=True)
class _DamagedChunks:
    numbers: list[int]
    first: str


@dataclass(slots=True)
class Findings:
    """Collects findings from many threads.

    Attributes
    ----------
    store_root : str
        Path or URL of the store, for the remedies.
    """

    store_root: str
    _found: set[Finding] = field(default_factory=set)
    _chunks: dict[tuple[str, str, str], _DamagedChunks] = field(default_factory=dict)
    _limits: dict[str, set[str]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(
        self,
        kind: FindingKind,
        explanation: str,
        *,
        sample_id: str | None = None,
        field: str | None = None,
        key: str | None = None,
        way_out: str | None = None,
    ) -> None:
        """Add a finding; equal findings count once. Without a remedy, it gets that of its kind."""
        severity, usual = _WAYS_OUT[kind]
        remedy = (way_out or usual).format(store=self.store_root)
        with self._lock:
            self._found.add(Finding(kind, severity, sample_id, field, key, explanation, remedy))

    def add_chunk(self, chunk: int, explanation: str, *, sample_id: str, field: str, key: str) -> None:
        """Add a damaged chunk; the damaged chunks of one shard become one finding."""
        with self._lock:
            damaged = self._chunks.setdefault((sample_id, field, key), _DamagedChunks([], explanation))
            if not damaged.numbers or chunk < min(damaged.numbers):
                damaged.first = explanation
            damaged.numbers.append(chunk)

    def add_limit(self, what: str, place: str) -> None:
        """Add a place where the verification could not find some kind of damage.

        The text `what` names the damage and the reason; all places with this text replace its ``{places}``.
        """
        with self._lock:
            self._limits.setdefault(what, set()).add(place)

    def sorted(self) -> tuple[Finding, ...]:
        """Return all findings, sorted by severity, with damage first."""
        for (sample_id, field_name, key), damaged in self._chunks.items():
            self.add("chunk_damaged", _name_chunks(damaged), sample_id=sample_id, field=field_name, key=key)
        return tuple(sorted(self._found, key=_order))

    def limits(self) -> tuple[str, ...]:
        """Return the limits of the verification."""
        return tuple(what.format(places=_name_places(places)) for what, places in sorted(self._limits.items()))


def _order(one: Finding) -> tuple[int | str, ...]:
    rank = _SEVERITIES.index(one.severity)
    return rank, one.sample_id or "", one.object or "", one.field or "", one.kind, one.explanation


def _name_chunks(damaged: _DamagedChunks) -> str:
    numbers = sorted(damaged.numbers)
    if len(numbers) == 1:
        return f"chunk {numbers[0]} is damaged: {damaged.first}"
    named = ", ".join(map(str, numbers[:_MAX_CHUNKS_NAMED])) + (", …" if len(numbers) > _MAX_CHUNKS_NAMED else "")
    return f"{len(numbers):,} chunks are damaged ({named}), the first: {damaged.first}"


def _name_places(places: set[str]) -> str:
    return min(places) if len(places) == 1 else f"{len(places):,} places, such as {min(places)}"
