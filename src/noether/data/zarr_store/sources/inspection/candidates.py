"""Candidates for domains, and the choice among them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in, is_outer
from noether.data.zarr_store.sources.inspection.fields import DomainTable, toml_text
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["Candidate", "Choice", "choose"]

# Formats in order of preference: those that hold more of a mesh come first.
_FORMATS = (
    *(".vtu", ".vtp", ".pvtu", ".pvtp", ".vtkhdf", ".vtm", ".vtk", ".cgns", ".case"),
    *(".h5", ".hdf5", ".hdf", ".npz", ".pt", ".npy", ".stl"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A domain that one file, or several files of one array each, can provide.

    Attributes
    ----------
    kind : {"surface", "volume"}
        Kind of the domain.
    pattern : str
        Pattern of its file, or of the first of its files.
    n_samples : int
        Number of samples that have the file.
    sizes : frozenset of int
        Possible numbers of points of the domain: the number of cells and the number of points of a mesh.
    table : callable
        Takes the name of the domain, and returns its table.
    """

    kind: str
    pattern: str
    n_samples: int
    sizes: frozenset[int]
    table: Callable[[str], DomainTable]

    @property
    def suffix(self) -> str:
        return suffix_of(self.pattern)

    @property
    def stem(self) -> str:
        return PurePosixPath(self.pattern).stem

    @property
    def shown(self) -> str:
        """Text for comments: the pattern, and the number of samples that have the file."""
        return f"{toml_text(self.pattern)} ({self.n_samples:,} sample{'s' if self.n_samples > 1 else ''})"

    def is_same(self, other: Candidate) -> bool:
        """Return whether two candidates are the same domain in different formats."""
        if self.kind != other.kind or self.suffix == other.suffix:
            return False
        return bool(self.sizes & other.sizes) or ".stl" in {self.suffix, other.suffix}


@dataclass(frozen=True, slots=True)
class Choice:
    """Tables of the chosen domains, and remarks about the others."""

    tables: list[DomainTable]
    remarks: list[str]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """Choose the domains: one candidate of each domain, and no boundary of the flow if there is a body."""
    taken: list[Candidate] = []
    remarks: list[str] = []
    for candidate in sorted(candidates, key=_preference):
        same = next((one for one in taken if candidate.is_same(one)), None)
        if same is not None:
            remarks.append(
                f"# used: the {candidate.kind} of {same.shown}; left out: {candidate.shown}, the same {candidate.kind} "
                "in another format"
            )
        elif _is_boundary(candidate) and any(one.kind == "surface" and not _is_boundary(one) for one in candidates):
            remarks.append(f"# left out, a boundary of the flow by its name: {toml_text(candidate.pattern)}")
        else:
            taken.append(candidate)
    named: dict[str, Candidate] = {}
    for candidate in taken:
        named[_free_name(named, candidate)] = candidate
    order = {candidate.pattern: number for number, candidate in enumerate(candidates)}
    shown = sorted(
        named, key=lambda name: (named[name].kind != "surface", name != named[name].kind, order[named[name].pattern])
    )
    return Choice([named[name].table(name) for name in shown], remarks)


def _preference(candidate: Candidate) -> tuple[bool, int, int, bool, str]:
    is_named = domain_named_in(candidate.stem) == candidate.kind
    # STL has no fields.
    has_none = candidate.suffix == ".stl"
    rank = _FORMATS.index(candidate.suffix) if candidate.suffix in _FORMATS else len(_FORMATS)
    return has_none, -candidate.n_samples, rank, not is_named, candidate.pattern


def _is_boundary(candidate: Candidate) -> bool:
    return candidate.kind == "surface" and is_outer(candidate.stem)


def _free_name(taken: dict[str, Candidate], candidate: Candidate) -> str:
    if candidate.kind not in taken:
        return candidate.kind
    own, above = (_as_name(text) for text in (candidate.stem, PurePosixPath(candidate.pattern).parent.name))
    # Two files with a common name such as internal.vtu get the names of their directories.
    name = above if above and (not own or domain_named_in(own) is not None) else own or candidate.kind
    names = (f"{name}{number or ''}" for number in range(len(taken) + 2))
    return next(name for name in names if name not in taken)


def _as_name(text: str) -> str:
    """Return a text as the name of a domain, without placeholders."""
    return re.sub("[^a-z0-9]+", "", re.sub(r"\{.*?\}", "", text).lower()).lstrip("0123456789")
