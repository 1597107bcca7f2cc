"""The samples of a manifest: their entries, and the lazy parsing that opens a very large manifest fast.

A manifest has one line of JSON for each sample. A line is parsed at each access to its sample, and the lines of
unchanged samples are copied without parsing. A manifest in any other layout is parsed as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, MutableMapping, Set
from dataclasses import asdict, replace
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
    "CONTENT_KEY",
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

# The bytes before, between and after the lines of the samples. No string of JSON holds a raw line end.
_BEGIN = b'\n  "samples": {\n'
_BETWEEN = b",\n"
_END = b"\n  }\n}\n"

# The beginning of a line by `_to_line`, up to the end of a path without escapes.
_RELPATH = re.compile(rb' {4}"(?:[^"\\]|\\.)*": \{"relpath":"([^"\\]*)"')

# Limits, so that a manifest from an untrusted source is read or refused in bounded time and memory.
_MAX_SAMPLES = 1 << 20
_MAX_VALUES_AT_ONCE = 1 << 21

LENGTHS_KEY = "lengths_crc32c"
"""The key for the checksum of a sample's chunk lengths, which is compared with the chunk index."""
CONTENT_KEY = "content_crc32c"
"""The key for the checksums of the stored values of each field."""

Crc32c = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]

ADDED_KEY = "added_fields"
"""The key for the fields that were added to the sample after its conversion."""

SafePath = Annotated[str, AfterValidator(lambda path: check_relative_path(path, "path"))]


@dataclass(frozen=True)
class DomainSample:
    """The manifest's record of the grid of one domain of one sample."""

    n_points: int
    chunk_points: int
    shard_points: int
    n_chunks: int

    def __post_init__(self) -> None:
        if self.n_chunks != self.grid.n_chunks:
            raise ValueError(
                f"n_chunks: expected {self.grid.n_chunks:,} for {self.n_points:,} points in chunks of "
                f"{self.chunk_points:,}, got {self.n_chunks:,}"
            )

    @classmethod
    def of(cls, grid: Grid) -> Self:
        """Return the record of a grid."""
        return cls(grid.n_points, grid.chunk_points, grid.shard_points, grid.n_chunks)

    @cached_property
    def grid(self) -> Grid:
        """The chunks and shards of the domain."""
        return Grid(self.n_points, self.chunk_points, self.shard_points)

    def to_dict(self) -> dict[str, int]:
        """Return the grid in its form in the manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the grid from the result of `to_dict`; raise `ValueError` for an impossible grid."""
        return cls(**content)


