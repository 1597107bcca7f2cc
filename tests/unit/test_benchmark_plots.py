"""The pictures of the benchmarks page compare on a fair axis."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from benchmarks import plots
from benchmarks.results import Case, Comparison, Row
from support.repository import ROOT

STORED = sorted(path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    plt.close("all")


def bars(axis: Axes) -> list[Rectangle]:
    return [one for one in axis.patches if isinstance(one, Rectangle)]


def comparison(*cases: dict[str, list[float]], unit: str = "s") -> Comparison:
    made = [
        Case(f"case {number}", unit, [Row(name, values) for name, values in rows.items()])
        for number, rows in enumerate(cases)
    ]
    return Comparison(name="made", mode="", date="", machine={}, versions={}, parameters={}, cases=made)


@pytest.mark.parametrize("name", STORED)
def test_bars_begin_at_zero_and_logarithmic_axes_have_none(name: str) -> None:
    stored = Comparison.load(ROOT / "benchmarks" / "results" / f"{name}.json")
    figure = plots.make_figure(stored)
    for axis, case in zip(figure.axes, stored.cases, strict=False):
        medians = [row.median for row in case.rows if row.values]
        if name == "size":
            assert axis.get_ylim()[0] == 0
        elif axis.get_xscale() == "log":
            assert not bars(axis)
        else:
            assert axis.get_xlim()[0] == 0
            widths = [bar.get_width() for bar in bars(axis)]
            assert [width / widths[0] for width in widths] == pytest.approx([one / medians[0] for one in medians])


def test_panels_of_the_same_contenders_share_their_axis() -> None:
    """One of them would be linear and the other logarithmic, if each were drawn alone."""
    first, second = {"noether": [1.0], "peer": [30.0]}, {"noether": [1.0], "peer": [2.0]}
    figure = plots.make_figure(comparison(first, second, {"noether": [1.0], "other": [2.0]}))
    one, same, other = figure.axes
    assert one.get_xscale() == same.get_xscale() == "log"
    assert one.get_xlim() == same.get_xlim()
    assert (other.get_xscale(), other.get_xlim()[0]) == ("linear", 0)


@pytest.mark.parametrize(
    ("unit", "values", "label", "texts"),
    [
        ("s", [12.0, 60.0], "seconds", ["12", "60"]),
        ("s", [0.012, 0.06], "milliseconds", ["12", "60"]),
        ("bytes", [1.5e9, 6.5e9], "GB", ["1.5", "6.5"]),
        ("MB", [120, 400], "MB", ["120", "400"]),
    ],
)
def test_figures_stand_beside_the_bars_in_a_unit_that_fits(
    unit: str, values: list[float], label: str, texts: list[str]
) -> None:
    [axis] = plots.make_figure(comparison({"a": values[:1], "b": values[1:]}, unit=unit)).axes
    assert axis.get_xlabel() == label
    assert [one.get_text() for one in axis.texts] == texts


def test_ours_have_a_colour_of_their_own() -> None:
    [axis] = plots.make_figure(comparison({"noether, x": [1.0], "peer": [2.0]})).axes
    assert [to_hex(bar.get_facecolor()) for bar in bars(axis)] == ["#d9480f", "#868e96"]
