"""The content of a mapping.toml: the file and the array of each field."""

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
    """Selection of the parts of a file that make a domain: EnSight parts, or blocks of ``.vtm``, VTKHDF or CGNS.

    Attributes
    ----------
    include, exclude : tuple of str
        Names of parts. ``*`` matches any characters, ``?`` matches one; no other character is special.
    having : str or None
        Array that a part must have to be selected.
    """

    include: Annotated[tuple[str, ...], Field(strict=False)] = ("*",)
    exclude: Annotated[tuple[str, ...], Field(strict=False)] = ()
    having: str | None = None


def _is_step(value: Any) -> Any:
    if value in ("last", ALL_STEPS) or (type(value) is int and value >= 0):
        return value
    raise ValueError(
        f"expected 'last', 'all', or the number of a step, counted from 0 as inspect shows it, got {value!r}"
    )


StepChoice = Annotated[int | str, BeforeValidator(_is_step)]


class DomainMapping(MappingModel):
    """The files and arrays of the fields of one domain.

    Attributes
    ----------
    file : str or None
        Pattern of the file that holds the arrays.
    concatenate : str or None
        Pattern of the pieces, if the file is published in pieces; ``{part}`` stands for their numbers.
    group : str or None
        Pattern of the HDF5 group that holds the arrays. If it has placeholders that `file` lacks, each file holds
        several samples, with one HDF5 group each.
    association : {"cell", "point"} or None
        Whether the domain's points are the cells or the points of the mesh. None derives it from the arrays, if these
        are only cell data or only point data.
    parts : PartSelection or None
        Selection of the parts of the file; None selects all.
    step : int, "last", "all" or None
        Time step of the file: its number, counted from 0, or the last. None is the last step of a file with steps.
        ``"all"`` makes each step a sample; the id must have the placeholder ``{step}`` then.
    unused_points : {"keep", "drop"}
        Whether points that no cell uses are kept or dropped.
    fields : dict of str to FieldMapping
        Fields by name. The default of ``position`` is the cell centres or the points of the mesh.
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
    def _has_its_files(self) -> Self:
        if self.step == ALL_STEPS and self.concatenate is not None:
            raise ValueError("step = 'all': the steps of a file in pieces cannot be read; join the pieces first")
        if self.file is None:
            _require_own_files(self)
        if self.concatenate is not None and PART not in PathPattern.parse(self.concatenate).names:
            raise ValueError(
                f"concatenate: expected {{{PART}}} in {self.concatenate!r}; put it in place of the pieces' numbers"
            )
        return self

    @property
    def arrays(self) -> dict[str, tuple[str, ...]]:
        """Names of the arrays in the file by field."""
        return {name: field.names for name, field in self.fields.items() if isinstance(field, ArrayField)}

    def with_fields(self, fields: Mapping[str, FieldMapping]) -> Self:
        """Return the domain with only its position and some fields.

        If `association` is None for a mesh, the other array fields are kept too: the association is derived from them.
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
        """Whether a file of the domain holds several samples, with one HDF5 group each."""
        if self.group is None or self.file is None:
            return False
        return bool(set(PathPattern.parse(self.group).names) - set(PathPattern.parse(self.file).names))

    @property
    def patterns(self) -> list[str]:
        """Patterns of all files that the domain needs, without the pieces, which can replace the whole file."""
        own = [field.file for field in self.fields.values() if isinstance(field, FileField)]
        return list(dict.fromkeys(([self.file] if self.file else []) + own))


def _require_own_files(domain: DomainMapping) -> None:
    for name, field in domain.fields.items():
        if not isinstance(field, FileField | DistanceField):
            raise ValueError(  # noqa: TRY004 - the content of the mapping is wrong
                f"field {name!r} needs the domain's file; name it, such as file = 'run_{{n}}/surface.vtp'"
            )
    if POSITION not in domain.fields:
        raise ValueError("the domain has no file and no position; name a file, or write position = { file = ... }")


