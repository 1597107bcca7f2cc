"""Finding the samples of a mapping in a listing, and the files of each sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.formats import require_root
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
        Id of the sample.
    values : dict of str to str
        Values of the mapping's placeholders for this sample.
    files : dict of str to list of StoredObject
        Files of the sample by pattern of the mapping; pieces of a file in the order of their numbers.
    beside : dict of str to list of StoredObject
        By directory, the files that a file of the sample can refer to.
    groups : set of (str, str)
        For files that hold several samples: the pattern of the file, and the pattern of the HDF5 group of this sample.
    twin : dict of str to str, or None
        Placeholder values of another sample with the same id.
    """

    sample_id: str
    values: dict[str, str]
    files: dict[str, list[StoredObject]] = field(default_factory=dict)
    beside: dict[str, list[StoredObject]] = field(default_factory=dict)
    groups: set[tuple[str, str]] = field(default_factory=set)
    twin: dict[str, str] | None = None

    def key(self, pattern: str) -> str:
        """Return the key of the file that matches a pattern, or the key that it would have."""
        named = self.files.get(pattern)
        return named[0].key if named else PathPattern.parse(pattern).fill(self.values)

    def ids_beside(self, pattern: str) -> list[str]:
        """Return the names under which a table can list the sample.

        These are the sample's id and, if the table's file name lacks exactly one placeholder, the value of that
        placeholder.
        """
        lacking = [value for name, value in self.values.items() if name not in PathPattern.parse(pattern).names]
        return list(dict.fromkeys([self.sample_id, *(lacking if len(lacking) == 1 else [])]))

    def only(self, mapping: SourceMapping) -> FoundSample:
        """Return the sample with only the files that the domains of a mapping need."""
        patterns = _patterns_of_domains(mapping)
        files = {pattern: objects for pattern, objects in self.files.items() if pattern in patterns}
        return replace(self, files=files, groups={group for group in self.groups if group[0] in patterns})

    def has(self, domain: DomainMapping, pattern: str) -> bool:
        """Return whether the sample has a file of a domain, whole or in pieces."""
        if pattern == domain.file and domain.has_samples_as_groups:
            return (pattern, domain.group) in self.groups
        in_pieces = pattern == domain.file and domain.concatenate in self.files
        return pattern in self.files or in_pieces

    def has_any(self, domain: DomainMapping) -> bool:
        """Return whether the sample has any file of a domain."""
        return any(self.has(domain, pattern) for pattern in domain.patterns)

    def require_one_file_each(self) -> None:
        """Check that the id is unique and that each pattern matches one file.

        Raises
        ------
        SourceError
            Another sample has the same id, or several files match a pattern without ``{part}``.
        """
        if self.twin is not None:
            one, other = (
                ", ".join(f"{name} = {value!r}" for name, value in v.items()) for v in (self.values, self.twin)
            )
            raise SourceError(
                f"sample {self.sample_id!r}: two samples have this id ({one} and {other}); put a separator between the "
                "placeholders of the mapping's id"
            )
        for pattern, objects in self.files.items():
            if len(objects) > 1 and PART not in PathPattern.parse(pattern).names:
                raise SourceError(
                    f"sample {self.sample_id!r}: {pattern!r}: expected one file, got {len(objects):,}, such as "
                    f"{objects[0].key} and {objects[1].key}; make the pattern more specific, or move the other files"
                )

    def named_files(self, storage: Storage, mapping: SourceMapping) -> list[StoredObject]:
        """Return the files that files of the sample refer to, such as blocks of a ``.vtm`` or files of an EnSight step.

        Raises
        ------
        SourceError
            Such a file lies outside the root, or an EnSight case is not valid.
        """
        named: list[StoredObject] = []
        for pattern, objects in self.files.items():
            domains = [domain for domain in mapping.domains.values() if domain.file == pattern]
            steps = {step_of(domain, self.values) for domain in domains} or {None}
            for key in (one.key for one in objects if names_files(one.key)):
                named += named_files(key, self.beside, storage, f"sample {self.sample_id!r}: {key}", steps)
        return named

    def objects(self, domain: DomainMapping) -> Sequence[StoredObject]:
        """Return the file of a domain, or its pieces in order.

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
                f"sample {self.sample_id!r}: {domain.concatenate!r}: expected pieces numbered without a gap "
                f"from 0 or 1, got {', '.join(map(str, numbers))}; fetch the missing ones"
            )
        return pieces


def find_samples(storage: Storage, mapping: SourceMapping) -> dict[str, FoundSample]:
    """List a root once, and return its samples by id, sorted.

    The suffix of a file can differ from the mapping in case or spelling: ``.VTU`` for ``.vtu``, ``.encas`` for
    ``.case``. If both exist, the file that is spelled as in the mapping is used.

    Raises
    ------
    SourceError
        The root does not exist or has no sample, a file that holds several samples is damaged, or a file whose time
        steps are samples has no steps.
    MissingDependencyError
        A file that holds several samples needs h5py, which is not installed.
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
        require_root(storage.root)
        expected = ", ".join(list(of_domains)[:3])
        keys = [item.key for item in listing]
        other_root = _root_of_matching_files(storage.root, keys, [plain[text] for text in of_domains])
        correct = f"name {other_root}, which has such files, as the source" if other_root else None
        way_out = "; ".join([*unread_files(keys), correct or "check the path and the mapping"])
        n_files = len(listing)
        raise SourceError(
            f"{storage.root}: no sample found among {n_files:,} files, expected files such as {expected}; {way_out}"
        )
    for found in samples.values():
        for text, objects in found.files.items():
            as_written = [item for item in objects if patterns[text].match(item.key) is not None]
            objects[:] = as_written or objects
            objects.sort(key=lambda item: _order(patterns[text], item.key))
    _add_tables(samples, _patterns_of_attributes(mapping, of_tables=True), listing)
    _add_files_beside(samples, listing)
    return samples


def _root_of_matching_files(root: str, keys: Iterable[str], patterns: Sequence[PathPattern]) -> str | None:
    """Return the directory above or below a root relative to which files match the most patterns, or None."""
    above, _, name = root.rpartition("/")
    has_above = above != "" and not above.endswith(":/")  # nothing is above a bucket
    matched: dict[str, set[str]] = {}
    for key in keys:
        *directories, file = with_plain_suffix(key).split("/")
        paths = {above: [name, *directories, file]} if has_above else {}
        for depth in range(1, len(directories) + 1):
            paths["/".join([root, *directories[:depth]])] = [*directories[depth:], file]
        for directory, parts in paths.items():
            texts = {pattern.text for pattern in patterns if pattern.match("/".join(parts)) is not None}
            if texts:
                matched.setdefault(directory, set()).update(texts)
    return max(matched, key=lambda directory: len(matched[directory]), default=None)


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
    """Add the samples that are HDF5 groups of one file."""
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
    """Add files without steps to the samples of all steps that agree in the other placeholders."""
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
    """Return the patterns of the HDF5 groups that are samples, by the pattern of their file."""
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
    """Add each table of many samples to all samples that agree in the placeholders of its name."""
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
