"""Matching arrays to canonical fields by name and width, and the table of a domain's fields. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from noether.data.zarr_store.layout import CANONICAL_TO_SPEC, POSITION
from noether.data.zarr_store.sources.inspection.contents import FoundArray

__all__ = ["DomainTable", "bare_name", "field_name", "is_vector", "toml_key", "toml_list", "toml_text", "toml_value"]

# Patterns for the names of fields in solvers and datasets. The first pattern that matches is used.
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
# Affixes that name the origin of an array; they do not tell its quantity.
_AFFIXES = ("^(surface|volume)_", "^(cell|point)_", "_(surface|volume|vtp|vtu|stl)$")
_FLOAT16_MAX = 65504
_BY_ATTRIBUTE = {spec.attribute: spec for spec in CANONICAL_TO_SPEC.values()}


@dataclass(slots=True)
class DomainTable:
    """The table of a domain in a mapping: settings, fields, and remarks about other arrays.

    Attributes
    ----------
    name : str
        Name of the domain.
    kind : {"surface", "volume"}
        Kind of the domain, which decides the names of its fields.
    head : list of str
        Lines above the fields.
    fields : dict of str to str
        TOML values by name of the field.
    remarks : list of str
        Lines of comments.
    has_mesh : bool
        Whether the domain comes from a mesh, which has positions.
    """

    name: str
    kind: str
    head: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    has_mesh: bool = False

    def add(self, array: FoundArray, called: str, value: str) -> None:
        """Add an array as a field, or add a remark with the reason why it is left out."""
        name = field_name(self.kind, array, called)
        if name == POSITION in self.fields and bare_name(called) == "x":
            name = "x"
        if not array.dtype.startswith("float"):
            self.remarks.append(f"# left out: {toml_text(called)} holds {array.dtype}")
            return
        if array.minimum == array.maximum == 0:
            self.remarks.append(f"# left out: {toml_text(called)} is zero everywhere")
            return
        if name in self.fields or (name == POSITION and self.has_mesh):
            self.remarks.append(f"# left out: {toml_text(called)} would be a second {name}")
            return
        width, known = _width_of(array), _known_width(self.name, name)
        if known not in {None, width}:
            name, known = f"{name}_{width}", None
        if known is None and width > 1 and name != POSITION and not value.startswith("["):
            value = value.removeprefix("{ ").removesuffix(" }") if value.startswith("{") else f"array = {value}"
            value = f"{{ {value}, width = {width} }}"
        self.fields[name] = value
        largest = max((abs(end) for end in (array.minimum, array.maximum) if end is not None), default=0.0)
        if _FLOAT16_MAX < largest < inf and name != POSITION:
            self.remarks.append(
                f"# {name} reaches {largest:.6g}, beyond float16: convert with --field-dtype {self.name}_{name}=float32"
            )

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table, as comments if the domain has no positions and so is not valid."""
        lines = [f"[domains.{self.name}]", *self.head, "", f"[domains.{self.name}.fields]"]
        lines += [f"{key} = {value}" for key, value in self.fields.items()]
        yield ""
        if self.has_mesh or POSITION in self.fields:
            yield from lines
        else:
            yield "# No array of shape (n_points, 3) is named like a position. With a position, the domain would be:"
            yield from (f"# {line}".rstrip() for line in lines)
        yield from self.remarks


def field_name(kind: str, array: FoundArray, called: str) -> str:
    """Return the canonical name of an array's field if its width fits, else a name derived from its own."""
    bare = bare_name(called)
    width = _width_of(array)
    for name, pattern in _FIELD_NAMES.items():
        wanted = _known_width(kind, name) or (3 if name in _VECTORS else 1)
        if re.fullmatch(pattern, bare, re.IGNORECASE) and width == wanted:
            return name
    words = re.sub("(?<=[a-z0-9])(?=[A-Z][a-z])", "_", bare)  # "totalPressureCoeff"
    own = re.sub("[^a-z0-9]+", "_", words.lower()).strip("_")
    own = own if own[:1].isalpha() else f"field_{own}".rstrip("_")
    return f"{own}_{width}" if own in _FIELD_NAMES else own


def bare_name(called: str) -> str:
    """Return the last component of a name, without affixes for its origin."""
    bare = re.split(r"[/:]", called)[-1]
    for affix in _AFFIXES:
        bare = re.sub(affix, "", bare, flags=re.IGNORECASE)
    return bare


def is_vector(kind: str) -> Callable[[FoundArray, str], bool]:
    """Return a function that returns whether an array has the name and the width of a vector."""
    return lambda array, called: field_name(kind, array, called) in _VECTORS


def toml_text(text: str) -> str:
    """Return a text as a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(text: str) -> str:
    """Return a text as a TOML key, in quotes if necessary."""
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else toml_text(text)


def toml_list(texts: Sequence[str]) -> str:
    """Return texts as a TOML list."""
    return f"[{', '.join(map(toml_text, texts))}]"


def toml_value(names: Sequence[str]) -> str:
    """Return the TOML value of a field: the name of its array, or the list of its component arrays."""
    return toml_text(names[0]) if len(names) == 1 else toml_list(names)


def _width_of(array: FoundArray) -> int:
    return array.shape[1] if len(array.shape) == 2 else 1


def _known_width(domain: str, name: str) -> int | None:
    attribute = f"{domain}_{name}"
    known = CANONICAL_TO_SPEC.get(attribute) or _BY_ATTRIBUTE.get(attribute)
    return None if known is None else known.width
