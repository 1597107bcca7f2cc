"""Finding the files of one sample, and the parts of their names that distinguish samples. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import PurePosixPath

from noether.data.zarr_store.sources.inspection.file_kinds import FileKind, VariableKind, find_kinds
from noether.data.zarr_store.sources.inspection.kind_patterns import (
    UNWRITABLE,
    KindPattern,
    common_id,
    natural_order,
    placeholders_of,
)
from noether.data.zarr_store.sources.inspection.path_tokens import split_name
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["SampleFiles", "files_of_first_sample", "group_beside", "pattern_of_names"]

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
        Pattern of each file's name in all samples, by file name.
    same_kind : dict of str to tuple of str
        Names of the corresponding files of all samples, by file name.
    remarks : list of str
        Remarks on splits, on time steps, on files that are left out, and on other files that the patterns match.
    n_samples : int
        Number of samples.
    """

    id: str
    patterns: dict[str, str]
    same_kind: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    n_samples: int = 1

    def n_files(self, key: str) -> int:
        """Return the number of samples that have a file corresponding to `key`."""
        return len(self.same_kind.get(key, (key,)))


def files_of_first_sample(
    keys: Sequence[str],
    sizes: Mapping[str, int] | None = None,
    holds_several: Callable[[str], bool] = lambda _: False,
) -> SampleFiles:
    """Find the patterns of file names that distinguish samples, and the files of the first sample.

    Parameters
    ----------
    keys : sequence of str
        Names of files, relative to a root.
    sizes : mapping of str to int, optional
        Sizes of the files. If kinds of files disagree on the samples, the largest files decide.
    holds_several : callable
        Returns whether a file of a single-array format holds several arrays.
    """
    blocks = {str(PurePosixPath(key).with_suffix("")) for key in keys if suffix_of(key) == ".vtm"}
    if blocks:
        keys = [key for key in keys if not blocks & {str(parent) for parent in PurePosixPath(key).parents}]
    kinds = find_kinds(keys, holds_several)
    taken, disjoint = _of_samples(kinds, sizes)
    keeps_split = _needs_split(taken)
    if keeps_split:
        taken = [kind for kind in taken if "split" in kind.variables]
    written = [KindPattern(kind, placeholders_of(kind.variables, keeps_split)) for kind in taken]
    written = [one.with_numbers() if one.takes_too(keys) else one for one in written]
    rest = [kind for kind in kinds if kind not in taken and kind not in disjoint]
    remarks = [
        *_remarks(written, keeps_split),
        *(remark for one in written for remark in _taken_too(one, keys)),
        *(_left_out(kind, "their samples lack the files below") for kind in disjoint),
        *(_left_out(kind, "not one file per sample") for kind in rest),
    ]
    if len(remarks) > _MAX_REMARKS:
        remarks = [*remarks[:_MAX_REMARKS], f"left out: files of {len(remarks) - _MAX_REMARKS} more kinds"]
    first = _first_sample(taken)
    files = {_file_of(one.kind, first): one for one in written}
    files = dict(sorted(files.items()))
    rows = [(kind, key) for kind in taken for key in kind.rows]
    return SampleFiles(
        common_id(written) if set(written[0].placeholders) - {"*"} else _literal_id(list(files)),
        {key: one.pattern for key, one in files.items()},
        {key: tuple(one.kind.rows) for key, one in files.items()},
        remarks,
        len({kind.rows[key] if keeps_split else kind.sample_of(key) for kind, key in rows}),
    )


def pattern_of_names(names: Sequence[str]) -> str:
    """Return a pattern for all names: ``run_{n}`` if they differ in one number, else ``{case}``."""
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
    """Return the pattern of an HDF5 group. Placeholders that the pattern of its file already has are renamed."""
    for placeholder, other in (("{n}", "{m}"), ("{case}", "{group}")):
        group = group.replace(placeholder, other) if placeholder in pattern else group
    return group


