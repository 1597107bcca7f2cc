"""Options that describe a source, and the source that they describe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import from_json

from noether.data.schemas import FileMap, extended_filemap
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.convert import REPORT_NAME, ReportFile
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError
from noether.data.zarr_store.layout import CANONICAL_TO_SPEC
from noether.data.zarr_store.sources import MappedSource, TreeSource, find_mapping, shipped_mappings
from noether.data.zarr_store.sources.presets import PRESETS, find_preset
from noether.data.zarr_store.stores import normalize_root

__all__ = [
    "FilemapOption",
    "MappingOption",
    "PresetOption",
    "SourceOption",
    "open_former_source",
    "open_source",
]

PresetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"Use the file names of a public dataset: {', '.join(PRESETS)}.",
        autocompletion=completes(PRESETS),
    ),
]
FilemapOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="JSON file that maps each field to a file name.")
]
MappingOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|NAME",
        help=f"Mapping that describes the files: a mapping.toml, or one of {', '.join(shipped_mappings())}.",
        autocompletion=completes(shipped_mappings()),
    ),
]
_BY_ATTRIBUTE = {spec.attribute: spec for spec in CANONICAL_TO_SPEC.values()}
_FIELD_NAME = re.compile(r"[a-z][a-z0-9]*_[a-z][a-z0-9_]*")

SourceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Option of the storage of the source. May be repeated."),
]


class _OwnField(BaseModel):
    """A field of a file map that is not in `FileMap`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file: str
    width: PositiveInt = 1


def open_source(
    source: str, preset: str | None, filemap: Path | None, mapping: str | None, options: dict[str, Any]
) -> tuple[TreeSource | MappedSource, str]:
    """Open the source; return it with a name for the dataset."""
    options_given = {"--preset": preset, "--filemap": filemap, "--mapping": mapping}
    given = [option for option, value in options_given.items() if value is not None]
    if len(given) == 1:
        if mapping is not None:
            chosen = find_mapping(mapping)
            return MappedSource(source, chosen, options), chosen.name
        if preset is not None:
            known = find_preset(preset)
            return TreeSource(source, known.filemap, known.optional, options, known.field_attributes), known.name
        if filemap is not None:
            name = PurePosixPath(normalize_root(source)).name
            return TreeSource(source, _read_filemap(filemap), frozenset(), options), name
    raise ArgumentError(
        f"expected one of --preset, --filemap and --mapping, got {' and '.join(given) or 'none'}; "
        f"presets: {', '.join(PRESETS)}; mappings: {', '.join(shipped_mappings())}"
    )


def open_former_source(
    source: str,
    preset: str | None,
    filemap: Path | None,
    mapping: str | None,
    options: dict[str, Any],
    store: str,
    storage_options: Mapping[str, Any],
) -> TreeSource | MappedSource:
    """Open the source of a store; without an option, use the file names of the last conversion."""
    if preset is None and filemap is None and mapping is None:
        recorded = _recorded_files(store, storage_options)
        if recorded is not None:
            files, field_attributes = recorded
            return TreeSource(source, files, frozenset(), options, field_attributes)
        raise ArgumentError(
            f"--source {source}: {REPORT_NAME} of the store does not describe all files of the source; "
            "name them as the conversion did, with --mapping, --preset or --filemap"
        )
    opened, _ = open_source(source, preset, filemap, mapping, options)
    return opened


def _recorded_files(store: str, storage_options: Mapping[str, Any]) -> tuple[FileMap, dict[str, dict[str, str]]] | None:
    """Return the file map of the last conversion, and its units and long names by field."""
    try:
        runs = ReportFile.load(store, storage_options=storage_options).runs
        recorded = [run.settings for run in runs if run.kind == "convert" and "filemap" in run.settings]
        if not recorded:
            return None
        files = FileMap.model_validate(recorded[-1]["filemap"])
        meaning = TypeAdapter(dict[str, dict[str, str]]).validate_python(recorded[-1].get("field_attributes", {}))
    except (ArgumentError, CorruptDataError, ValidationError):
        return None  # the report is damaged, or its file map has fields that are unknown here
    # The recorded names of a mapping, such as "VTK/run.vtu:pMean", do not describe it fully.
    is_mapping = any(":" in name for name in files.model_dump(exclude_none=True).values())
    return None if is_mapping else (files, meaning)


def _read_filemap(path: Path) -> FileMap:
    try:
        return _parsed_filemap(path.read_bytes())
    except OSError as error:
        raise ArgumentError(f"--filemap {path}: cannot be read ({error.strerror}); check the path") from error
    except ArgumentError as error:
        raise ArgumentError(f"--filemap {path}: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in problem["loc"])
        raise ArgumentError(
            f"--filemap {path}: {where}{problem['msg']}; expected a JSON object such as "
            '{"surface_position": "points.npy", "surface_pressure": "p.npy"}'
        ) from error


def _parsed_filemap(text: bytes) -> FileMap:
    """Return a file map from JSON. A field that is not in `FileMap` is an object with a file and a width."""
    try:
        content = from_json(text)
    except ValueError:
        content = None  # pydantic raises the error below
    own = {name: one for name, one in content.items() if isinstance(one, dict)} if isinstance(content, dict) else {}
    if not own:
        return FileMap.model_validate_json(text)
    added = TypeAdapter(dict[str, _OwnField]).validate_python(own)
    for name, field in added.items():
        known = CANONICAL_TO_SPEC.get(name) or _BY_ATTRIBUTE.get(name)
        if known is not None and known.width != field.width:
            raise ArgumentError(
                f"{name}: expected width {known.width}, got {field.width}; write the name of the file, without a width"
            )
        if known is None and not _FIELD_NAME.fullmatch(name):
            raise ArgumentError(f"{name!r}: expected a name of the form <domain>_<name>, such as volume_temperature")
    files = {**content, **{name: field.file for name, field in added.items()}}
    widths = {name: one.width for name, one in added.items() if name not in {*CANONICAL_TO_SPEC, *_BY_ATTRIBUTE}}
    return extended_filemap(files, widths)
