"""Sorting files into kinds by their paths. Most kinds have one file per sample. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in, is_outer
from noether.data.zarr_store.sources.inspection.path_tokens import Token, affixes, split_name, words_of
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["SINGLE_ARRAYS", "FileKind", "VariableKind", "find_kinds"]

# Formats in which a file usually holds one array.
SINGLE_ARRAYS = {".pt", ".npy"}

_SPLIT = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|eval(uation)?|dev|holdout)([_-]?(set|data|split|samples?))?",
    re.IGNORECASE,
)
# Names of directories that sort files by content, not by sample.
_SORTING = re.compile(
    r"surf(aces?)?|vol(umes?)?|boundar(y|ies)|walls?|body|internal|domain|fields?|fluid|solid|skin|mesh(es)?|"
    r"geometr(y|ies)|stls?|vt[pkum]|pt|np[yz]|h(df)?5|ensight|tensors?|raw|(pre)?processed",
    re.IGNORECASE,
)

VariableKind = Literal["number", "name", "split"]
Piece = str | int


@dataclass(frozen=True, slots=True)
class FileKind:
    """Files with the same kind of content, usually one per sample.

    Attributes
    ----------
    components : tuple of tuple of str or int
        Components of the paths. Each one is a sequence of texts and indices of variables.
    variables : tuple of {"number", "name", "split"}
        Kinds of the variables that distinguish the files.
    rows : dict of str to tuple of str
        Values of the variables by path.
    """

    components: tuple[tuple[Piece, ...], ...]
    variables: tuple[VariableKind, ...]
    rows: dict[str, tuple[str, ...]]

    @property
    def signature(self) -> tuple[VariableKind, ...]:
        """Kinds of the variables that distinguish samples: all except the split."""
        return tuple(kind for kind in self.variables if kind != "split")

    def sample_of(self, key: str) -> tuple[str, ...]:
        """Return the values that identify the sample of a file."""
        return _without_split(self.variables, self.rows[key])


@dataclass(frozen=True, slots=True)
class _File:
    key: str
    rest: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.rest[0]

    def tokens(self, known: Mapping[int, str] | None = None) -> list[Token]:
        """Split the name into tokens. The suffix of a file is one text, even if it has digits."""
        tokens = split_name(self.name.removesuffix(self.suffix), known)
        return [*tokens, Token("text", self.suffix)] if self.suffix else tokens

    @property
    def suffix(self) -> str:
        """The suffix of the file name, unchanged; empty for a directory."""
        return f".{self.name.rpartition('.')[2]}" if len(self.rest) == 1 else ""


@dataclass(frozen=True, slots=True)
class _Node:
    """Corresponding directories of different samples."""

    components: tuple[tuple[Piece, ...], ...]
    variables: tuple[VariableKind, ...]
    files: Sequence[_File]

    def known(self, file: _File) -> dict[int, str]:
        # Numbers are compared later, for all files at once.
        return {i: file.values[i] for i, kind in enumerate(self.variables) if kind != "number"}

    def shape(self, file: _File) -> tuple[object, ...]:
        tokens = file.tokens(self.known(file))
        if file.suffix:
            return (*(token.shape for token in tokens[:-1]), suffix_of(file.name))
        return tuple(token.shape for token in tokens)

    def sample_of(self, file: _File) -> tuple[str, ...]:
        return _without_split(self.variables, file.values)

    @property
    def has_samples(self) -> bool:
        return any(kind != "split" for kind in self.variables)


def find_kinds(keys: Collection[str], holds_several: Callable[[str], bool] = lambda _: False) -> list[FileKind]:
    """Return the kinds of files.

    Each name of a directory or file is split into texts and numbers. A number that differs between files becomes a
    variable, unless it equals an earlier variable in all files. If the texts differ too, but the directories hold the
    same files, the whole name becomes a variable. `holds_several` returns whether a file of a single-array format holds
    several arrays; such a file is a whole sample.
    """
    return list(_walk(_Node((), (), [_File(key, tuple(key.split("/")), ()) for key in keys]), holds_several))


def _walk(node: _Node, holds_several: Callable[[str], bool]) -> Iterator[FileKind]:
    for step, files in _groups_of_directories(node, [file for file in node.files if len(file.rest) > 1]):
        yield from _walk(step(node, files), holds_several)
    for step, files in _groups_of_files(node, [file for file in node.files if len(file.rest) == 1], holds_several):
        found = step(node, files)
        yield FileKind(found.components, found.variables, {file.key: file.values for file in found.files})


Step = Callable[[_Node, Sequence[_File]], _Node]
Groups = Iterator[tuple[Step, Sequence[_File]]]


def _groups_of_directories(node: _Node, files: Sequence[_File]) -> Groups:
    splits = {file.name for file in files if _SPLIT.fullmatch(file.name)}
    if len(splits) > 1 and "split" not in node.variables:
        yield _by_split, [file for file in files if file.name in splits]
        files = [file for file in files if file.name not in splits]
    for alike in _alike(node, files):
        names = {file.name for one in alike for file in one}
        together = [file for one in alike for file in one]
        if len(alike) > 1 and not any(map(_SORTING.fullmatch, names)) and not _recurs(node, together):
            yield _by_name, together
        else:
            yield from ((_by_numbers, one) for one in alike)


def _alike(node: _Node, files: Sequence[_File]) -> list[list[list[_File]]]:
    """Group files by the shape of their directory's name. Shapes whose directories hold the same files are joined."""
    shapes = _grouped(files, node.shape)
    parent = list(range(len(shapes)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    seen: dict[str, int] = {}
    for number, group in enumerate(shapes):
        for content in {_content(file) for file in group}:
            parent[root(number)] = root(seen.setdefault(content, number))
    classes: dict[int, list[list[_File]]] = {}
    for number, group in enumerate(shapes):
        classes.setdefault(root(number), []).append(group)
    return list(classes.values())


def _content(file: _File) -> str:
    """Return the path of a file in its directory, without numbers and without words of the directory's name."""
    own = set(words_of(file.name))
    texts = (
        "".join("#" if token.kind == "number" else token.text for token in split_name(one)) for one in file.rest[1:]
    )
    return "/".join(re.sub("[A-Za-z0-9]+", lambda word: "@" if word[0] in own else word[0], text) for text in texts)


def _groups_of_files(node: _Node, files: Sequence[_File], holds_several: Callable[[str], bool]) -> Groups:
    for same_format in _grouped(files, lambda file: suffix_of(file.name)):
        shapes = _grouped(same_format, node.shape)
        is_single = suffix_of(same_format[0].name) in SINGLE_ARRAYS and not holds_several(same_format[0].key)
        if is_single and node.has_samples:
            for shape in shapes:
                # If every sample has these files, their numbers distinguish arrays, not samples.
                names = _grouped(shape, lambda file: file.name) if _recurs(node, shape) else [shape]
                yield from ((_by_numbers, one) for one in names)
        elif not is_single and len(shapes) > 1 and _are_samples(node, shapes, files):
            yield _by_name, same_format
        else:
            yield from ((_by_numbers, shape) for shape in shapes)


def _are_samples(node: _Node, shapes: list[list[_File]], beside: Sequence[_File]) -> bool:
    """Return whether files of several shapes are different samples, rather than different files of one sample."""
    files = [file for shape in shapes for file in shape]
    if any(_is_of_split(file) for file in files):
        return True
    if any(domain_named_in(file.name) or is_outer(file.name) for file in files):
        return False
    if node.has_samples:
        return not _recurs(node, files)
    numbers = [{_numbers(file) for file in shape} for shape in shapes]
    if all(() not in found for found in numbers):
        shared = sum(map(len, numbers)) / len(set().union(*numbers))
        return shared <= len(shapes) / 2
    return all(found == {()} for found in numbers) and len({suffix_of(file.name) for file in beside}) == 1


def _is_of_split(file: _File) -> bool:
    texts = "".join(token.text for token in file.tokens()[:-1] if token.kind == "text")
    return _SPLIT.fullmatch(texts.strip("_-. ")) is not None


def _numbers(file: _File) -> tuple[str, ...]:
    return tuple(token.text for token in file.tokens() if token.kind == "number")


def _recurs(node: _Node, files: Sequence[_File]) -> bool:
    """Return whether most samples have files with the same names."""
    if not node.has_samples:
        return False
    pairs = {(node.sample_of(file), file.name) for file in files}
    samples, names = {sample for sample, _ in pairs}, {name for _, name in pairs}
    return len(pairs) / len(names) > len(samples) / 2


def _by_numbers(node: _Node, files: Sequence[_File]) -> _Node:
    tokens = [file.tokens(node.known(file)) for file in files]
    columns: list[Piece | tuple[VariableKind, list[str]]] = []
    for column in zip(*tokens, strict=True):
        first = column[0]
        if first.kind == "number":
            columns.append(("number", [token.text for token in column]))
        else:
            columns.append(first.text if first.variable is None else first.variable)
    return _stepped(node, files, columns)


def _by_name(node: _Node, files: Sequence[_File]) -> _Node:
    names = [file.name.removesuffix(file.suffix) for file in files]
    before, after = affixes(names)
    values = [name[len(before) : len(name) - len(after)] for name in names]
    return _stepped(node, files, [before, ("name", values), after, files[0].suffix])


def _by_split(node: _Node, files: Sequence[_File]) -> _Node:
    return _stepped(node, files, [("split", [file.name for file in files])])


def _stepped(node: _Node, files: Sequence[_File], columns: Sequence[Piece | tuple[VariableKind, list[str]]]) -> _Node:
    """Return the next node, with a new variable for each column that differs and equals no other variable."""
    variables, values = list(node.variables), [list(file.values) for file in files]
    pieces: list[Piece] = []
    for column in columns:
        if not isinstance(column, tuple):
            pieces.append(column)
            continue
        kind, texts = column
        rows = list(zip(values, texts, strict=True))
        same = [i for i in range(len(variables)) if all(row[i] == text for row, text in rows)]
        if same:
            pieces.append(same[0])
        elif len(set(texts)) == 1:
            pieces.append(texts[0])
        else:
            pieces.append(len(variables))
            variables.append(kind)
            for row, text in rows:
                row.append(text)
    component = tuple(piece for piece in pieces if piece != "")
    below = [_File(file.key, file.rest[1:], tuple(row)) for file, row in zip(files, values, strict=True)]
    return _Node((*node.components, component), tuple(variables), below)


def _grouped(files: Sequence[_File], by: Callable[[_File], object]) -> list[list[_File]]:
    groups: dict[object, list[_File]] = {}
    for file in files:
        groups.setdefault(by(file), []).append(file)
    return list(groups.values())


def _without_split(variables: Sequence[VariableKind], values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value for kind, value in zip(variables, values, strict=True) if kind != "split")