def _of_samples(kinds: Sequence[FileKind], sizes: Mapping[str, int] | None) -> tuple[list[FileKind], list[FileKind]]:
    """Return the kinds with one file per sample, and the kinds whose samples have no files of the first kinds."""
    by_signature: dict[tuple[VariableKind, ...], list[FileKind]] = {}
    for kind in kinds:
        by_signature.setdefault(kind.signature, []).append(kind)
    weights = {one: sum(_weight(kind, sizes) for kind in same) for one, same in by_signature.items()}
    same = by_signature[max(by_signature, key=lambda one: (weights[one], -len(one)))]
    samples = _samples(max(same, key=lambda kind: (len(kind.rows), _weight(kind, sizes))))
    taken = [kind for kind in same if not samples.isdisjoint(_samples(kind))]
    return taken, [kind for kind in same if kind not in taken]


def _file_of(kind: FileKind, sample: tuple[str, ...]) -> str:
    """Return the file of a sample, or the first file of the kind if the sample has none."""
    return min((key for key in kind.rows if kind.sample_of(key) == sample), default=min(kind.rows, key=natural_order))


def _taken_too(written: KindPattern, keys: Sequence[str]) -> list[str]:
    too = written.takes_too(keys)
    return (
        [] if too is None else [f"{written.pattern!r} also matches {too!r}, which becomes a sample; move it elsewhere"]
    )


def _literal_id(keys: Sequence[str]) -> str:
    """Return the name of the common directory of all files, or of the only file."""
    common = PurePosixPath(*_common(keys)).name
    name = common or (PurePosixPath(keys[0]).stem if len(keys) == 1 else "sample")
    return UNWRITABLE.sub("_", name)


def _common(keys: Sequence[str]) -> list[str]:
    common: list[str] = []
    for names in zip(*(PurePosixPath(key).parts[:-1] for key in keys), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return common


def _weight(kind: FileKind, sizes: Mapping[str, int] | None) -> int:
    return len(kind.rows) if sizes is None else sum(sizes[key] for key in kind.rows)


def _samples(kind: FileKind) -> set[tuple[str, ...]]:
    return {kind.sample_of(key) for key in kind.rows}


def _needs_split(kinds: Sequence[FileKind]) -> bool:
    """Return whether a sample id occurs in several splits, so that the id must contain the split."""
    splits: dict[tuple[str, ...], set[str]] = {}
    for kind in kinds:
        if "split" in kind.variables:
            of = kind.variables.index("split")
            for key, values in kind.rows.items():
                splits.setdefault(kind.sample_of(key), set()).add(values[of])
    return any(len(found) > 1 for found in splits.values())


def _first_sample(kinds: Sequence[FileKind]) -> tuple[str, ...]:
    """Return the first of the samples that have the most kinds of files."""
    counts = Counter(sample for kind in kinds for sample in _samples(kind))
    most = max(counts.values())
    fullest = sorted((sample for sample, count in counts.items() if count == most), key=_in_order)
    if len(kinds[0].signature) > 1 and set(kinds[0].signature) == {"number"}:
        # Use the last time step: fields can be zero in the first.
        return max((sample for sample in fullest if sample[:-1] == fullest[0][:-1]), key=_in_order)
    return fullest[0]


def _in_order(sample: tuple[str, ...]) -> list[tuple[float, list[tuple[int, str]]]]:
    return [(float(one) if _IS_NUMBER.fullmatch(one) else -inf, natural_order(one)) for one in sample]


def _remarks(written: Sequence[KindPattern], keeps_split: bool) -> list[str]:
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
        remarks.append(f"a sample id occurs in several of {', '.join(splits)}, so they are part of the ids")
    elif splits:
        remarks.append(f"the directories {', '.join(splits)} are not part of the ids; * stands for them")
    placeholders = [one for one in placeholders_of(written[0].kind.variables, keeps_split) if one != "*"]
    if "{t}" in placeholders:
        remarks.append(
            f"each combination of {' and '.join(placeholders)} is a sample, such as each time step of a case"
        )
    return remarks


def _left_out(kind: FileKind, why: str) -> str:
    first = min(kind.rows, key=natural_order)
    count = len(kind.rows)
    return f"left out, {why}: {f'{count:,} files such as ' if count > 1 else ''}{first!r}"
