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
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.export import export_sample


@command("export")
def export_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Sample to export.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="File to write: .vtu, .vtp, .case (EnSight), or .npz without a mesh."),
    ],
    onto: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Mesh of the sample: .vtu, .vtp, .pvtu, .pvtp, .vtk, .vtm, .case, .vtkhdf, .cgns or .h5.",
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Part of the mesh, or pattern such as 'Body*'. May be repeated (default: the parts that fit).",
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Domain to export (default: the domain that fits the mesh).")
    ] = None,
    association: Annotated[
        str | None,
        typer.Option(
            metavar="cell|point",
            help="Write data of the cells or of the points of the mesh (default: the kind that fits).",
            autocompletion=completes(("cell", "point")),
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        field_option("Field to export (default: all fields, or none with --predictions)"),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File .npz of arrays to write, in stored order.")
    ] = None,
    check_positions: Annotated[
        bool, typer.Option(help="Refuse a mesh whose positions differ from the stored ones.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TARGET if it exists.")] = False,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Write fields onto the mesh of a sample.

    --onto names the mesh from which the sample was converted; its own arrays are kept. A mesh with another number of
    cells or points is refused. --predictions names arrays to write along with the fields.
    """
    out = Output(as_json)
    with errors_reported(debug):
        done = export_sample(
            store,
            sample,
            target,
            onto=onto,
            parts=part,
            domain=domain,
            association=association,  # type: ignore[arg-type] # export_sample checks it
            fields=field_names(field),
            predictions=None if predictions is None else _load(predictions),
            check_positions=check_positions,
            overwrite=overwrite,
            storage_options=parse_options(storage_option, "--storage-option"),
        )
        for reason in done.left_out:
            out.note(f"note: left out of {done.path}: {reason}")
        where = f" ({done.domain} as {done.association} data of {', '.join(done.parts)})" if done.parts else ""
        out.line(f"{done.path}: {', '.join(done.arrays)}{where}")
        out.document(done)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ArgumentError(
            f"--predictions {path}: cannot be read ({error.strerror or error}); check the path"
        ) from error
    # NumPy's message recommends loading a pickle, which could run code. A .npy file causes the TypeError.
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArgumentError(
            f"--predictions {path}: expected a .npz file with arrays of numbers; write it with numpy.savez"
        ) from error
