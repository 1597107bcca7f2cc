"""``noether-zarr plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.plotting import VIEWS, Axis, Component, plot_sample


@command("plot")
def plot_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Sample to plot.")],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Picture to write: .png, .pdf or .svg.")],
    field: Annotated[str, typer.Option(metavar="FIELD", help="Field that colours the points.")],
    component: Annotated[
        str | None,
        typer.Option(metavar="COMPONENT", help="Component of a vector: x, y, z, a number or magnitude (the default)."),
    ] = None,
    points: Annotated[int, typer.Option(metavar="N", help="Points to draw at random; 0 reads all points.")] = 100_000,
    view: Annotated[
        str | None,
        typer.Option(
            metavar="VIEW",
            help=f"View: {', '.join(VIEWS)}, or AZIMUTH,ELEVATION of the eye in degrees (default: corner).",
            autocompletion=completes(VIEWS),
        ),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option("--slice", metavar="AXIS=VALUE", help="Show only the points near a plane, such as y=0."),
    ] = None,
    size: Annotated[str, typer.Option(metavar="WIDTH,HEIGHT", help="Size of the picture in pixels.")] = "1200,800",
    cmap: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Colour map of Matplotlib (default: viridis, or coolwarm around 0)."),
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="LOW,HIGH", help="Values at the ends of the colours (default: percentiles 1 and 99)."
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="x|y|z", help="Mirror half a body at 0 of this axis.", autocompletion=completes(("x", "y", "z"))
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draw.")] = 0,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Plot a sample, coloured by a field.

    The command reads a random draw of the points, so a sample of any size takes about a second. Use --slice for a
    volume, because its outer points hide the others.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing is written"):
        made = plot_sample(
            store,
            sample,
            field,
            picture,
            component=_component(component),
            num_points=points or None,
            view=_pair(view, "--view", "AZIMUTH,ELEVATION") if view and "," in view else view,
            slab=None if plane is None else _plane(plane),
            size=_pixels(size),
            cmap=cmap,
            value_range=None if value_range is None else _pair(value_range, "--range", "LOW,HIGH"),
            mirror=mirror,  # type: ignore[arg-type] # plot_sample checks it
            storage_options=parse_options(storage_option, "--storage-option"),
            seed=seed,
        )
        out.line(f"plotted: {made}")
        out.document({"path": made})


def _component(text: str | None) -> Component | None:
    return int(text) if text is not None and text.isdecimal() else text  # type: ignore[return-value] # plot_sample checks it


def _pair(text: str, option: str, form: str) -> tuple[float, float]:
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise ArgumentError(f"{option}: expected two numbers, got {text!r}; write {form}") from None
    return first, second


def _plane(text: str) -> tuple[Axis, float]:
    axis, _, value = text.partition("=")
    try:
        return axis, float(value)  # type: ignore[return-value] # plot_sample checks the axis
    except ValueError:
        raise ArgumentError(f"--slice: expected an axis and a number, got {text!r}; write, for example, y=0") from None


def _pixels(text: str) -> tuple[int, int]:
    width, height = _pair(text, "--size", "WIDTH,HEIGHT")
    if not (width.is_integer() and height.is_integer()):
        raise ArgumentError(f"--size: expected whole numbers, got {text!r}; write WIDTH,HEIGHT in pixels")
    return int(width), int(height)
