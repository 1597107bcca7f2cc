"""``noether-zarr export``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.export import export_sample


@command("export")
def export_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[str, typer.Argument(help="Sample to export.")],
    target: Annotated[Path, typer.Argument(help="File to write: .vtu, .vtp, .case (EnSight), or .npz without a mesh.")],
    onto: Annotated[
        Path | None,
        typer.Option(
            help="Mesh that the sample is of: .vtu, .vtp, .pvtu, .pvtp, .vtk, .vtm, .case, .vtkhdf, .cgns or .h5."
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Part of the mesh, or pattern such as 'Body*'. May be repeated (default: what fits)."),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Domain to export (default: the one that fits the mesh).")] = None,
    association: Annotated[
        str | None, typer.Option(help="Whether its points are the mesh's: cell or point (default: what fits).")
    ] = None,
    field: Annotated[
        list[str] | None,
        field_option("Field to export (default: all fields, or none with --predictions)"),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="File .npz of arrays in stored order, which are written by their names.")
    ] = None,
    check_positions: Annotated[bool, typer.Option(help="Refuse a mesh that lies elsewhere than the points.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace TARGET where it is there.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Write fields of SAMPLE, or predictions of them, onto the mesh that it was made from, as TARGET.

    The mesh keeps its own arrays. A mesh with other numbers of cells and points is refused.
    """
    with errors_reported(debug):
        done = export_sample(
            store,
            sample,
            target,
            onto=onto,
            parts=part,
            domain=domain,
            association=association,  # type: ignore[arg-type] # it is checked there, with its own message
            fields=field_names(field),
            predictions=None if predictions is None else _load(predictions),
            check_positions=check_positions,
            overwrite=overwrite,
            storage_options=parse_options(storage_option, "--storage-option"),
        )
        for reason in done.left_out:
            typer.echo(f"note: left out of {done.path}: {reason}")
        onto_what = f" ({done.domain} as {done.association} data of {', '.join(done.parts)})" if done.parts else ""
        typer.echo(f"{done.path}: {', '.join(done.arrays)}{onto_what}")


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ArgumentError(f"--predictions {path}: cannot be read ({error.strerror or error})") from error
    # NumPy's own message advises to load a pickle, which runs its code; a .npy is no archive at all.
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArgumentError(
            f"--predictions {path}: expected a .npz of arrays of numbers, as numpy.savez writes it"
        ) from error
