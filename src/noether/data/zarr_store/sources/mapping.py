"""What a mapping.toml says: which array of which file is which field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from noether.data.schemas import FileMap, extended_filemap
from noether.data.zarr_store.errors import nearest_names
from noether.data.zarr_store.layout import CANONICAL_TO_SPEC, POSITION, FieldSpec
from noether.data.zarr_store.sources.formats import FORMATS
from noether.data.zarr_store.sources.mapping_attributes import (
    AttributeFile,
    AttributeMapping,
    check_attribute_file,
    shown,
)
from noether.data.zarr_store.sources.mapping_fields import (
    ArrayField,
    DistanceField,
    FieldMapping,
    FileField,
    MappingModel,
    NormalsField,
    Pattern,
)
from noether.data.zarr_store.sources.patterns import PART, PathPattern
from noether.data.zarr_store.sources.steps import ALL_STEPS, STEP, Step
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["Association", "DomainMapping", "PartSelection", "SourceMapping", "step_of"]

Association = Literal["cell", "point"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]

_UNITS = "units"
_BY_ATTRIBUTE = {spec.attribute: spec for spec in CANONICAL_TO_SPEC.values()}


class PartSelection(MappingModel):
    """Which parts of a file a domain is made of: parts of an EnSight case, blocks of a ``.vtm``, of VTKHDF or of CGNS.

    Attributes
    ----------
    include, exclude : tuple of str
        Names, in which ``*`` stands for any characters and ``?`` for one; no other character is special.
    having : str or None
        Only parts that carry this array.
    """

    include: Annotated[tuple[str, ...], Field(strict=False)] = ("*",)
    exclude: Annotated[tuple[str, ...], Field(strict=False)] = ()
    having: str | None = None


def _is_step(value: Any) -> Any:
    if value in ("last", ALL_STEPS) or (type(value) is int and value >= 0):
        return value
    raise ValueError(
        f"expected 'last', 'all', or the number of a step, which is counted from 0 as inspect shows it; got {value!r}"
    )


StepChoice = Annotated[int | str, BeforeValidator(_is_step)]


class DomainMapping(MappingModel):
    """Where the fields of one domain come from.

    Attributes
    ----------
    file : str or None
        The file that holds its arrays; a pattern.
    concatenate : str or None
        Where the file is published in pieces: their pattern, with ``{part}`` for their numbers.
    group : str or None
        The group of an HDF5 file that its arrays lie in; a pattern. Where it has placeholders that the file lacks, the
        file holds several samples, a group for each.
    association : {"cell", "point"} or None
        Whether the domain's points are the cells or the points of the mesh. None is enough where the arrays say it.
    parts : PartSelection or None
        Which parts of the file.
    step : int, "last", "all" or None
        Which time step of the file: its number, counted from 0; the last, also where it is None and there are steps;
        or all, each of which is a sample then, which the placeholder ``{step}`` of the id tells apart.
    unused_points : {"keep", "drop"}
        What to do with points that no cell uses.
    fields : dict of str to FieldMapping
        By name. Without a ``position``, it is the cell centres, or the points of the mesh.
    """

    file: Pattern | None = None
    concatenate: Pattern | None = None
    group: Pattern | None = None
    association: Association | None = None
    parts: PartSelection | None = None
    step: StepChoice | None = None
    unused_points: Literal["keep", "drop"] = "keep"
    fields: dict[Name, FieldMapping] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.step == ALL_STEPS and self.concatenate is not None:
            raise ValueError("step = 'all': the steps of a file in pieces are not known; join the pieces first")
        if self.file is None:
            _require_own_files(self)
        if self.concatenate is not None and PART not in PathPattern.parse(self.concatenate).names:
            raise ValueError(f"concatenate: expected {{{PART}}} in {self.concatenate!r}, for the numbers of the pieces")
        return self

    @property
    def arrays(self) -> dict[str, tuple[str, ...]]:
        """Names of the arrays in the file, by field."""
        return {name: field.names for name, field in self.fields.items() if isinstance(field, ArrayField)}

    def with_fields(self, fields: Mapping[str, FieldMapping]) -> Self:
        """Return the domain with its position, and some fields in place of all.

        Where only the places of arrays tell whether its points are the cells or the points of a mesh, these stay.
        """
        is_told_by_arrays = self.association is None and suffix_of(self.file or "") not in FORMATS
        kept = {
            name: field
            for name, field in self.fields.items()
            if name == POSITION or (is_told_by_arrays and isinstance(field, ArrayField))
        }
        return self.model_copy(update={"fields": {**kept, **fields}})

    @property
    def has_samples_as_groups(self) -> bool:
        """Whether a file of it holds several samples, a group for each."""
        if self.group is None or self.file is None:
            return False
        return bool(set(PathPattern.parse(self.group).names) - set(PathPattern.parse(self.file).names))

    @property
    def patterns(self) -> list[str]:
        """Every pattern of a file that the domain needs; pieces, which stand in for one, left out."""
        own = [field.file for field in self.fields.values() if isinstance(field, FileField)]
        return list(dict.fromkeys(([self.file] if self.file else []) + own))


def _require_own_files(domain: DomainMapping) -> None:
    for name, field in domain.fields.items():
        if not isinstance(field, FileField | DistanceField):
            raise ValueError(  # noqa: TRY004 - it is about what the mapping says
                f"field {name!r} needs the domain's file: name it, file = 'run_{{n}}/surface.vtp'"
            )
    if POSITION not in domain.fields:
        raise ValueError("without a file the position is not known: name one, or give the position a file of its own")


class SourceMapping(MappingModel):
    """What a source's files hold.

    Attributes
    ----------
    name : str
        Name of the dataset.
    id : str
        Sample id; its placeholders tell samples apart. Each pattern of a file has all of them and no other, but for
        those of tables of many samples, which may have fewer.
    domains : dict of str to DomainMapping
        By name.
    attributes : dict of str to JSON value, AttributeFile or AttributeTable
        Attributes of every sample.
    """

    name: Annotated[str, StringConstraints(min_length=1)]
    id: Pattern
    domains: Annotated[dict[Name, DomainMapping], Field(min_length=1)]
    attributes: dict[str, AttributeMapping] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of_id = PathPattern.parse(self.id).names
        names = set(of_id)
        if "*" in self.id or PART in names:
            raise ValueError(f"id: expected names and placeholders only, without * and {{{PART}}}, got {self.id!r}")
        self._check_steps(names)
        for pattern, group in self._all_patterns():
            own = set(PathPattern.parse(pattern).names + group) - {PART}
            if own != names and not (self.has_steps_as_samples and own == names - {STEP}):
                way_out = (
                    "; or write step = 'all' in its domain, if the file has all steps" if names - own == {STEP} else ""
                )
                raise ValueError(
                    f"file {pattern!r}: expected the placeholders of the id {self.id!r}: {shown(of_id)}{way_out}"
                )
        of_files = [one for one in of_id if one != STEP or not self.has_steps_as_samples]
        for name, attribute in self.attribute_files().items():
            check_attribute_file(name, attribute, of_id, of_files)
        for name, domain in self.domains.items():
            self._check_domain(name, domain)
        if _UNITS in self.attributes:
            raise ValueError(f"attributes: {_UNITS!r} is made of the units of the fields; choose another name")
        return self

    @property
    def has_steps_as_samples(self) -> bool:
        """Whether the time steps of a file are samples; files without steps belong to each of them."""
        return any(domain.step == ALL_STEPS for domain in self.domains.values())

    def _check_steps(self, names: Set[str]) -> None:
        for name, domain in self.domains.items():
            if domain.step != ALL_STEPS:
                continue
            if STEP not in names:
                raise ValueError(
                    f"id: expected the placeholder {{{STEP}}} in {self.id!r}, since each step of domain {name!r} is a "
                    f"sample (step = 'all'), such as '{self.id}_{{{STEP}}}'"
                )
            if STEP in PathPattern.parse(domain.file or "-").names or domain.group is not None:
                raise ValueError(f"domain {name!r}: step = 'all': the file may have neither {{{STEP}}} nor a group")

    def _check_domain(self, name: str, domain: DomainMapping) -> None:
        specs = {field_name: self.spec(name, field_name) for field_name in domain.fields}
        if len({spec.field for spec in specs.values()}) < len(specs):
            raise ValueError(f"domain {name!r}: two of {', '.join(specs)} are names of the same field; drop one")
        for field_name, field in domain.fields.items():
            spec = specs[field_name]
            if field.width not in {None, spec.width}:
                raise ValueError(f"domain {name!r}: {spec.field} has the width {spec.width}, got {field.width}")
            if isinstance(field, ArrayField) and len(field.names) not in {1, spec.width}:
                raise ValueError(
                    f"domain {name!r}: {spec.field} has the width {spec.width}, got {len(field.names)} arrays: "
                    f"{', '.join(field.names)}"
                )
            if isinstance(field, DistanceField) and field.to not in self.domains.keys() - {name}:
                others = nearest_names(field.to, self.domains.keys() - {name})
                raise ValueError(f"domain {name!r}: {field_name}: to: no other domain {field.to!r}; {others}")
        self.spec(name, POSITION)

    def _all_patterns(self) -> list[tuple[str, tuple[str, ...]]]:
        """List patterns of the domains' files, each with the placeholders that the group in it has."""
        patterns: list[tuple[str, tuple[str, ...]]] = []
        for domain in self.domains.values():
            group = PathPattern.parse(domain.group).names if domain.group else ()
            patterns += [(pattern, group if pattern == domain.file else ()) for pattern in domain.patterns]
            patterns += [(domain.concatenate, group)] if domain.concatenate else []
        return patterns

    def only(self, fields: Collection[str]) -> Self:
        """Return the mapping of some fields, by canonical name, of positions, and of what distances are measured to.

        It has no attributes.
        """
        domains: dict[str, DomainMapping] = {}
        measured: set[str] = set()
        for name, domain in self.domains.items():
            wanted = {one: field for one, field in domain.fields.items() if self.spec(name, one).field in fields}
            measured |= {field.to for field in wanted.values() if isinstance(field, DistanceField)}
            if wanted:
                domains[name] = domain.with_fields(wanted)
        for name in measured - domains.keys():
            domains[name] = self.domains[name].with_fields({})
        kept = {name: domains[name] for name in self.domains if name in domains}
        return self.model_copy(update={"domains": kept, "attributes": {}})

    def attribute_files(self) -> dict[str, AttributeFile]:
        """Return the attributes that lie in files, by name."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, AttributeFile)}

    def spec(self, domain: str, name: str) -> FieldSpec:
        """Return attribute, canonical name and width of a field of this mapping."""
        attribute = f"{domain}_{name}"
        known = CANONICAL_TO_SPEC.get(attribute) or _BY_ATTRIBUTE.get(attribute)
        if known is not None:
            if known.domain != domain:
                raise ValueError(f"domain {domain!r}: write its {name} as {known.name} of the domain {known.domain!r}")
            return known
        if "_" in domain or hasattr(FileMap, attribute):
            raise ValueError(f"domain {domain!r}: it cannot have the field {name!r}; choose another name, without '_'")
        field = self.domains[domain].fields.get(name)
        default_width = 3 if name == POSITION or isinstance(field, NormalsField) else 1
        if isinstance(field, ArrayField) and len(field.names) > 1 and name != POSITION:
            default_width = len(field.names)
        width = None if field is None else field.width
        return FieldSpec(attribute, attribute, domain, name, width or default_width)

    def filemap(self) -> FileMap:
        """Return the file map that a writer takes; fields that `FileMap` lacks are added to it."""
        named, added = {}, {}
        for domain_name, domain in self.domains.items():
            for name in dict.fromkeys([POSITION, *domain.fields]):
                spec = self.spec(domain_name, name)
                field = domain.fields.get(name)
                file = field.file if isinstance(field, FileField) else domain.file
                named[spec.attribute] = f"{file}:{','.join(field.names) if isinstance(field, ArrayField) else name}"
                if spec.attribute not in FileMap.model_fields:
                    added[spec.attribute] = spec.width
        return extended_filemap(named, added) if added else FileMap(**named)

    def units(self) -> dict[str, str]:
        """Return the units of fields by canonical name, where the mapping tells them."""
        return {field: one["units"] for field, one in self.field_attributes().items() if "units" in one}

    def field_attributes(self) -> dict[str, dict[str, str]]:
        """Return ``units`` and ``long_name`` of fields by canonical name, where the mapping tells them."""
        attributes: dict[str, dict[str, str]] = {}
        for domain_name, domain in self.domains.items():
            for name, field in domain.fields.items():
                said = {"units": field.units, "long_name": field.long_name}
                known = {key: value for key, value in said.items() if value is not None}
                if known:
                    attributes[self.spec(domain_name, name).field] = known
        return attributes


def step_of(domain: DomainMapping, values: Mapping[str, str]) -> Step:
    """Return the time step of a domain in a sample, of which `values` says what the placeholders stand for."""
    return int(values[STEP]) if domain.step == ALL_STEPS else domain.step  # type: ignore[return-value]  # as was checked