def _without_rare_key(losses: dict[str, FieldFidelity], handler: SerializerFunctionWrapHandler) -> Any:
    """Return losses in their form in the manifest, with `needs_float64` only if it is true."""
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
        Path of its group, relative to the root.
    domains : dict of str to DomainSample
        The domains that the sample has.
    attributes : dict of str to JSON value
        The sample's own attributes, such as design parameters.
    fidelity : dict of str to FieldFidelity
        Loss of the cast to the stored dtype, by canonical field name.
    fingerprint : str or None
        Text that identifies the state of the source at the conversion; None if it is not known.
    added_fields : tuple of str
        Canonical names, sorted, of the fields that were added to the sample after its conversion.
    content_crc32c : dict of str to str
        Checksum of the stored values, by canonical field name. It differs when the sample was written again with other
        values. Samples of an earlier release have none.
    lengths_crc32c : str or None
        Checksum of the lengths of its chunks, as read for the chunk index. A sample that is written again has none
        until the next index is made. Comparisons of entries ignore it.
    """

    relpath: SafePath
    domains: dict[str, DomainSample]
    attributes: dict[str, JsonValue] = dataclass_field(default_factory=dict)
    fidelity: Annotated[dict[str, FieldFidelity], WrapSerializer(_without_rare_key)] = dataclass_field(
        default_factory=dict
    )
    fingerprint: str | None = None
    added_fields: tuple[PlainText, ...] = ()
    content_crc32c: dict[str, Crc32c] = dataclass_field(default_factory=dict)
    lengths_crc32c: Crc32c | None = dataclass_field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in its form in the manifest."""
        content: dict[str, Any] = _ENTRY.dump_python(self, exclude=self.left_out())
        return content

    def left_out(self) -> set[str]:
        """Return the optional keys that are empty, and so left out of the manifest."""
        return {key for key in (ADDED_KEY, CONTENT_KEY, LENGTHS_KEY) if not getattr(self, key)}

    def without_values_of(self, fields: Container[str]) -> Self:
        """Return the entry without the losses and checksums of some fields."""
        fidelity = {field: lost for field, lost in self.fidelity.items() if field not in fields}
        content = {field: digits for field, digits in self.content_crc32c.items() if field not in fields}
        return replace(self, fidelity=fidelity, content_crc32c=content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the entry from the result of `to_dict`; raise `ValueError` for an invalid entry."""
        return cls(**content)


_ENTRY = TypeAdapter(SampleEntry)


class SampleLines(MutableMapping[str, SampleEntry]):
    """Samples by id, held as the lines of a manifest and parsed at each access.

    Each access returns a new entry. To change a sample, assign an entry. Safe to read from many threads. A forked
    process shares the bytes with its parent.

    Parameters
    ----------
    domains : iterable of str
        The domains that a sample can have.
    origin : str
        Path or URL of the manifest, for errors.
    data : bytes
        A manifest's JSON.
    starts : mapping of str to int
        Offset in `data` of the line of each sample.

    Raises
    ------
    ManifestError
        At the access to a sample: its entry is malformed, or its paths leave the root.
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
        """Return the samples of both mappings, sorted by id; those of `added` take precedence.

        Returns `self` if no sample changes.
        """
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
        """Return the samples without those in `sample_ids`; nothing is parsed."""
        rest = SampleLines(self._domains, self._origin, self._data)
        rest._lines = {sample_id: line for sample_id, line in self._lines.items() if sample_id not in sample_ids}
        return rest

    def unchanged_since(self, seen: SampleLines) -> list[str]:
        """Return the ids of the samples whose lines are the same in `seen`."""
        return [one for one in self._lines if one in seen and self._line(one) == seen._line(one)]

    def with_lengths(self, checksums: Mapping[str, str]) -> SampleLines:
        """Return the samples with the given checksums of chunk lengths; unknown keys of their lines stay."""
        named = SampleLines(self._domains, self._origin, self._data)
        named._lines = dict(self._lines)
        for sample_id, checksum in checksums.items():
            _, content = _parse_line(self._line(sample_id))
            if content.get(LENGTHS_KEY) != checksum:
                member = to_json(sample_id), to_json({**content, LENGTHS_KEY: checksum})
                named._lines[sample_id] = b"    %b: %b" % member
        return named

    def relpaths(self) -> Iterator[tuple[str, str]]:
        """Yield each sample id and the path of its group; lines that this library wrote are not parsed."""
        for sample_id in self._lines:
            match = _RELPATH.match(self._line(sample_id))
            yield sample_id, self[sample_id].relpath if match is None else match[1].decode()

    def added_by_sample(self) -> Iterator[tuple[str, Set[str], Set[str]]]:
        """Yield the same as the function `added_by_sample`, without the checks of entries, and three times as fast."""
        for sample_id in self._lines:
            _, content = _parse_line(self._line(sample_id))
            said = content if isinstance(content, dict) else {}
            domains, added = (said.get(key) for key in ("domains", ADDED_KEY))
            names = (name for name in added if isinstance(name, str)) if isinstance(added, list) else ()
            yield sample_id, frozenset(domains if isinstance(domains, dict) else ()), frozenset(names)

    def lines(self) -> Iterator[memoryview | bytes]:
        """Return the line of each sample, without the comma and the line end after it."""
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
    """Return the samples of a manifest from their JSON; raise `ManifestError` at the first malformed sample."""
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
        problem = f"sample {sample_id!r}: the store has no domains {sorted(unknown)}"
        raise invalid_manifest(origin, ValueError(problem))
    return entry


def parse_json(data: bytes) -> tuple[Any, dict[str, int] | None]:
    """Parse a manifest's JSON. If each sample has its own line, leave the samples unparsed.

    The function checks that each line is one member of a JSON object with a safe id, and that the rest is JSON. So the
    lines, parsed one by one, have the same values as the whole document, parsed at once.

    Returns
    -------
    tuple of (JSON value, dict of str to int or None)
        The manifest without its samples, and the offset in `data` of the line of each sample. In any other layout, the
        whole manifest and None.

    Raises
    ------
    ValueError
        The text is not JSON (NaN and Infinity are not allowed), or it is too large: more than 1,048,576 samples, more
        than 131,072 values in a sample, or, in another layout, more than 2,097,152 values in all.
    """
    parts = _split(data)
    if parts is not None:
        return parts
    n_commas = data.count(b",")
    if n_commas >= _MAX_VALUES_AT_ONCE:
        raise ValueError(
            f"expected at most {_MAX_VALUES_AT_ONCE:,} values, or at most {_MAX_SAMPLES:,} samples with one line each, "
            f"got over {n_commas:,} values"
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
    """Return the JSON of a manifest from its samples and `rest`, the JSON without samples, indented by 2."""
    lines = list(samples.lines())
    head = rest.removesuffix(b"\n}") + b","
    if not lines:
        return head + b'\n  "samples": {}\n}\n'
    lines[0] = head + _BEGIN + lines[0]
    lines[-1] = bytes(lines[-1]) + _END
    return _BETWEEN.join(lines)


def _line_at(data: bytes, start: int) -> memoryview:
    """Return the line that begins at `start`, without the comma at its end."""
    end = data.index(b"\n", start)  # several times as fast as a search for two bytes
    return memoryview(data)[start : end - 1 if data.startswith(b",", end - 1) else end]


def _parse_line(line: memoryview | bytes) -> tuple[str, Any]:
    """Return the id of a sample and its JSON; raise `ValueError` unless the line is one member of a JSON object."""
    members: dict[str, Any] = parse_document(b"".join((b"{", line, b"}")))
    [member] = members.items()
    return member


def _to_line(sample_id: str, entry: SampleEntry) -> bytes:
    return b"    %b: %b" % (to_json(sample_id), _ENTRY.dump_json(entry, exclude=entry.left_out()))
