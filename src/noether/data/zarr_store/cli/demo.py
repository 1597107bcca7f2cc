"""``noether-zarr demo``."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, command, errors_reported
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import termination_interrupts
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.demo import Demo, write_demo

# By extra: a library that it installs, and the use that needs it.
_EXTRAS = {"plot": ("matplotlib", "plot"), "torch": ("torch", "training"), "view": ("starlette", "view")}


@command("demo")
def demo_command(
    directory: Annotated[
        str, typer.Argument(metavar="DIRECTORY", help="New or empty directory to write (default: noether-demo).")
    ] = "noether-demo",
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Write simulations and a store to try the commands on.

    DIRECTORY gets six small simulations of the Ahmed body as arrays, two of them as VTK files of OpenFOAM, and the
    store that is converted from the arrays. The command prints what to try next.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing was written"):
        with termination_interrupts():
            demo = write_demo(directory)
        commands, has_torch = _commands(demo), find_spec("torch") is not None
        python = _batch(demo) if has_torch else _draw(demo)
        out.line(f"{demo.simulations}: {demo.n_samples} simulations of the Ahmed body as .npy files, with splits")
        out.line(f"{demo.vtk}: two of them as VTK files of OpenFOAM")
        out.line(f"{demo.store}: the store of all {demo.n_samples}, {decimal(demo.stored_bytes)}")
        if not as_json:
            title = "The first batch, in Python:" if has_torch else "A draw of 2,048 points, in Python:"
            lines = ["", "To try:", "", *commands, "", title, "", *python, *_installation()]
            # A terminal gets these lines without line breaks and indentation, so that they can be pasted.
            typer.echo(printable("\n".join(lines)))
        out.document(
            {
                "directory": directory,
                "simulations": demo.simulations,
                "vtk": demo.vtk,
                "store_root": demo.store,
                "n_samples": demo.n_samples,
                "n_bytes": demo.stored_bytes,
                "commands": commands,
                "python": python,
            }
        )


def _commands(demo: Demo) -> list[str]:
    store, vtk = shlex.quote(str(demo.store)), shlex.quote(str(demo.vtk))
    return [
        f"noether-zarr info {store}",
        f"noether-zarr plot {store} run_1 pressure.png --field surface_pressure --mirror y",
        f"noether-zarr inspect {vtk}",
        f"noether-zarr view {store}",
    ]


def _batch(demo: Demo) -> list[str]:
    points = {"surface": 512, "volume": 2048}
    return [
        "from noether.data.zarr_store import ZarrStoreDataset",
        f"dataset = ZarrStoreDataset({str(demo.store)!r}, num_points={points}, split='train')",
        "print(next(iter(dataset.loader(batch_size=2, shuffle=True)))['volume_velocity'].shape)",
    ]


def _draw(demo: Demo) -> list[str]:
    return [
        "from noether.data.zarr_store import ZarrChunkReader",
        f"reader = ZarrChunkReader({str(demo.store)!r})",
        "print(reader.read_arrays('run_1', {'volume': 2048})['volume_velocity'].shape)",
    ]


def _installation() -> list[str]:
    """Return lines with the command that installs the packages that are missing."""
    missing = [extra for extra, (library, _) in _EXTRAS.items() if find_spec(library) is None]
    if not missing:
        return []
    uses = ", ".join(_EXTRAS[extra][1] for extra in missing)
    return ["", f"More packages are needed for {uses}:", "", f"pip install 'noether-zarr-store[{','.join(missing)}]'"]
