"""A mapping.toml for files as they were found. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from noether.data.zarr_store.layout import CANONICAL_TO_SPEC, POSITION
from noether.data.zarr_store.sources.inspection.components import join_components
from noether.data.zarr_store.sources.inspection.contents import FileContents, FoundArray
from noether.data.zarr_store.sources.inspection.naming import SampleFiles, domain_named_in, pattern_of_names
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["propose_mapping"]

# What solvers and datasets call a field; the first pattern that fits counts.
_FIELD_NAMES = {
    "position": r"(cell_?)?(cent(er|re)s?|points?|pos(itions?)?|coord(inate)?s?|vertices|xyz|x)",
    "pressure": r"(static_?)?p(ressure)?(_?mean|_?avg)?",
    "velocity": r"(u|vel(ocity)?)(_?mean|_?avg)?",
    "vorticity": r"(vorticity|omega_vec)(_?mean|_?avg)?",
    "friction": r"(wall_?shear_?stress|wss|tau_?w|friction)(_?mean|_?avg)?",
    "normals": r"normals?",
    "area": r"(cell_?)?areas?",
    "sdf": r"(sdf|distance_?to_?surface|wall_?dist(ance)?)",
}
_VECTORS = {POSITION, "velocity", "vorticity", "friction", "normals"}
# Where an array comes from, which says nothing of what it is.
_AFFIXES = ("^(surface|volume)_", "^(cell|point)_", "_(surface|volume|vtp|vtu|stl)$")
_ONE_ARRAY = {".pt", ".npy"}


@dataclass(slots=True)
class _Domain:
    """One table of a domain: what stands above its fields, its fields, and what is said of others."""

    head: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    position: bool = False


def propose_mapping(name: str, sample: SampleFiles, contents: Sequence[FileContents]) -> str:
    """Write a mapping that reads files as they were found; what it leaves out is said in comments.

    Parameters
    ----------
    name : str
        Name of the dataset.
    sample : SampleFiles
        Names of the files.
    contents : sequence of FileContents
        What the files of one sample hold.
    """
    domains: dict[str, _Domain] = {}
    attributes: list[str] = []
    remarks: list[str] = []
    sample_id = sample.id
    lengths = Counter(found.arrays[0].shape[:1] for found in contents if _is_one_array(found))
    for found in contents:
        pattern = sample.patterns[found.key]
        if found.problem is not None:
            remarks.append(f"# {_text(found.key)} cannot be read")
        elif found.parts:
            _add_mesh(domains, pattern, found)
        elif suffix_of(found.key) in _ONE_ARRAY:
            stem = PurePosixPath(found.key).stem
            # What is of points has as many rows as others, the positions among them.
            if _is_one_array(found) and (domain_named_in(stem) or lengths[found.arrays[0].shape[:1]] > 1):
                domain = domains.setdefault(domain_named_in(stem) or "volume", _Domain())
                value = f"{{ file = {_text(pattern)} }}"
                _add_field(domain, domain_named_in(stem) or "volume", found.arrays[0], stem, value)
            elif any(len(array.shape) == 2 for array in found.arrays if array.name):
                _add_arrays(domains, pattern, None, found)
            else:
                attributes.append(f"{_key(stem)} = {{ file = {_text(pattern)} }}")
        else:
            group = pattern_of_names(found.sample_groups) if found.sample_groups else None
            if group is not None:
                sample_id = _id_of_groups(sample_id, group)
            _add_arrays(domains, pattern, group, found)
    lines = [f"name = {_text(name)}", f"id = {_text(sample_id)}", *remarks]
    if attributes:
        lines += ["", "[attributes]", *attributes]
    for domain_name, domain in domains.items():
        lines += _table(domain_name, domain)
    return "\n".join(lines) + "\n"


def _id_of_groups(sample_id: str, group: str) -> str:
    last = group.rpartition("/")[2]
    return f"{sample_id}/{last}" if "{" in sample_id and "{" in last else last if "{" in last else group


def _table(name: str, domain: _Domain) -> Iterator[str]:
    lines = [f"[domains.{name}]", *domain.head, "", f"[domains.{name}.fields]"]
    lines += [f"{key} = {value}" for key, value in domain.fields.items()]
    if not domain.position:
        yield ""
        yield f"# No array of shape (n_points, 3) is called as positions are. With a {POSITION} the domain would be:"
        yield from (f"# {line}".rstrip() for line in lines)
    else:
        yield ""
        yield from lines
    yield from domain.remarks


def _add_mesh(domains: dict[str, _Domain], pattern: str, found: FileContents) -> None:
    for dimension, kind in ((2, "surface"), (3, "volume")):
        parts = [part for part in found.parts if part.dimension == dimension]
        if not parts:
            continue
        others = _parts_without_friction(found) if kind == "surface" else []
        parts = [part for part in parts if part.name not in others]
        names: set[str | None] = {part.name for part in parts} if len(found.parts) > 1 else {None}
        arrays = [array for array in found.arrays if array.part in names and array.name != "(positions)"]
        association = "cell" if any(array.association == "cell" for array in arrays) else "point"
        domain = _Domain([f"file = {_text(pattern)}"], position=True)
        if len(found.parts) > 1:
            shown = ", ".join(_text(part.name) for part in parts)
            domain.head.append(f"parts = {{ include = [{shown}] }}")
        domain.head.append(f'association = "{association}"')
        if found.steps.count > 1:
            said = f'{found.steps.described()}; "all" makes each a sample, with {{step}} in the id'
            domain.head.append(f'step = "last"  # of {said}')
        if others:
            domain.remarks.append(f"# parts without friction: {', '.join(map(_text, others))}")
        in_all: list[FoundArray] = []
        for same in _by_name(array for array in arrays if array.association == association):
            if {array.part for array in same} == names:
                lowest, highest = ([getattr(one, end) for one in same] for end in ("minimum", "maximum"))
                in_all.append(replace(same[0], minimum=_known(min, lowest), maximum=_known(max, highest)))
        for array, components in join_components(in_all, _is_vector(kind)):
            _add_field(domain, kind, array, array.name, _value(components), positions=False)
        if kind == "surface":
            for derived in ("normals", "area"):
                if derived not in domain.fields:
                    domain.remarks.append(f'# {derived} = {{ derive = "{derived}" }}')
        elif "surface" in domains and "sdf" not in domain.fields:
            domain.remarks.append('# sdf = { derive = "distance", to = "surface" }')
        domains[_free_name(domains, kind, pattern)] = domain


def _add_arrays(domains: dict[str, _Domain], pattern: str, group: str | None, found: FileContents) -> None:
    """Sort the arrays of a file into domains, by what their names say, or else the file's."""
    by_kind: dict[str, list[FoundArray]] = {}
    for array in found.arrays:
        kind = domain_named_in(array.name) or domain_named_in(PurePosixPath(pattern).name) or "volume"
        by_kind.setdefault(kind, []).append(array)
    for kind, arrays in by_kind.items():
        domain = _Domain([f"file = {_text(pattern)}"])
        if group is not None:
            domain.head.append(f"group = {_text(group)}")
        n_columns = _columns_of_positions(kind, arrays)
        joined = join_components([_upright(array, n_columns) for array in arrays], _is_vector(kind))
        turned = {array.name for array in arrays if _upright(array, n_columns) != array}
        n_points = _number_of_points(kind, [array for array, _ in joined])
        # Where there are other positions, PyG calls the features of its nodes x.
        for array, components in sorted(joined, key=lambda one: _bare_name(one[0].name) == "x"):
            if array.shape[:1] == (n_points,) and len(array.shape) <= 2:
                value = _value(components)
                value = f"{{ array = {value}, transpose = true }}" if turned.intersection(components) else value
                _add_field(domain, kind, array, array.name, value)
            else:
                domain.remarks.append(f"# {_text(array.name)} has the shape {array.shape}")
        domains[_free_name(domains, kind, pattern)] = domain


