"""The command ``noether-zarr``: parse, call, print."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from noether.data.schemas import FileMap
from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.chunk_index import write_chunk_index
from noether.data.zarr_store.convert import ConversionReport, convert
from noether.data.zarr_store.display import conversion_progress, print_summary
from noether.data.zarr_store.errors import ArgumentError, StoreError, nearest_names
from noether.data.zarr_store.presets import PRESETS, find_preset
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import join, normalize_root
from noether.data.zarr_store.summary import summarize
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["app", "main"]

NOTHING_CONVERTED, WRONG_USAGE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="noether-zarr",
    help="Sharded, pre-shuffled Zarr v3 stores for CFD point data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="Option of the store's file system, such as endpoint=http://127.0.0.1:8333. May be repeated.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


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
    with _errors_reported(debug):
        files, optional, default_name = _file_map(preset, filemap, source)
        tree = TreeSource(source, files, optional, _options(source_option, "--source-option"))
        writer = ZarrStoreWriter(
            store,
            tree.filemap,
            default_name if name is None else name,
            shuffle_seed=seed,
            chunk_points=chunk_points,
            shard_points=shard_points,
            coords_dtype=coords_dtype,
            values_dtype=values_dtype,
            field_dtypes=_key_values(field_dtype, "--field-dtype", "FIELD=DTYPE"),
            compression_level=compression_level,
            checksum=checksum,
            non_finite=non_finite,  # type: ignore[arg-type] # the writer checks it, with its own message
            storage_options=_options(storage_option, "--storage-option"),
        )
        for notice in tree.notices:
            typer.echo(f"note: {notice}")
        total = len(tree.sample_ids()) if limit is None else min(limit, len(tree.sample_ids()))
        with conversion_progress(total) as show:
            report = convert(tree, writer, workers=workers, limit=limit, on_result=show)
        raise typer.Exit(_report(report, writer.store_root, debug))


@app.command("info")
def info_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[str | None, typer.Argument(help="Sample to show. [default: the whole store]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Show what STORE, or one SAMPLE of it, holds: points, chunks, bytes, and what the casts lost."""
    with _errors_reported(debug):
        summary = summarize(store, sample, storage_options=_options(storage_option, "--storage-option"))
        if as_json:
            typer.echo(json.dumps(asdict(summary), indent=2))
        else:
            print_summary(summary, Console(markup=False, emoji=False, highlight=False))


@app.command("index")
def index_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Make the chunk index of STORE, with which a draw reads nothing but its chunks.

    Every conversion ends with this; it is for stores that were written otherwise, also by other tools.
    """
    with _errors_reported(debug):
        options = _options(storage_option, "--storage-option")
        typer.echo(f"chunk index: {join(store, write_chunk_index(store, storage_options=options))}")


def main() -> None:
    """Run the command."""
    app()


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
        return SOME_FAILED if converted or skipped else NOTHING_CONVERTED
    return 0


@contextmanager
def _errors_reported(debug: bool) -> Iterator[None]:
    """Turn errors into one line and an exit code; the traceback is for those who ask for it."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted; what is complete is kept: run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, StoreError):
            typer.echo(f"error: {error}", err=True)
        else:
            typer.echo(f"unexpected error: {type(error).__name__}: {error} (--debug shows where)", err=True)
        raise typer.Exit(WRONG_USAGE if isinstance(error, ArgumentError) else NOTHING_CONVERTED) from error


def _key_values(pairs: list[str] | None, option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    parsed = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ArgumentError(f"{option}: expected {form}, got {pair!r}")
        parsed[key] = value
    return parsed


def _options(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Parse options of a file system; objects, lists and booleans are written as JSON."""
    options: dict[str, Any] = dict(_key_values(pairs, option))
    for key, value in options.items():
        if value in {"true", "false"} or value[0] in "{[":
            try:
                options[key] = json.loads(value)
            except ValueError as error:
                raise ArgumentError(
                    f"{option}: {key}: expected JSON after a bracket, got {value!r} ({error})"
                ) from error
    return options
