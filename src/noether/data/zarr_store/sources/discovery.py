"""Which samples a mapping finds in a listing, and which files each has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.hdf5 import group_names, open_hdf5
from noether.data.zarr_store.sources.mapping import DomainMapping, SourceMapping, step_of
from noether.data.zarr_store.sources.mapping_attributes import AttributeTable
from noether.data.zarr_store.sources.patterns import PART, PathPattern
from noether.data.zarr_store.sources.range_reader import open_ranged
from noether.data.zarr_store.sources.referenced_files import files_beside, named_files, names_files
from noether.data.zarr_store.sources.step_counts import count_steps
from noether.data.zarr_store.sources.steps import ALL_STEPS, STEP
from noether.data.zarr_store.sources.suffixes import unread_files, with_plain_suffix
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["FoundSample", "find_samples"]


@dataclass(slots=True)
class FoundSample:
    """One sample of a listing.

    Attributes
    ----------
    sample_id : str
        Its id.
    values : dict of str to str
        What the placeholders of the mapping stand for.
    files : dict of str to list of StoredObject
        What matches each pattern of the mapping; pieces in the order of their numbers.
    beside : dict of str to list of StoredObject
        By directory, the files that a file of the sample may name.
    groups : set of (str, str)
        Patterns of files that hold several samples, each with the pattern of a group that this one has there.
    twin : dict of str to str, or None
        The placeholders of another sample with the same id.
    """

    sample_id: str
    values: dict[str, str]
    files: dict[str, list[StoredObject]] = field(default_factory=dict)
    beside: dict[str, list[StoredObject]] = field(default_factory=dict)
    groups: set[tuple[str, str]] = field(default_factory=set)
    twin: dict[str, str] | None = None

    def key(self, pattern: str) -> str:
        """Return the name of the file that a pattern stands for here."""
        named = self.files.get(pattern)
        return named[0].key if named else PathPattern.parse(pattern).fill(self.values)

    def ids_beside(self, pattern: str) -> list[str]:
        """Return what a table may call it: its id, or what the one placeholder that its file lacks stands for."""
        lacking = [value for name, value in self.values.items() if name not in PathPattern.parse(pattern).names]
        return list(dict.fromkeys([self.sample_id, *(lacking if len(lacking) == 1 else [])]))

    def only(self, mapping: SourceMapping) -> FoundSample:
        """Return the sample with the files alone that the domains of a mapping need."""
        patterns = _patterns_of_domains(mapping)
        files = {pattern: objects for pattern, objects in self.files.items() if pattern in patterns}
        return replace(self, files=files, groups={group for group in self.groups if group[0] in patterns})

    def has(self, domain: DomainMapping, pattern: str) -> bool:
        """Say whether a file is there, or its pieces are."""
        if pattern == domain.file and domain.has_samples_as_groups:
            return (pattern, domain.group) in self.groups
        in_pieces = pattern == domain.file and domain.concatenate in self.files
        return pattern in self.files or in_pieces

    def has_any(self, domain: DomainMapping) -> bool:
        """Say whether any file of a domain is there."""
        return any(self.has(domain, pattern) for pattern in domain.patterns)

    def require_one_file_each(self) -> None:
        """Check that it is one sample, with one file for each pattern.

        Raises
        ------
        SourceError
            Another sample has the same id, or several files match a pattern that is not one of pieces.
        """
        if self.twin is not None:
            one, other = (
                ", ".join(f"{name} = {value!r}" for name, value in v.items()) for v in (self.values, self.twin)
            )
            raise SourceError(
                f"sample {self.sample_id!r}: two samples have this id ({one}; {other}); separate the placeholders of "
                "the mapping's id"
            )
        for pattern, objects in self.files.items():
            if len(objects) > 1 and PART not in PathPattern.parse(pattern).names:
                raise SourceError(
                    f"sample {self.sample_id!r}: {pattern!r} stands for {len(objects)} files, "
                    f"{objects[0].key} and {objects[1].key} among them; expected one"
                )

    def named_files(self, storage: Storage, mapping: SourceMapping) -> list[StoredObject]:
        """Return the files that files of the sample name: those of a step of an EnSight case, blocks of a ``.vtm``.

        Raises
        ------
        SourceError
            Such a file lies outside of the root, or a case is not valid.
        """
        named: list[StoredObject] = []
        for pattern, objects in self.files.items():
            domains = [domain for domain in mapping.domains.values() if domain.file == pattern]
            steps = {step_of(domain, self.values) for domain in domains} or {None}
            for key in (one.key for one in objects if names_files(one.key)):
                named += named_files(key, self.beside, storage, f"sample {self.sample_id!r}: {key}", steps)
        return named

    def objects(self, domain: DomainMapping) -> Sequence[StoredObject]:
        """Return the file of a domain, or the pieces of it in order.

        Raises
        ------
        SourceError
            A piece is missing.
        """
        if domain.file in self.files:
            return self.files[domain.file]
        pieces = self.files[str(domain.concatenate)]
        pattern = PathPattern.parse(str(domain.concatenate))
        numbers = [int((pattern.match(item.key) or {})[PART]) for item in pieces]
        expected = range(numbers[0], numbers[0] + len(numbers))
        if numbers[0] > 1 or numbers != list(expected):
            raise SourceError(
                f"sample {self.sample_id!r}: {domain.concatenate!r}: expected pieces that are numbered without a gap, "
                f"from 0 or 1, got {', '.join(map(str, numbers))}; fetch the missing ones"
            )
        return pieces


def find_samples(storage: Storage, mapping: SourceMapping) -> dict[str, FoundSample]:
    """List a root once, and sort its files by sample.

    A suffix may be written otherwise than in the mapping, as ``.VTU`` and ``.encas`` are. Of both, the file that is
    written as in the mapping is taken.

    Raises
    ------
    SourceError
        There is no sample, or a file that holds several is damaged, or has no steps although they are samples.
    MissingDependencyError
        Such a file needs h5py, which is not installed.
    """
    of_domains, of_attributes = _patterns_of_domains(mapping), _patterns_of_attributes(mapping, of_tables=False)
    patterns = of_domains | of_attributes
    sample_id = PathPattern.parse(mapping.id)
    plain = {text: PathPattern.parse(with_plain_suffix(text)) for text in patterns}
    samples: dict[str, FoundSample] = {}
    groups, stepped = _groups_of_samples(mapping), _files_of_steps(mapping)
    of_all_steps: list[tuple[str, dict[str, str], StoredObject]] = []
    listing = list(storage.objects())
    for item in listing:
        for text, pattern in patterns.items():
            values = pattern.match(item.key)
            if values is None:
                values = plain[text].match(with_plain_suffix(item.key))
            if values is not None:
                values.pop(PART, None)
                if text in groups:
                    _add_groups(samples, sample_id, storage, item, text, values, groups[text])
                elif text in stepped:
                    for step in range(count_steps(storage, item)):
                        _add(samples, sample_id, values | {STEP: str(step)}, text, item)
                elif stepped and STEP not in pattern.names:
                    of_all_steps.append((text, values, item))
                else:
                    _add(samples, sample_id, values, text, item)
    _add_to_all_steps(samples, of_all_steps)
    samples = {name: samples[name] for name in sorted(samples) if samples[name].files.keys() & of_domains.keys()}
    if not samples:
        seen = f"among {len(listing)} files" if listing else "where no file is"
        raise SourceError(
            f"{storage.root}: no sample found {seen}; expected files such as {', '.join(list(of_domains)[:3])}; "
            f"{'; '.join([*unread_files(item.key for item in listing), 'check the path and the mapping'])}"
        )
    for found in samples.values():
        for text, objects in found.files.items():
            as_written = [item for item in objects if patterns[text].match(item.key) is not None]
            objects[:] = as_written or objects
            objects.sort(key=lambda item: _order(patterns[text], item.key))
    _add_tables(samples, _patterns_of_attributes(mapping, of_tables=True), listing)
    _add_files_beside(samples, listing)
    return samples


def _add(
    samples: dict[str, FoundSample], sample_id: PathPattern, values: dict[str, str], text: str, item: StoredObject
) -> FoundSample:
    name = sample_id.fill(values)
    found = samples.setdefault(name, FoundSample(name, values))
    found.twin = found.twin if found.values == values else values
    files = found.files.setdefault(text, [])
    if item not in files:
        files.append(item)
    return found


def _add_groups(
    samples: dict[str, FoundSample],
    sample_id: PathPattern,
    storage: Storage,
    item: StoredObject,
    text: str,
    values: dict[str, str],
    groups: Sequence[PathPattern],
) -> None:
    """Add the samples that are groups of one file."""
    where = f"{storage.root}/{item.key}"
    with open_ranged(storage, item) as opened, open_hdf5(opened, where) as file:
        names = {depth: group_names(file, depth, where) for depth in {_depth(group) for group in groups}}
    for group in groups:
        for name in names[_depth(group)]:
            of_group = group.match(name)
            if of_group is not None and all(values.get(one, value) == value for one, value in of_group.items()):
                found = _add(samples, sample_id, values | of_group, text, item)
                found.groups.add((text, group.text))


def _files_of_steps(mapping: SourceMapping) -> set[str]:
    """Return the patterns of the files whose time steps are samples."""
    return {str(domain.file) for domain in mapping.domains.values() if domain.step == ALL_STEPS}


def _add_to_all_steps(
    samples: Mapping[str, FoundSample], files: Iterable[tuple[str, dict[str, str], StoredObject]]
) -> None:
    """Add files that do not tell steps apart to the samples of all steps, which have the same other placeholders."""
    alike: dict[frozenset[tuple[str, str]], list[FoundSample]] = {}
    for found in samples.values():
        others = frozenset((name, value) for name, value in found.values.items() if name != STEP)
        alike.setdefault(others, []).append(found)
    for text, values, item in files:
        for found in alike.get(frozenset(values.items()), []):
            found.files.setdefault(text, []).append(item)


def _depth(group: PathPattern) -> int:
    return group.text.count("/") + 1


def _groups_of_samples(mapping: SourceMapping) -> dict[str, list[PathPattern]]:
    """Return the groups that are samples, by the file that they lie in."""
    groups: dict[str, list[PathPattern]] = {}
    for domain in mapping.domains.values():
        if domain.has_samples_as_groups:
            groups.setdefault(str(domain.file), []).append(PathPattern.parse(str(domain.group)))
    return groups


def _patterns_of_domains(mapping: SourceMapping) -> dict[str, PathPattern]:
    return {
        pattern: PathPattern.parse(pattern)
        for domain in mapping.domains.values()
        for pattern in [*domain.patterns, domain.concatenate]
        if pattern is not None
    }


def _patterns_of_attributes(mapping: SourceMapping, *, of_tables: bool) -> dict[str, PathPattern]:
    files = [one.file for one in mapping.attribute_files().values() if isinstance(one, AttributeTable) == of_tables]
    return {file: PathPattern.parse(file) for file in files}


def _add_tables(
    samples: dict[str, FoundSample], tables: Mapping[str, PathPattern], listing: Sequence[StoredObject]
) -> None:
    """Add tables of many samples to each of those that have the same placeholders."""
    for text, pattern in tables.items():
        found: dict[tuple[str, ...], list[StoredObject]] = {}
        for item in listing:
            values = pattern.match(item.key)
            if values is not None:
                found.setdefault(tuple(values[name] for name in pattern.names), []).append(item)
        for sample in samples.values():
            objects = found.get(tuple(sample.values[name] for name in pattern.names))
            if objects:
                sample.files[text] = list(objects)


def _add_files_beside(samples: dict[str, FoundSample], listing: list[StoredObject]) -> None:
    naming = {
        name: [one.key for objects in found.files.values() for one in objects if names_files(one.key)]
        for name, found in samples.items()
    }
    beside = files_beside([key for keys in naming.values() for key in keys], listing)
    for name, keys in naming.items():
        directories = {str(PurePosixPath(key).parent) for key in keys}
        samples[name].beside = {directory: beside[directory] for directory in directories}


def _order(pattern: PathPattern, key: str) -> tuple[int, str]:
    values = pattern.match(key) or {}
    return int(values.get(PART, 0)), key
