"""Which files belong to one sample, and what tells samples apart in their names. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import PurePosixPath

from noether.data.zarr_store.sources.inspection.file_kinds import FileKind, VariableKind, find_kinds
from noether.data.zarr_store.sources.inspection.path_tokens import split_name
from noether.data.zarr_store.sources.patterns import PathPattern
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["SampleFiles", "files_of_first_sample", "group_beside", "pattern_of_names"]

_PLACEHOLDERS = {"number": "n", "name": "case", "split": "split"}
_LATER_PLACEHOLDERS = {"number": "t", "name": "name", "split": "split"}
# Patterns have no escape for these.
_UNWRITABLE = re.compile(r"[{}*\\]")
_IS_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_REMARKS = 10


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of one sample.

    Attributes
    ----------
    id : str
        Pattern of the sample ids.
    patterns : dict of str to str
        By the name of each file, the pattern of the names that it has in all samples.
    same_kind : dict of str to tuple of str
        By the name of each file, the names of the same file of all samples.
    remarks : list of str
        What the patterns leave out, and what they take for samples.
    n_samples : int
        Samples that there are.
    """

    id: str
    patterns: dict[str, str]
    same_kind: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    n_samples: int = 1

    def n_files(self, key: str) -> int:
        """Return the number of samples that have a file."""
        return len(self.same_kind.get(key, (key,)))


def files_of_first_sample(keys: Sequence[str], sizes: Mapping[str, int] | None = None) -> SampleFiles:
    """Find what tells samples apart in the names of files, and the files of the first sample.

    Parameters
    ----------
    keys : sequence of str
        Names of files, relative to a root.
    sizes : mapping of str to int, optional
        Their sizes. Where some files are one for each sample, and others one for all or several for each, the samples
        are those of the larger ones.
    """
    blocks = {str(PurePosixPath(key).with_suffix("")) for key in keys if suffix_of(key) == ".vtm"}
    keys = [key for key in keys if not blocks & {str(parent) for parent in PurePosixPath(key).parents}]
    kinds = find_kinds(keys)
    by_signature: dict[tuple[VariableKind, ...], list[FileKind]] = {}
    for kind in kinds:
        by_signature.setdefault(kind.signature, []).append(kind)
    weights = {one: sum(_weight(kind, sizes) for kind in same) for one, same in by_signature.items()}
    chosen = max(by_signature, key=lambda one: (weights[one], -len(one)))
    taken = by_signature[chosen]
    main = max(taken, key=lambda kind: (len(kind.rows), _weight(kind, sizes)))
    samples = _samples(main)
    disjoint = [kind for kind in taken if samples.isdisjoint(_samples(kind))]
    taken = [kind for kind in taken if kind not in disjoint]
    keeps_split = _needs_split(taken)
    if keeps_split:
        taken = [kind for kind in taken if "split" in kind.variables]
    written = [_Written(kind, _placeholders(kind.variables, keeps_split)) for kind in taken]
    remarks = _remarks(written, keeps_split)
    remarks += [remark for one in written for remark in _taken_too(one, keys)]
    remarks += [_left_out(kind, "of other samples than the files below") for kind in disjoint]
    rest = [kind for kind in kinds if kind not in taken and kind not in disjoint]
    remarks += [_left_out(kind, "not one for each sample") for kind in rest]
    if len(remarks) > _MAX_REMARKS:
        remarks = [*remarks[:_MAX_REMARKS], f"left out: files of {len(remarks) - _MAX_REMARKS} more kinds"]
    first = _first_sample(taken)
    files = {
        next((key for key in one.kind.rows if one.kind.sample_of(key) == first), min(one.kind.rows, key=_natural)): one
        for one in written
    }
    files = dict(sorted(files.items()))
    sample_id = _id_of(written) if chosen else _literal_id(list(files))
    return SampleFiles(
        sample_id,
        {key: one.pattern for key, one in files.items()},
        {key: tuple(one.kind.rows) for key, one in files.items()},
        remarks,
        len(
            {
                (one.kind.rows[key] if keeps_split else one.kind.sample_of(key))
                for one in written
                for key in one.kind.rows
            }
        ),
    )


def pattern_of_names(names: Sequence[str]) -> str:
    """Return a pattern that all names fit: ``run_{n}`` where they differ in one number, else ``{case}``."""
    if len(names) == 1:
        return names[0]
    split = [split_name(name) for name in names]
    if len({tuple(token.shape for token in tokens) for tokens in split}) == 1:
        columns = list(zip(*split, strict=True))
        differing = [i for i, column in enumerate(columns) if len({token.text for token in column}) > 1]
        if len(differing) == 1:
            return "".join("{n}" if i == differing[0] else column[0].text for i, column in enumerate(columns))
    return "{case}"


def group_beside(pattern: str, group: str) -> str:
    """Return the pattern of a group with placeholders that the pattern of its file does not have."""
    for placeholder, other in (("{n}", "{m}"), ("{case}", "{group}")):
        group = group.replace(placeholder, other) if placeholder in pattern else group
    return group