def _columns_of_positions(kind: str, arrays: Sequence[FoundArray]) -> int | None:
    """Return the length of arrays that have a column for each point; None where there are no such positions."""
    for array in arrays:
        if len(array.shape) == 2 and array.shape[0] == 3 != array.shape[1]:
            upright = _upright(array, array.shape[1])
            if _field_name(kind, upright, array.name) == POSITION:
                return array.shape[1]
    return None


def _upright(array: FoundArray, n_columns: int | None) -> FoundArray:
    """Return an array with a row for each point, where it has a column for each."""
    is_turned = len(array.shape) == 2 and array.shape[1] == n_columns != array.shape[0]
    return replace(array, shape=array.shape[::-1]) if is_turned else array


def _is_vector(kind: str) -> Callable[[FoundArray, str], bool]:
    return lambda array, called: _field_name(kind, array, called) in _VECTORS


def _value(names: Sequence[str]) -> str:
    """Write an array, or those of the components of a vector, as the value of a field."""
    return _text(names[0]) if len(names) == 1 else f"[{', '.join(map(_text, names))}]"


def _parts_without_friction(found: FileContents) -> list[str]:
    """Return the surfaces without friction, where others have it: inlets, outlets, walls of a tunnel."""
    with_friction = {
        array.part
        for array in found.arrays
        if _field_name("surface", array, array.name) == "friction" and (array.minimum or array.maximum)
    }
    surfaces = [part.name for part in found.parts if part.dimension == 2]
    return [name for name in surfaces if name not in with_friction] if with_friction.intersection(surfaces) else []


