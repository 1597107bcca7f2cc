"""How commands are told what a source is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from noether.data.schemas import FileMap
from noether.data.zarr_store.convert import ReportFile
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError
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

PresetOption = Annotated[str | None, typer.Option(help=f"File names of a dataset: {', '.join(PRESETS)}.")]
FilemapOption = Annotated[Path | None, typer.Option(help="JSON file with the file name of each field.")]
MappingOption = Annotated[
    str | None,
    typer.Option(metavar="FILE|NAME", help=f"What files hold, a mapping.toml: {', '.join(shipped_mappings())}."),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Option of the source's file system. May be repeated."),
]


def open_source(
    source: str, preset: str | None, filemap: Path | None, mapping: str | None, options: dict[str, Any]
) -> tuple[TreeSource | MappedSource, str]:
    """Open the source, and give a name for the dataset."""
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
    """Open the source of a store; without an option, the file names are those of its last conversion."""
    if preset is None and filemap is None and mapping is None:
        recorded = _recorded_files(store, storage_options)
        if recorded is not None:
            files, field_attributes = recorded
            return TreeSource(source, files, frozenset(), options, field_attributes)
    opened, _ = open_source(source, preset, filemap, mapping, options)
    return opened


def _recorded_files(store: str, storage_options: Mapping[str, Any]) -> tuple[FileMap, dict[str, dict[str, str]]] | None:
    """Return the file map of the last conversion, and what it said of the fields' meaning."""
    try:
        runs = ReportFile.load(store, storage_options=storage_options).runs
        recorded = [run.settings for run in runs if "filemap" in run.settings]
        if not recorded:
            return None
        files = FileMap.model_validate(recorded[-1]["filemap"])
        meaning = TypeAdapter(dict[str, dict[str, str]]).validate_python(recorded[-1].get("field_attributes", {}))
    except (ArgumentError, CorruptDataError, ValidationError):
        return None  # damaged, or of a subclass, with fields that nobody knows here
    # A mapping is more than the names that are recorded of it: "VTK/run.vtu:pMean".
    is_mapping = any(":" in name for name in files.model_dump(exclude_none=True).values())
    return None if is_mapping else (files, meaning)


def _read_filemap(path: Path) -> FileMap:
    try:
        return FileMap.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArgumentError(f"--filemap {path}: cannot be read ({error.strerror})") from error
    except ArgumentError as error:
        raise ArgumentError(f"--filemap {path}: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in problem["loc"])
        raise ArgumentError(
            f"--filemap {path}: {where}{problem['msg']}; expected a JSON object such as "
            '{"surface_position": "points.npy", "surface_pressure": "p.npy"}'
        ) from error