@dataclass(frozen=True, slots=True)
class _Written:
    """A kind of files, with the placeholders that its variables are written as."""

    kind: FileKind
    placeholders: tuple[str, ...]

    @property
    def components(self) -> list[str]:
        """The components of its pattern."""
        return [
            "".join(_literal(piece) if isinstance(piece, str) else self.placeholders[piece] for piece in component)
            for component in self.kind.components
        ]

    @property
    def pattern(self) -> str:
        return "/".join(self.components)

    @property
    def own_id(self) -> str:
        """What it would have for the id of a sample: the least components that have all placeholders."""
        named = [one for one in self.placeholders if one != "*"]
        components = self.components
        components[-1] = _up_to_last_placeholder(components[-1])
        for component in components:
            if all(one in component for one in named):
                return component.replace("*", "_")
        wanted, chosen = list(named), []
        for component in components:
            if any(one in component for one in wanted):
                chosen.append(component.replace("*", "_"))
                wanted = [one for one in wanted if one not in component]
        return "/".join(chosen)


def _placeholders(variables: Sequence[VariableKind], keeps_split: bool) -> tuple[str, ...]:
    names: list[str] = []
    for kind in variables:
        if kind == "split" and not keeps_split:
            names.append("*")
            continue
        choices = [_PLACEHOLDERS[kind], _LATER_PLACEHOLDERS[kind], *(f"{_PLACEHOLDERS[kind]}{i}" for i in range(3, 99))]
        names.append(next(f"{{{name}}}" for name in choices if f"{{{name}}}" not in names))
    return tuple(names)


def _id_of(written: Sequence[_Written]) -> str:
    ids = {one.own_id for one in written}
    return ids.pop() if len(ids) == 1 else "/".join(one for one in written[0].placeholders if one != "*")


def _literal_id(keys: Sequence[str]) -> str:
    """Return the name of the directory that all files lie in, or of the only file."""
    common = PurePosixPath(*_common(keys)).name
    name = common or (PurePosixPath(keys[0]).stem if len(keys) == 1 else "sample")
    return _UNWRITABLE.sub("_", name)


def _common(keys: Sequence[str]) -> list[str]:
    common: list[str] = []
    for names in zip(*(PurePosixPath(key).parts[:-1] for key in keys), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return common


def _up_to_last_placeholder(text: str) -> str:
    return text[: text.rfind("}") + 1]


def _literal(text: str) -> str:
    # Where a pattern cannot have a character, it takes any.
    return _UNWRITABLE.sub("*", text)


def _weight(kind: FileKind, sizes: Mapping[str, int] | None) -> int:
    return len(kind.rows) if sizes is None else sum(sizes[key] for key in kind.rows)


def _samples(kind: FileKind) -> set[tuple[str, ...]]:
    return {kind.sample_of(key) for key in kind.rows}


def _needs_split(kinds: Sequence[FileKind]) -> bool:
    """Say whether a sample is in several splits, so that only both tell it."""
    splits: dict[tuple[str, ...], set[str]] = {}
    for kind in kinds:
        if "split" in kind.variables:
            of = kind.variables.index("split")
            for key, values in kind.rows.items():
                splits.setdefault(kind.sample_of(key), set()).add(values[of])
    return any(len(found) > 1 for found in splits.values())


def _first_sample(kinds: Sequence[FileKind]) -> tuple[str, ...]:
    """Return the first of the samples that have most kinds of files."""
    counts = Counter(sample for kind in kinds for sample in _samples(kind))
    most = max(counts.values())
    complete = sorted((sample for sample, count in counts.items() if count == most), key=_in_order)
    if len(kinds[0].signature) > 1 and set(kinds[0].signature) == {"number"}:
        # Of time steps the last: fields may be zero in the first.
        return max((sample for sample in complete if sample[:-1] == complete[0][:-1]), key=_in_order)
    return complete[0]


def _in_order(sample: tuple[str, ...]) -> list[tuple[float, list[tuple[int, str]]]]:
    return [(float(one) if _IS_NUMBER.fullmatch(one) else -inf, _natural(one)) for one in sample]


def _remarks(written: Sequence[_Written], keeps_split: bool) -> list[str]:
    remarks = []
    splits = sorted(
        {
            row[kind.variables.index("split")]
            for kind in (one.kind for one in written)
            if "split" in kind.variables
            for row in kind.rows.values()
        }
    )
    if splits and keeps_split:
        remarks.append(f"a sample is in several of {', '.join(splits)}, so that they are part of the ids")
    elif splits:
        remarks.append(f"the directories {', '.join(splits)} are no part of the ids; * stands for them")
    placeholders = [one for one in written[0].placeholders if one != "*"]
    if "{t}" in placeholders:
        remarks.append(f"each {' with each '.join(placeholders)} is a sample, as each time step of a case is")
    return remarks


def _left_out(kind: FileKind, why: str) -> str:
    first = min(kind.rows, key=_natural)
    count = len(kind.rows)
    return f"left out, {why}: {f'{count:,} files such as ' if count > 1 else ''}{first!r}"


def _taken_too(written: _Written, keys: Sequence[str]) -> list[str]:
    """Say which files of another kind a pattern matches, as run_{n}.vtp does run_1_ground.vtp."""
    pattern = PathPattern.parse(written.pattern)
    others = [key for key in keys if key not in written.kind.rows and pattern.match(key) is not None]
    if not others:
        return []
    return [
        f"{written.pattern!r} also matches {min(others, key=_natural)!r}, which becomes a sample; move it elsewhere"
    ]


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split("([0-9]+)", text)]