def _is_one_array(found: FileContents) -> bool:
    return [array.name for array in found.arrays] == [""] and len(found.arrays[0].shape) in {1, 2}


def _by_name(arrays: Iterable[FoundArray]) -> Iterable[list[FoundArray]]:
    """Put arrays of the same name together, as parts have them."""
    by_name: dict[str, list[FoundArray]] = {}
    for array in arrays:
        by_name.setdefault(array.name, []).append(array)
    return by_name.values()


def _known(choose: Callable[[Iterable[float]], float], ends: Iterable[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return choose(known) if known else None


def _number_of_points(kind: str, arrays: Sequence[FoundArray]) -> int | None:
    sizes = [array.shape[0] for array in arrays if array.shape and _field_name(kind, array, array.name) == POSITION]
    return sizes[0] if sizes else max((array.shape[0] for array in arrays if array.shape), default=None)


def _add_field(
    domain: _Domain, kind: str, array: FoundArray, called: str, value: str, *, positions: bool = True
) -> None:
    """Add an array as a field, or a remark why not."""
    name = _field_name(kind, array, called)
    if name == POSITION in domain.fields and _bare_name(called) == "x":
        name = "x"
    if not array.dtype.startswith("float"):
        domain.remarks.append(f"# {_text(called)} holds {array.dtype}")
    elif array.minimum == array.maximum == 0:
        domain.remarks.append(f"# {_text(called)} is zero everywhere")
    elif name in domain.fields or (name == POSITION and not positions):
        domain.remarks.append(f"# {_text(called)} would be another {name}")
    else:
        width = array.shape[1] if len(array.shape) == 2 else 1
        known = CANONICAL_TO_SPEC.get(f"{kind}_{name}")
        if known is None and width > 1 and name != POSITION and not value.startswith("["):
            value = value.removeprefix("{ ").removesuffix(" }") if value.startswith("{") else f"array = {value}"
            value = f"{{ {value}, width = {width} }}"
        domain.fields[name] = value
        domain.position |= name == POSITION


def _field_name(kind: str, array: FoundArray, called: str) -> str:
    """Return the glossary's name of a field, where its width allows it, else one made of its own."""
    bare = _bare_name(called)
    width = array.shape[1] if len(array.shape) == 2 else 1
    for name, pattern in _FIELD_NAMES.items():
        if re.fullmatch(pattern, bare, re.IGNORECASE) and width == _width(kind, name):
            return name
    own = re.sub("[^a-z0-9]+", "_", bare.lower()).strip("_")
    own = own if own[:1].isalpha() else f"field_{own}".rstrip("_")
    return f"{own}_{width}" if own in _FIELD_NAMES else own


def _bare_name(called: str) -> str:
    """Return the last part of a name, without what says where it comes from."""
    bare = re.split(r"[/:]", called)[-1]
    for affix in _AFFIXES:
        bare = re.sub(affix, "", bare, flags=re.IGNORECASE)
    return bare


def _width(kind: str, name: str) -> int:
    known = CANONICAL_TO_SPEC.get(f"{kind}_{name}")
    return known.width if known else 3 if name in _VECTORS else 1


def _free_name(domains: dict[str, _Domain], kind: str, pattern: str) -> str:
    if kind not in domains:
        return kind
    stem = re.sub("[^a-z0-9]+", "", re.sub(r"\{.*?\}", "", PurePosixPath(pattern).stem).lower()).lstrip("0123456789")
    names = (f"{stem or kind}{number or ''}" for number in range(len(domains) + 2))
    return next(name for name in names if name not in domains)


def _key(text: str) -> str:
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else _text(text)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
