"""``noether-zarr convert``."""

from __future__ import annotations

from inspect import signature
from typing import Annotated, Any

import typer

from noether.data.zarr_store.cli.app import (
    Debug,
    StorageOption,
    command,
    errors_reported,
    key_values,
    parse_options,
)
from noether.data.zarr_store.cli.convert_output import (
    conversion_progress,
    exit_code,
    plan_document,
    print_plan,
    print_report,
    report_document,
)
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import (
    DaskOption,
    DryRunOption,
    LimitOption,
    NonFiniteOption,
    PartOption,
    TimeoutOption,
    WorkersOption,
    opened_executor,
    part_of,
    termination_interrupts,
    wanted_workers,
)
from noether.data.zarr_store.cli.source_options import (
    FilemapOption,
    MappingOption,
    PresetOption,
    SourceOption,
    open_source,
)
from noether.data.zarr_store.convert import (
    Mode,
    choose_workers,
    convert,
    open_writer,
    plan_conversion,
    select_samples,
)
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.manifest import read_split_files, save_splits
from noether.data.zarr_store.sources import field_attributes_of
from noether.data.zarr_store.writer import ZarrStoreWriter


def _default(parameter: str) -> str:
    return f"(default: the store's, or {signature(ZarrStoreWriter).parameters[parameter].default})"


