"""``noether-zarr convert``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import typer
from pydantic import ValidationError

from noether.data.schemas import FileMap
from noether.data.zarr_store.cli.app import (
    FAILED,
    Debug,
    StorageOption,
    app,
    errors_reported,
    key_values,
    parse_options,
)
from noether.data.zarr_store.convert import ConversionReport, convert
from noether.data.zarr_store.display import conversion_progress
from noether.data.zarr_store.errors import ArgumentError, nearest_names
from noether.data.zarr_store.presets import PRESETS, find_preset
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import normalize_root
from noether.data.zarr_store.writer import ZarrStoreWriter

SOME_FAILED = 3


@app.command("convert")
def convert_command(
    source: Annotated[str, typer.Argument(help="Directory or URL with one directory per sample.")],
    store: Annotated[str, typer.Argument(help="Directory or URL of the store, new or to be added to.")],
    preset: Annotated[str | None, typer.Option(help=f"File names of a dataset: {', '.join(PRESETS)}.")] = None,
    filemap: Annotated[Path | None, typer.Option(help="JSON file with the file name of each field.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset. [default: the preset's, or the source's]")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that convert at the same time.")] = 1,
    chunk_points: Annotated[int, typer.Option(help="Points of a chunk, the unit of reading.")] = 4096,
    shard_points: Annotated[
        int | None, typer.Option(help="Most points of a shard, one object. [default: the whole field]")
    ] = None,
    coords_dtype: Annotated[str, typer.Option(help="Stored dtype of positions.")] = "float32",
    values_dtype: Annotated[str, typer.Option(help="Stored dtype of all other fields.")] = "float16",
    field_dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=DTYPE", help="Stored dtype of one field. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 0,
    compression_level: Annotated[int, typer.Option(help="Level of zstd, 0 to 9.")] = 5,
    checksum: Annotated[bool, typer.Option(help="Give every chunk a crc32c.")] = True,
    non_finite: Annotated[str, typer.Option(help="What to do with NaN and infinity: raise or allow.")] = "raise",
    limit: Annotated[int | None, typer.Option(help="Convert only the first so many samples.")] = None,
    storage_option: StorageOption = None,
    source_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the source's file system. May be repeated."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Convert the samples of SOURCE that STORE does not have yet.

    A sample is a directory with the files that the preset or file map names, as .pt or .npy. Samples that cannot be
    converted are skipped and named at the end. Exit codes: 0 all is converted, 1 nothing is, 2 wrong usage,
    3 some samples failed, 130 interrupted.
    """
    with errors_reported(debug):
        files, optional, default_name = _file_map(preset, filemap, source)
        tree = TreeSource(source, files, optional, parse_options(source_option, "--source-option"))
        writer = ZarrStoreWriter(
            store,
            tree.filemap,
            default_name if name is None else name,
            shuffle_seed=seed,
            chunk_points=chunk_points,
            shard_points=shard_points,
            coords_dtype=coords_dtype,
            values_dtype=values_dtype,
            field_dtypes=key_values(field_dtype, "--field-dtype", "FIELD=DTYPE"),
            compression_level=compression_level,
            checksum=checksum,
            non_finite=non_finite,  # type: ignore[arg-type] # the writer checks it, with its own message
            storage_options=parse_options(storage_option, "--storage-option"),
        )
        for notice in tree.notices:
            typer.echo(f"note: {notice}")
        total = len(tree.sample_ids()) if limit is None else min(limit, len(tree.sample_ids()))
        with conversion_progress(total) as show:
            report = convert(tree, writer, workers=workers, limit=limit, on_result=show)
        raise typer.Exit(_report(report, writer.store_root, debug))


def _file_map(preset: str | None, path: Path | None, source: str) -> tuple[FileMap, frozenset[str], str]:
    """Give the file map, its optional attributes, and a name for the dataset."""
    if preset is not None and path is None:
        known = find_preset(preset)
        return known.filemap, known.optional, known.name
    if path is None or preset is not None:
        got = "neither" if path is None else "both"
        raise ArgumentError(f"expected either --preset or --filemap, got {got}; presets: {', '.join(PRESETS)}")
    try:
        files = FileMap.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArgumentError(f"--filemap {path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = problem["msg"]
        if problem["type"] == "extra_forbidden":
            what = f"no such field; {nearest_names(where, FileMap.model_fields)}"
        raise ArgumentError(
            f"--filemap {path}: {where + ': ' if where else ''}{what}; expected a JSON object such as "
            '{"surface_position": "points.npy", "surface_pressure": "p.npy"}'
        ) from error
    return files, frozenset(), PurePosixPath(normalize_root(source)).name


def _report(report: ConversionReport, store_root: str, debug: bool) -> int:
    """Print what became of the samples; give the exit code."""
    converted, skipped, failed = (report.having(outcome) for outcome in ("converted", "skipped", "failed"))
    typer.echo(f"{len(converted)} converted, {len(skipped)} complete before, {len(failed)} failed; store: {store_root}")
    for result in failed:
        typer.echo(f"failed: {result.reason}", err=True)
        if debug:
            typer.echo(result.trace, err=True)
    if failed:
        return SOME_FAILED if converted or skipped else FAILED
    return 0
