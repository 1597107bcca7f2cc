"""The samples of a manifest: what is said of each, and how a manifest with very many of them opens in no time.

A manifest has one line for each sample. Lines are JSON of their own, so a sample is parsed when it is asked for, and
those that nobody changes are copied as they are. A manifest in any other layout is parsed as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Set
from dataclasses import asdict
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from noether.data.zarr_store.core import Grid, check_relative_path, check_sample_id, parse_document, require_few_values
from noether.data.zarr_store.manifest.checks import PlainText, invalid_manifest
from noether.data.zarr_store.manifest.fidelity import FieldFidelity

__all__ = [
    "ADDED_KEY",
    "LENGTHS_KEY",
    "DomainSample",
    "SafePath",
    "SampleEntry",
    "SampleLines",
    "added_by_sample",
    "check_samples",
    "join_samples",
    "parse_json",
]

# What comes before, between and after the lines of the samples. No string of JSON holds a raw line end.
_BEGIN = b'\n  "samples": {\n'
_BETWEEN = b",\n"
_END = b"\n  }\n}\n"

# The line of a sample as `_to_line` begins it, up to the end of a path without escapes.
_RELPATH = re.compile(rb' {4}"(?:[^"\\]|\\.)*": \{"relpath":"([^"\\]*)"')

# So that a manifest from elsewhere is read, or refused, in bounded time and memory.
_MAX_SAMPLES = 1 << 20
_MAX_VALUES_AT_ONCE = 1 << 21

LENGTHS_KEY = "lengths_crc32c"
"""The key of an entry that an index of chunk lengths is compared with."""

ADDED_KEY = "added_fields"
"""The key of an entry that tells the fields that the sample got after it was converted."""

SafePath = Annotated[str, AfterValidator(lambda path: check_relative_path(path, "path"))]


@dataclass(frozen=True)
class DomainSample:
    """The grid of one domain of one sample, as the manifest has it."""

    n_points: int
    chunk_points: int
    shard_points: int
    n_chunks: int

    def __post_init__(self) -> None:
        if self.n_chunks != self.grid.n_chunks:
            raise ValueError(
                f"n_chunks: expected {self.grid.n_chunks} for {self.n_points} points in chunks of "
                f"{self.chunk_points}, got {self.n_chunks}"
            )

    @classmethod
    def of(cls, grid: Grid) -> Self:
        """Record a grid."""
        return cls(grid.n_points, grid.chunk_points, grid.shard_points, grid.n_chunks)

    @cached_property
    def grid(self) -> Grid:
        """The chunks and shards of the domain."""
        return Grid(self.n_points, self.chunk_points, self.shard_points)

    def to_dict(self) -> dict[str, int]:
        """Return the grid as the manifest has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the grid that `to_dict` turned into a dict; a grid that cannot be is a `ValueError`."""
        return cls(**content)


def _without_rare_key(losses: dict[str, FieldFidelity], handler: SerializerFunctionWrapHandler) -> Any:
    """Return losses as the manifest has them: `needs_float64` only where it is true."""
    content = handler(losses)
    for one in content.values():
        if not one["needs_float64"]:
            del one["needs_float64"]
    return content


@dataclass(frozen=True, slots=True, config=ConfigDict(allow_inf_nan=False))
class SampleEntry:
    """One sample of the manifest.

    Attributes
    ----------
    relpath : str
        Where its group lies, relative to the root.
    domains : dict of str to DomainSample
        The domains that the sample has.
    attributes : dict of str to JSON value
        The sample's own attributes, such as design parameters.
    fidelity : dict of str to FieldFidelity
        By canonical field name, what storing it lost.
    fingerprint : str or None
        Tells the state of the source that the sample was made from apart from others; None where it is not known.
    added_fields : tuple of str
        Canonical names, sorted, of the fields that the sample has of those that were added to samples of the store.
    lengths_crc32c : str or None
        The checksum of the lengths of its chunks, as the maker of the chunk index read them. A sample that is written
        again has none until the next index is made. Two entries that differ in nothing else are equal.
    """

    relpath: SafePath
    domains: dict[str, DomainSample]
    attributes: dict[str, JsonValue] = dataclass_field(default_factory=dict)
    fidelity: Annotated[dict[str, FieldFidelity], WrapSerializer(_without_rare_key)] = dataclass_field(
        default_factory=dict
    )
    fingerprint: str | None = None
    added_fields: tuple[PlainText, ...] = ()
    lengths_crc32c: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = dataclass_field(
        default=None, compare=False
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the manifest has it."""
        content: dict[str, Any] = _ENTRY.dump_python(self, exclude=self._left_out())
        return content

    def _left_out(self) -> set[str]:
        return {key for key in (LENGTHS_KEY, ADDED_KEY) if not getattr(self, key)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the entry that `to_dict` turned into a dict; one that no manifest can have is a `ValueError`."""
        return cls(**content)


_ENTRY = TypeAdapter(SampleEntry)


class SampleLines(MutableMapping[str, SampleEntry]):
    """Samples by id, held as the lines of a manifest and parsed whenever they are asked for.

    Every access gives a new entry; to change a sample, assign one. Safe to read from many threads. A forked process
    shares the bytes with its parent.

    Parameters
    ----------
    domains : iterable of str
        The domains that a sample can have.
    origin : str
        Where the lines come from, for errors.
    data : bytes
        A manifest's JSON.
    starts : mapping of str to int
        Where the line of each sample begins in `data`.

    Raises
    ------
    ManifestError
        A sample that is asked for is malformed, or its paths leave the root.
    """

    def __init__(
        self, domains: Iterable[str], origin: str, data: bytes = b"", starts: Mapping[str, int] | None = None
    ) -> None:
        self._domains = frozenset(domains)
        self._origin = origin
        self._data = data
        self._lines: dict[str, int | bytes] = dict(starts or {})

    @classmethod
    def of(cls, samples: Mapping[str, SampleEntry], domains: Iterable[str], origin: str) -> SampleLines:
        """Return samples as lines, in the same order."""
        if isinstance(samples, SampleLines):
            return samples
        lines = cls(domains, origin)
        lines.update(samples)
        return lines

    def __getitem__(self, sample_id: str) -> SampleEntry:
        _, content = _parse_line(self._line(sample_id))
        return _checked_entry(sample_id, content, self._domains, self._origin)

    def __setitem__(self, sample_id: str, entry: SampleEntry) -> None:
        self._lines[sample_id] = _to_line(sample_id, entry)

    def __delitem__(self, sample_id: str) -> None:
        del self._lines[sample_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._lines

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {self._origin}>"

    def __or__(self, added: Mapping[str, SampleEntry]) -> SampleLines:
        """Return the samples of both, the one in `added` where both have it, sorted by id; `self` if none changes."""
        lines = added.lines() if isinstance(added, SampleLines) else map(_to_line, added.keys(), added.values())
        changed = {
            sample_id: bytes(line)
            for sample_id, line in zip(added, lines, strict=True)
            if sample_id not in self._lines or self._line(sample_id) != line
        }
        if not changed:
            return self
        union = SampleLines(self._domains, self._origin, self._data)
        union._lines = dict(sorted((self._lines | changed).items()))
        return union

    def without(self, sample_ids: Set[str]) -> SampleLines:
        """Return all samples but some, unparsed."""
        rest = SampleLines(self._domains, self._origin, self._data)
        rest._lines = {sample_id: line for sample_id, line in self._lines.items() if sample_id not in sample_ids}
        return rest

    def unchanged_since(self, seen: SampleLines) -> list[str]:
        """Return the ids of the samples whose lines are those of `seen`."""
        return [one for one in self._lines if one in seen and self._line(one) == seen._line(one)]

    def with_lengths(self, checksums: Mapping[str, str]) -> SampleLines:
        """Return the samples, some of them with the checksums of their lengths; keys that are unknown stay."""
        named = SampleLines(self._domains, self._origin, self._data)
        named._lines = dict(self._lines)
        for sample_id, checksum in checksums.items():
            _, content = _parse_line(self._line(sample_id))
            if content.get(LENGTHS_KEY) != checksum:
                member = to_json(sample_id), to_json({**content, LENGTHS_KEY: checksum})
                named._lines[sample_id] = b"    %b: %b" % member
        return named

    def relpaths(self) -> Iterator[tuple[str, str]]:
        """Yield each sample id and the path of its group; a line that this library wrote is not parsed for it."""
        for sample_id in self._lines:
            match = _RELPATH.match(self._line(sample_id))
            yield sample_id, self[sample_id].relpath if match is None else match[1].decode()

    def added_by_sample(self) -> Iterator[tuple[str, Set[str], Set[str]]]:
        """Yield what the function of this name does; entries are not checked, so that it takes a third of the time."""
        for sample_id in self._lines:
            _, content = _parse_line(self._line(sample_id))
            said = content if isinstance(content, dict) else {}
            domains, added = (said.get(key) for key in ("domains", ADDED_KEY))
            names = (name for name in added if isinstance(name, str)) if isinstance(added, list) else ()
            yield sample_id, frozenset(domains if isinstance(domains, dict) else ()), frozenset(names)

    def lines(self) -> Iterator[memoryview | bytes]:
        """Return the line of each sample, without the comma and the line end that follow it."""
        return map(self._line, self._lines)

    def _line(self, sample_id: str) -> memoryview | bytes:
        line = self._lines[sample_id]
        if isinstance(line, bytes):
            return line
        return _line_at(self._data, line)


def added_by_sample(samples: Mapping[str, SampleEntry]) -> Iterator[tuple[str, Set[str], Set[str]]]:
    """Yield the id of each sample, its domains, and the fields that were added to it."""
    if isinstance(samples, SampleLines):
        yield from samples.added_by_sample()
    else:
        for sample_id, entry in samples.items():
            yield sample_id, entry.domains.keys(), frozenset(entry.added_fields)


def check_samples(samples: Mapping[str, Any], domains: Iterable[str], origin: str) -> dict[str, SampleEntry]:
    """Return the samples that a manifest has, from their JSON; `ManifestError` at the first that is malformed."""
    known, checked = frozenset(domains), {}
    for sample_id, content in samples.items():
        try:
            check_sample_id(sample_id)
            require_few_values(content, f"in sample {sample_id!r}")
        except ValueError as error:
            raise invalid_manifest(origin, error) from error
        checked[sample_id] = _checked_entry(sample_id, content, known, origin)
    return checked


def _checked_entry(sample_id: str, content: Any, domains: Set[str], origin: str) -> SampleEntry:
    try:
        entry = _ENTRY.validate_python(content)
    except ValidationError as error:
        raise invalid_manifest(origin, error, "samples", sample_id) from error
    unknown = entry.domains.keys() - domains
    if unknown:
        problem = f"sample {sample_id!r}: domains {sorted(unknown)} are not among the store's"
        raise invalid_manifest(origin, ValueError(problem))
    return entry


def parse_json(data: bytes) -> tuple[Any, dict[str, int] | None]:
    """Parse a manifest's JSON, but leave its samples out where each has a line of its own.

    Each such line is checked to be one member of a JSON object, with a safe id, and the rest to be JSON. So what the
    lines say is what a parser of the whole would find.

    Returns
    -------
    tuple of (JSON value, dict of str to int or None)
        All but the samples, and where the line of each begins in `data`; in any other layout all, and None.

    Raises
    ------
    ValueError
        It is no JSON; NaN and Infinity are none. Or it is too large: more than 1,048,576 samples, more than 131,072
        values of one of them, or, in another layout, more than 2,097,152 values in all.
    """
    parts = _split(data)
    if parts is not None:
        return parts
    n_commas = data.count(b",")
    if n_commas >= _MAX_VALUES_AT_ONCE:
        raise ValueError(
            f"over {n_commas:,} values; expected at most {_MAX_VALUES_AT_ONCE:,}, or at most {_MAX_SAMPLES:,} samples "
            "with a line for each"
        )
    return parse_document(data, max_values=_MAX_VALUES_AT_ONCE), None


def _split(data: bytes) -> tuple[Any, dict[str, int]] | None:
    begin, stop = data.find(_BEGIN), len(data) - len(_END)
    if begin < 0 or not data.endswith(_END) or data.endswith(b"," + _END):
        return None
    starts: dict[str, int] = {}
    start = begin + len(_BEGIN)
    try:
        if data.count(_BETWEEN, start) >= _MAX_SAMPLES:
            return None
        rest = parse_document(data[:begin] + b'"samples": {}}', max_values=_MAX_VALUES_AT_ONCE)
        while start <= stop:
            line = _line_at(data, start)
            sample_id, _ = _parse_line(line)
            starts[check_sample_id(sample_id)] = start
            end = start + len(line)
            if end < stop and not data.startswith(_BETWEEN, end):
                return None
            start = end + len(_BETWEEN)
    except ValueError:
        return None
    return rest, starts


def join_samples(rest: bytes, samples: SampleLines) -> bytes:
    """Return the JSON of a manifest from that of all but its samples, indented by 2, and the samples."""
    lines = list(samples.lines())
    head = rest.removesuffix(b"\n}") + b","
    if not lines:
        return head + b'\n  "samples": {}\n}\n'
    lines[0] = head + _BEGIN + lines[0]
    lines[-1] = bytes(lines[-1]) + _END
    return _BETWEEN.join(lines)


def _line_at(data: bytes, start: int) -> memoryview:
    """Return the line that begins there, without the comma that ends all but the last."""
    end = data.index(b"\n", start)  # several times as fast as a search for two bytes
    return memoryview(data)[start : end - 1 if data.startswith(b",", end - 1) else end]


def _parse_line(line: memoryview | bytes) -> tuple[str, Any]:
    """Return the id of a sample and its JSON; ValueError where the line is not one member of a JSON object."""
    members: dict[str, Any] = parse_document(b"".join((b"{", line, b"}")))
    [member] = members.items()
    return member


def _to_line(sample_id: str, entry: SampleEntry) -> bytes:
    return b"    %b: %b" % (to_json(sample_id), _ENTRY.dump_json(entry, exclude=entry._left_out()))