class SourceMapping(MappingModel):
    """Description of the files of a source.

    Attributes
    ----------
    name : str
        Name of the dataset.
    id : str
        Pattern of the sample ids. Every file pattern, together with the pattern of its HDF5 group, has exactly the
        same placeholders, apart from ``{part}``. A table of many samples can have fewer, and with ``step = "all"`` a
        file can lack ``{step}``.
    domains : dict of str to DomainMapping
        Domains by name.
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
            raise ValueError(f"id: expected names and placeholders only, got {self.id!r}; remove * and {{{PART}}}")
        self._check_steps(names)
        for pattern, group in self._all_patterns():
            own = set(PathPattern.parse(pattern).names + group) - {PART}
            if own != names and not (self.has_steps_as_samples and own == names - {STEP}):
                way_out = (
                    "; write step = 'all' in its domain if the file has all steps" if names - own == {STEP} else ""
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
            raise ValueError(f"attributes: {_UNITS!r} is reserved for the units of the fields; choose another name")
        return self

    @property
    def has_steps_as_samples(self) -> bool:
        """Whether the time steps of a file are samples. Files without steps belong to all of these samples."""
        return any(domain.step == ALL_STEPS for domain in self.domains.values())

    def _check_steps(self, names: Set[str]) -> None:
        for name, domain in self.domains.items():
            if domain.step != ALL_STEPS:
                continue
            if STEP not in names:
                raise ValueError(
                    f"id: expected the placeholder {{{STEP}}}, got {self.id!r}: each step of domain {name!r} is a "
                    f"sample (step = 'all'); write, for example, id = '{self.id}_{{{STEP}}}'"
                )
            if STEP in PathPattern.parse(domain.file or "-").names or domain.group is not None:
                raise ValueError(
                    f"domain {name!r}: step = 'all' allows neither {{{STEP}}} in the file nor a group; remove it"
                )

    def _check_domain(self, name: str, domain: DomainMapping) -> None:
        specs = {field_name: self.spec(name, field_name) for field_name in domain.fields}
        if len({spec.field for spec in specs.values()}) < len(specs):
            raise ValueError(f"domain {name!r}: two of {', '.join(specs)} are names of the same field; remove one")
        for field_name, field in domain.fields.items():
            spec = specs[field_name]
            if field.width not in {None, spec.width}:
                raise ValueError(
                    f"domain {name!r}: {spec.field} has the width {spec.width}, got {field.width}; remove width"
                )
            if isinstance(field, ArrayField) and len(field.names) not in {1, spec.width}:
                raise ValueError(
                    f"domain {name!r}: {spec.field} has the width {spec.width}, got {len(field.names)} arrays: "
                    f"{', '.join(field.names) or 'none'}; name {spec.width} arrays"
                )
            if isinstance(field, DistanceField) and field.to not in self.domains.keys() - {name}:
                others = nearest_names(field.to, self.domains.keys() - {name})
                raise ValueError(
                    f"domain {name!r}: {field_name}: to: expected another domain, got {field.to!r}; {others}"
                )
        self.spec(name, POSITION)

    def _all_patterns(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the patterns of the domains' files, each with the placeholders of the HDF5 group in it."""
        patterns: list[tuple[str, tuple[str, ...]]] = []
        for domain in self.domains.values():
            group = PathPattern.parse(domain.group).names if domain.group else ()
            patterns += [(pattern, group if pattern == domain.file else ()) for pattern in domain.patterns]
            patterns += [(domain.concatenate, group)] if domain.concatenate else []
        return patterns

    def only(self, fields: Collection[str]) -> Self:
        """Return the mapping of some fields (canonical names), without attributes.

        The result also has the positions of their domains, and the domains to which distances are measured.
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
        """Return the attributes that are read from files, by name."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, AttributeFile)}

    def spec(self, domain: str, name: str) -> FieldSpec:
        """Return the specification of a field: attribute of the file map, canonical name and width."""
        attribute = f"{domain}_{name}"
        known = CANONICAL_TO_SPEC.get(attribute) or _BY_ATTRIBUTE.get(attribute)
        if known is not None:
            if known.domain != domain:
                raise ValueError(
                    f"domain {domain!r} cannot have the field {name!r}; write it as {known.name!r} of the domain "
                    f"{known.domain!r}"
                )
            return known
        if "_" in domain or hasattr(FileMap, attribute):
            raise ValueError(
                f"domain {domain!r} cannot have the field {name!r}; choose another name for the domain, without '_'"
            )
        field = self.domains[domain].fields.get(name)
        default_width = 3 if name == POSITION or isinstance(field, NormalsField) else 1
        if isinstance(field, ArrayField) and len(field.names) > 1 and name != POSITION:
            default_width = len(field.names)
        width = None if field is None else field.width
        return FieldSpec(attribute, attribute, domain, name, width or default_width)

    def filemap(self) -> FileMap:
        """Return the file map for a writer. Fields that `FileMap` lacks are added to it."""
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
        """Return the known units of fields by canonical name."""
        return {field: one["units"] for field, one in self.field_attributes().items() if "units" in one}

    def field_attributes(self) -> dict[str, dict[str, str]]:
        """Return the known ``units`` and ``long_name`` of fields by canonical name."""
        attributes: dict[str, dict[str, str]] = {}
        for domain_name, domain in self.domains.items():
            for name, field in domain.fields.items():
                said = {"units": field.units, "long_name": field.long_name}
                known = {key: value for key, value in said.items() if value is not None}
                if known:
                    attributes[self.spec(domain_name, name).field] = known
        return attributes


def step_of(domain: DomainMapping, values: Mapping[str, str]) -> Step:
    """Return the time step of a domain in a sample; `values` are the sample's placeholder values."""
    return int(values[STEP]) if domain.step == ALL_STEPS else domain.step  # type: ignore[return-value]  # the mapping was checked