@command("convert")
def convert_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Directory or URL of the source.")],
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store, new or existing.")],
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the dataset (default: the name in the store, else that of the preset or mapping, else that "
            "of the source directory).",
        ),
    ] = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = None,
    dask: DaskOption = None,
    part: PartOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip complete samples whose source is unchanged; this is the default.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Convert only the samples that failed the last time.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Convert complete samples again, too.")] = False,
    dry_run: DryRunOption = False,
    chunk_points: Annotated[
        str | None,
        typer.Option(
            metavar="N|DOMAIN=N,…",
            help=f"Points of a chunk, for all domains or by domain {_default('chunk_points')}.",
        ),
    ] = None,
    shard_points: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most points of a shard (default: the store's, or all points of the field)."),
    ] = None,
    coords_dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help=f"Stored dtype of positions {_default('coords_dtype')}.")
    ] = None,
    values_dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help=f"Stored dtype of all other fields {_default('values_dtype')}.")
    ] = None,
    field_dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=DTYPE", help="Stored dtype of one field. May be repeated."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help=f"Seed of the shuffle {_default('shuffle_seed')}.")
    ] = None,
    compression_level: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Level from 0 to 9. 0 is faster on local disks, since it stores values without compression; 1 to 5 "
            f"are the same, and higher levels save little {_default('compression_level')}.",
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z",
            help="Point to subtract from all positions before the cast, for coordinates far from 0 "
            "(default: the store's, or 0,0,0).",
        ),
    ] = None,
    checksum: Annotated[
        bool | None,
        typer.Option(
            "--checksum/--no-checksum", help="Store a crc32c with each chunk (default: the store's, or --checksum)."
        ),
    ] = None,
    non_finite: NonFiniteOption = "raise",
    limit: LimitOption = None,
    split_file: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="File with the sample ids of a split, one a line. May be repeated."),
    ] = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Convert a source into a store.

    Samples that STORE already has are skipped. With --preset or --filemap, a sample is a directory of .pt, .npy or .npz
    files. With --mapping, it consists of the files that the mapping describes: VTK, EnSight, STL, HDF5 or arrays.

    A sample fails alone if its files are broken, or if its process crashes, exceeds --timeout or is killed. Failed
    samples are listed at the end and in conversion.json in the store.

    Exit codes: 0 all samples are converted, 1 no sample is, 2 wrong usage, 3 some samples failed, 130 interrupted.
    """
    out = Output(as_json)
    with errors_reported(debug):
        tree, default_name = open_source(
            source, preset, filemap, mapping, parse_options(source_option, "--source-option")
        )
        mode, own_part = _mode(resume, retry_failed, overwrite), part_of(part)
        settings: dict[str, Any] = {
            "dataset_name": name,
            "shuffle_seed": seed,
            "chunk_points": None if chunk_points is None else _chunk_points(chunk_points),
            "shard_points": shard_points,
            "coords_dtype": coords_dtype,
            "values_dtype": values_dtype,
            "field_dtypes": key_values(field_dtype, "--field-dtype", "FIELD=DTYPE") or None,
            "compression_level": compression_level,
            "checksum": checksum,
            "origin": None if origin is None else _origin(origin),
        }
        writer = open_writer(
            store,
            tree.filemap,
            default_name,
            **{key: value for key, value in settings.items() if value is not None},
            overwrite=mode == "overwrite",
            non_finite=non_finite,  # type: ignore[arg-type] # the writer checks it, with its own message
            storage_options=parse_options(storage_option, "--storage-option"),
            # A Dask worker shares its machine with others, and each of its own threads converts a sample.
            threads=None if dask is None else 1,
            field_attributes=field_attributes_of(tree),
        )
        split_files = key_values(split_file, "--split-file", "NAME=FILE")
        splits, split_notices = read_split_files(split_files, {*tree.sample_ids(), *writer.manifest.samples})
        for notice in (*tree.notices, *split_notices, *_name_notices(writer, name, default_name)):
            out.note(f"note: {notice}")
        sample_ids = select_samples(tree, writer, mode=mode, limit=limit, part=own_part)
        wanted = wanted_workers(workers, timeout, dask)
        if dry_run:
            here = 1 if wanted == 0 and dask is None else wanted
            plan = plan_conversion(tree, writer, sample_ids, workers=here, mode=mode, keep_grids=True)
            print_plan(plan, writer.store_root, out)
            out.document(plan_document(plan, writer.store_root))
            return
        with termination_interrupts(), opened_executor(dask) as executor:
            if wanted == "auto":
                count = choose_workers(tree, writer, sample_ids, timeout=timeout, mode=mode, keep_grids=True)
                out.note(str(count))
                wanted = count.n_workers
            with conversion_progress(len(sample_ids)) as show:
                report = convert(
                    tree,
                    writer,
                    workers=wanted,
                    timeout=timeout,
                    executor=executor,
                    mode=mode,
                    limit=limit,
                    part=own_part,
                    keep_grids=True,
                    on_result=show,
                )
        if splits and writer.manifest.samples:
            save_splits(writer.store_root, splits, storage_options=writer.settings.storage_options)
        print_report(report, writer.store_root, out)
        if not report.is_indexed:
            out.note("note: other parts are missing; when all parts are converted, use noether-zarr merge STORE")
        out.document(report_document(report, writer.store_root))
        raise typer.Exit(exit_code(report, debug=debug))


def _name_notices(writer: ZarrStoreWriter, name: str | None, default_name: str) -> list[str]:
    if name is not None or writer.dataset_name == default_name:
        return []
    return [f"the dataset of the store keeps its name {writer.dataset_name!r}; the source is named {default_name!r}"]


def _chunk_points(text: str) -> int | dict[str, int]:
    pairs = key_values(text.split(","), "--chunk-points", "DOMAIN=N") if "=" in text else {"": text}
    try:
        points = {domain: int(number) for domain, number in pairs.items()}
    except ValueError:
        raise ArgumentError(
            f"--chunk-points: expected N, or DOMAIN=N,… such as surface=4096,volume=16384, got {text!r}"
        ) from None
    return points.get("", points)


def _origin(text: str) -> tuple[float, ...]:
    try:
        x, y, z = map(float, text.split(","))
    except ValueError:
        raise ArgumentError(f"--origin: expected three numbers such as 482000,5480000,0, got {text!r}") from None
    return x, y, z


def _mode(resume: bool, retry_failed: bool, overwrite: bool) -> Mode:
    if resume + retry_failed + overwrite > 1:
        raise ArgumentError("expected one of --resume, --retry-failed and --overwrite, got several; use one")
    return "retry-failed" if retry_failed else "overwrite" if overwrite else "resume"
