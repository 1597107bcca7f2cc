"""Which files belong to one sample, and what tells samples apart in their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["SampleFiles", "domain_named_in", "files_of_first_sample", "pattern_of_names"]

# What datasets call their domains.
_SURFACE = re.compile(r"surf|boundary|wall|body|skin", re.IGNORECASE)
_VOLUME = re.compile(r"vol|internal|domain|field|fluid", re.IGNORECASE)
# One file of these is one array.
_SINGLE = {".pt", ".npy"}


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of one sample.

    Attributes
    ----------
    id : str
        Pattern of the sample ids.
    patterns : dict of str to str
        By the name of each file, the pattern of the names that it has in all samples.
    """

    id: str
    patterns: dict[str, str]


def files_of_first_sample(keys: Sequence[str], holds_several: Callable[[str], bool] = lambda _: False) -> SampleFiles:
    """Find the files of the first sample: those of its directory, or that have its number or name.

    Parameters
    ----------
    keys : sequence of str
        Names of files, relative to a root.
    holds_several : callable
        Says whether a file of a format of single arrays holds several nevertheless.
    """
    blocks = {str(PurePosixPath(key).with_suffix("")) for key in keys if suffix_of(key) == ".vtm"}
    keys = [key for key in keys if not blocks & {str(parent) for parent in PurePosixPath(key).parents}]
    prefix = _common_directory(keys)
    below = [key.removeprefix(prefix) for key in keys]
    if any("/" in key for key in below):
        found = _in_directories(below)
    else:
        found = _in_one_directory(below, prefix, lambda key: holds_several(prefix + key))
    return SampleFiles(found.id, {prefix + key: prefix + pattern for key, pattern in found.patterns.items()})


def domain_named_in(text: str) -> str | None:
    """Return the domain, ``surface`` or ``volume``, that a name speaks of."""
    return "surface" if _SURFACE.search(text) else "volume" if _VOLUME.search(text) else None


def pattern_of_names(names: Sequence[str]) -> str:
    """Return a pattern that all names fit: ``run_{n}`` where they differ in one number, else ``{case}``."""
    if len(names) == 1:
        return names[0]
    texts = {re.sub("[0-9]+", "0", name) for name in names}
    numbers = [re.findall("[0-9]+", name) for name in names]
    differing = [i for i, values in enumerate(zip(*numbers, strict=False)) if len(set(values)) > 1]
    if len(texts) > 1 or len(differing) != 1:
        return "{case}"
    counter = iter(range(len(numbers[0])))
    return re.sub("[0-9]+", lambda found: "{n}" if next(counter) == differing[0] else found[0], names[0])


def _in_directories(keys: Sequence[str]) -> SampleFiles:
    names = sorted({key.partition("/")[0] for key in keys if "/" in key}, key=_natural)
    first = names[0]
    own = sorted(key for key in keys if key.startswith(f"{first}/"))
    sample_id = pattern_of_names(names)
    patterns = {}
    for key in own:
        rest = key.removeprefix(f"{first}/")
        general = _generalized(rest, sample_id, first)
        # A digit that happens to be the sample's number is another one's too, unchanged.
        same_elsewhere = sum(f"{name}/{rest}" in keys for name in names) > 1
        patterns[key] = f"{sample_id}/{rest if same_elsewhere else general}"
    return SampleFiles(sample_id, patterns)


def _in_one_directory(keys: Sequence[str], prefix: str, holds_several: Callable[[str], bool]) -> SampleFiles:
    """Sort files that lie side by side by what they are called without their first number that differs."""
    kinds: dict[str, list[str]] = {}
    for key in sorted(keys, key=_natural):
        kinds.setdefault(re.sub("[0-9]+", "0", key), []).append(key)
    patterns = {names[0]: pattern_of_names(names) for names in kinds.values()}
    numbered = {key: pattern for key, pattern in patterns.items() if "{n}" in pattern}
    if numbered:
        stems = {pattern[: pattern.index("{n}")] + "{n}" for pattern in numbered.values()}
        return SampleFiles(stems.pop() if len(stems) == 1 else "{n}", numbered)
    first, suffixes = min(keys, key=_natural), {suffix_of(key) for key in keys}
    is_alone = len(keys) > 1 and len(suffixes) == 1 and not any(map(domain_named_in, keys))
    if is_alone and (not suffixes & _SINGLE or holds_several(first)):
        return SampleFiles("{case}", {first: "{case}" + PurePosixPath(first).suffix})
    name = PurePosixPath(prefix).name or (PurePosixPath(keys[0]).stem if len(keys) == 1 else "sample")
    return SampleFiles(name, {key: key for key in sorted(keys)})


def _generalized(text: str, sample_id: str, name: str) -> str:
    """Put the placeholder of a sample id wherever a text has what it stands for."""
    if sample_id == "{case}":
        return text.replace(name, "{case}")
    if "{n}" not in sample_id:
        return text
    before, _, after = sample_id.partition("{n}")
    number = name[len(before) : len(name) - len(after)]
    return re.sub(rf"(?<![0-9]){number}(?![0-9])", "{n}", text)


def _common_directory(keys: Iterable[str]) -> str:
    """Return the directory, with a slash, that all files lie in; empty where there is none."""
    parents = [PurePosixPath(key).parts[:-1] for key in keys]
    common: list[str] = []
    for names in zip(*parents, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return "".join(f"{name}/" for name in common)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split("([0-9]+)", text)]
