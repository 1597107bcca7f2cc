"""``noether-zarr plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.plotting import VIEWS, Axis, Component, plot_sample


@command("plot")
def plot_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[str, typer.Argument(help="Sample to plot.")],
    picture: Annotated[Path, typer.Argument(help="Picture to make: .png, .pdf or .svg.")],
    field: Annotated[str, typer.Option(help="Field that colours the points.")],
    component: Annotated[
        str | None, typer.Option(help="Component of a vector: x, y, z, magnitude or a number (default: magnitude).")
    ] = None,
    points: Annotated[int, typer.Option(help="Points to draw at random; 0 reads all.")] = 100_000,
    view: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(VIEWS)}, or AZIMUTH,ELEVATION of the eye in degrees (default: corner)."),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option("--slice", metavar="AXIS=VALUE", help="Show only points near a plane, such as y=0, for a volume."),
    ] = None,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels of the picture.")] = "1200x800",
    cmap: Annotated[
        str | None, typer.Option(help="Colour map of Matplotlib (default: viridis, or coolwarm around 0).")
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="LOW,HIGH", help="Values at the ends of the colours (default: percentiles 1, 99)."
        ),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="AXIS", help="Mirror the points at x = 0, y = 0 or z = 0, for half a body.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the points.")] = 0,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Plot a sample, coloured by a field.

    A random draw of the points is read, so a sample of any size takes about a second.
    """
    with errors_reported(debug, interrupted="nothing is written"):
        made = plot_sample(
            store,
            sample,
            field,
            picture,
            component=_component(component),
            num_points=points or None,
            view=_pair(view, "--view", ",", "AZIMUTH,ELEVATION") if view and "," in view else view,
            slab=None if plane is None else _plane(plane),
            size=_pixels(size),
            cmap=cmap,
            value_range=None if value_range is None else _pair(value_range, "--range", ",", "LOW,HIGH"),
            mirror=mirror,  # type: ignore[arg-type] # it is checked there, with its own message
            storage_options=parse_options(storage_option, "--storage-option"),
            seed=seed,
        )
        typer.echo(f"plotted: {made}")


def _component(text: str | None) -> Component | None:
    return int(text) if text is not None and text.isdecimal() else text  # type: ignore[return-value] # checked there


def _pair(text: str, option: str, separator: str, form: str) -> tuple[float, float]:
    try:
        first, second = map(float, text.split(separator))
    except ValueError:
        raise ArgumentError(f"{option}: expected two numbers as {form}, got {text!r}") from None
    return first, second


def _plane(text: str) -> tuple[Axis, float]:
    axis, _, value = text.partition("=")
    try:
        return axis, float(value)  # type: ignore[return-value] # the axis is checked there
    except ValueError:
        raise ArgumentError(f"--slice: expected a plane such as y=0, got {text!r}") from None


def _pixels(text: str) -> tuple[int, int]:
    width, height = _pair(text, "--size", "x", "WIDTHxHEIGHT")
    if not (width.is_integer() and height.is_integer()):
        raise ArgumentError(f"--size: expected whole numbers of pixels as WIDTHxHEIGHT, got {text!r}")
    return int(width), int(height)
