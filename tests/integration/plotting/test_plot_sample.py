"""Pictures of samples: what they show, and that they show all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.plotting import VIEWS, draw_sample, plot_sample
from support.ahmed import AHMED_FILEMAP, Arrays, load_run

FILES = FileMap(surface_position="x.npy", surface_pressure="p.npy", surface_friction="f.npy")
CORNERS = np.array([[x, y, z] for x in (0.0, 4.0) for y in (-1.0, 1.0) for z in (0.0, 1.0)])
MEANING = {
    "surface_position": {"units": "m"},
    "surface_pressure": {"units": "m2/s2", "long_name": "kinematic pressure"},
    "surface_friction": {"units": "Pa"},
}


def write(root: Path, sample: Arrays, sample_id: str = "a", **settings: Any) -> ZarrChunkReader:
    """Write one sample of surface points; fields that are not given are 0."""
    n_points = len(sample["surface_position"])
    empty = {"surface_pressure": np.zeros(n_points), "surface_friction": np.zeros((n_points, 3))}
    writer = ZarrStoreWriter(root, FILES, "made", field_attributes=MEANING, non_finite="allow", **settings)
    writer.write_sample(sample_id, empty | sample)
    writer.save_manifest()
    return ZarrChunkReader(root)


def drawn(reader: ZarrChunkReader, field: str = "surface_pressure", **options: Any) -> Any:
    """Draw a sample into axes; return the points."""
    axis = Figure(figsize=(6, 4)).subplots()
    return draw_sample(axis, reader, reader.sample_ids[0], field, **options)


def pixels_of(picture: NDArray[np.float32], color: Any) -> NDArray[np.bool_]:
    """Find the pixels of exactly one colour."""
    return np.asarray((np.abs(picture[..., :3] - np.asarray(color)[:3]) < 1 / 500).all(axis=-1))


@pytest.fixture(scope="module")
def ahmed(tmp_path_factory: pytest.TempPathFactory) -> ZarrChunkReader:
    root = tmp_path_factory.mktemp("plots") / "store"
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", chunk_points=256)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    return ZarrChunkReader(root)


@pytest.mark.parametrize("view", ["corner", (30, 40), (-60, -35)])
def test_the_picture_shows_every_corner_of_a_body(tmp_path: Path, view: Any) -> None:
    """Each corner has its own colour, all of them are in the picture, and nothing is drawn at its border."""
    reader = write(tmp_path / "store", {"surface_position": CORNERS, "surface_pressure": np.arange(8.0)})
    options: dict[str, Any] = {"cmap": "tab10", "value_range": (0, 10), "view": view, "size": (600, 400)}
    picture = imread(plot_sample(reader, "a", "surface_pressure", tmp_path / "a.png", **options))
    assert picture.shape[:2] == (400, 600)
    sizes = [np.count_nonzero(pixels_of(picture[:, :480], mpl.colormaps["tab10"](number))) for number in range(8)]
    assert min(sizes) > 0.6 * max(sizes) > 50
    border = np.concatenate([picture[:2].reshape(-1, 4), picture[-2:].reshape(-1, 4), picture[:, :2].reshape(-1, 4)])
    assert (border == 1).all()


@pytest.mark.parametrize("view", VIEWS)
def test_all_points_lie_within_the_axes(ahmed: ZarrChunkReader, view: str) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    points = draw_sample(axis, ahmed, "run_1", "surface_pressure", view=view, mirror="y")
    figure.draw_without_rendering()
    places = axis.transData.transform(np.asarray(points.get_offsets()))
    assert len(places) == 2 * 2041
    assert (places > [axis.bbox.x0 + 3, axis.bbox.y0 + 3]).all()
    assert (places < [axis.bbox.x1 - 3, axis.bbox.y1 - 3]).all()
    step = axis.transData.transform([[0, 0], [1, 1]])
    assert step[1, 0] - step[0, 0] == pytest.approx(step[1, 1] - step[0, 1])  # one scale


@pytest.mark.parametrize(("view", "nearest"), [("side", 0.0), ("back", 1.0), ("top", 2.0)])
def test_nearer_points_hide_farther_ones(tmp_path: Path, view: str, nearest: float) -> None:
    positions = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [-1, 1, -1]])
    reader = write(tmp_path, {"surface_position": positions, "surface_pressure": np.arange(5.0)})
    points = drawn(reader, view=view)
    assert points.get_array()[-1] == nearest
    assert points.get_array()[0] == 4.0


def test_zero_has_the_middle_colour_and_the_range_is_that_of_percentiles(ahmed: ZarrChunkReader) -> None:
    points = drawn(ahmed)
    pressure = ahmed.read_arrays("run_1", fields=["surface_pressure"], dtype="float64")["surface_pressure"]
    np.testing.assert_allclose(points.get_clim(), np.percentile(pressure, [1, 99]))
    np.testing.assert_allclose(points.to_rgba(0.0), mpl.colormaps["coolwarm"](0.5), atol=0.02)
    assert points.cmap.colorbar_extend == "both"
    # The colours of the body differ: no colour has most of the points.
    shares = np.histogram(points.norm(points.get_array()), 10, (0, 1))[0] / 2041
    assert np.count_nonzero(shares > 0.01) >= 6


def test_a_range_of_one_sign_has_sequential_colours(ahmed: ZarrChunkReader) -> None:
    points = drawn(ahmed, "surface_area", value_range=(0, 1))
    assert (points.cmap.name, points.get_clim()) == ("viridis", (0, 1))


def test_vectors_are_shown_by_magnitude_or_component(tmp_path: Path) -> None:
    vectors = np.array([[3.0, 4, 0], [0, -1, 0]])
    positions = np.array([[0.0, 0, 0], [1, 1, 1]])
    reader = write(tmp_path, {"surface_position": positions, "surface_friction": vectors}, values_dtype="float32")
    for component, name, expected in (
        (None, "magnitude", [1, 5]),
        ("magnitude", "magnitude", [1, 5]),
        ("y", "y", [-1, 4]),
        (0, "x", [0, 3]),
    ):
        points = drawn(reader, "surface_friction", component=component)
        assert sorted(points.get_array().tolist()) == expected
        assert points.get_label() == f"surface_friction, {name} (Pa)"


def test_the_picture_names_sample_points_field_and_units(tmp_path: Path) -> None:
    """Text is shown as written, also where Matplotlib would take it for a formula."""
    reader = write(tmp_path, {"surface_position": CORNERS}, sample_id="x$^{$_1")
    figure = Figure(figsize=(6, 4))
    axis = figure.subplots()
    points = draw_sample(axis, reader, "x$^{$_1", "surface_pressure", num_points=5, view="top", mirror="y")
    figure.draw_without_rendering()
    assert axis.get_title() == "x$^{$_1 · 5 of 8 points · mirrored at y = 0"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("x (m)", "y (m)")
    assert points.get_label() == "kinematic pressure (m2/s2)"
    assert plot_sample(reader, "x$^{$_1", "surface_pressure", tmp_path / "a.svg").stat().st_size > 0


def test_positions_are_those_of_the_source(tmp_path: Path) -> None:
    """The origin of the store is added, so that a mirror and a slab are where the user means them."""
    positions = CORNERS + np.array([1000.0, 0, 0])
    reader = write(tmp_path, {"surface_position": positions}, origin=(1000.0, -5.0, 0.0))
    offsets = np.asarray(drawn(reader, view="top", mirror="y").get_offsets())
    assert sorted({tuple(row) for row in offsets.tolist()}) == [(1000, -1), (1000, 1), (1004, -1), (1004, 1)]


def test_a_slab_shows_the_points_near_a_plane(ahmed: ZarrChunkReader) -> None:
    figure = Figure()
    axis = figure.subplots()
    offsets = np.asarray(draw_sample(axis, ahmed, "run_1", "surface_pressure", slab=("z", 0.3)).get_offsets())
    positions = ahmed.read_arrays("run_1", fields=["surface_position"])["surface_position"]
    is_near = np.abs(positions[:, 2] - 0.3) <= 0.025 * np.ptp(positions[:, 2])
    assert 0 < len(offsets) == np.count_nonzero(is_near)
    assert axis.get_title() == f"run_1 · {len(offsets)} of 2,041 points · near z = 0.3"
    assert axis.get_xlabel() == "x"


def test_values_that_are_not_finite_are_grey(tmp_path: Path) -> None:
    pressure = np.array([0.0, 1, 2, 3, 4, 5, np.nan, np.inf])
    reader = write(tmp_path / "store", {"surface_position": CORNERS, "surface_pressure": pressure})
    picture = imread(plot_sample(reader, "a", "surface_pressure", tmp_path / "a.png"))
    assert np.count_nonzero(pixels_of(picture, mpl.colors.to_rgb("#bdbdbd"))) > 100
    axis = Figure().subplots()
    assert len(draw_sample(axis, reader, "a", "surface_pressure").get_array()) == 6  # type: ignore[arg-type]
    assert axis.get_title().endswith("· 2 not finite (grey)")


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan])
def test_a_constant_field_is_plotted_too(tmp_path: Path, value: float) -> None:
    sample = {"surface_position": CORNERS[:1], "surface_pressure": np.array([value])}
    assert plot_sample(write(tmp_path / "store", sample), "a", "surface_pressure", tmp_path / "a.png").exists()


def test_the_same_call_makes_the_same_bytes(ahmed: ZarrChunkReader, tmp_path: Path) -> None:
    made = [
        plot_sample(ahmed.store_root, "run_1", "volume_velocity", tmp_path / f"{n}.png", num_points=500, seed=seed)
        for n, seed in enumerate((3, 3, 4))
    ]
    first, again, other = (path.read_bytes() for path in made)
    assert first == again != other


def test_a_draw_reads_a_few_chunks_of_two_fields(ahmed: ZarrChunkReader) -> None:
    reader = ZarrChunkReader(ahmed.store_root)
    drawn(reader, "volume_velocity", num_points=256)
    before = reader.io_statistics()
    drawn(reader, "volume_velocity", num_points=256)
    whole = reader.cost("run_1", fields=["volume_position", "volume_velocity"]).total_bytes or 0
    assert 0 < (reader.io_statistics() - before).n_bytes < whole / 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"component": "w"}, "component: surface_friction has 3 components, got 'w'; use one of x, y, z, magnitude"),
        ({"component": 3}, "component: surface_friction has 3 components, got 3"),
        ({"view": "above"}, "view: expected one of corner, front"),
        ({"view": (0, 91)}, "view: expected an azimuth, and an elevation from -90 to 90 degrees"),
        ({"mirror": "w"}, "mirror: expected one of x, y, z"),
        ({"value_range": (2, 1)}, "value_range: expected a lower and a higher number, got 2 and 1"),
        ({"cmap": "rainbows"}, "cmap: expected one of"),
        ({"num_points": 0}, "num_points: expected a whole number of at least 1"),
        ({"size": (10, 800)}, "size: expected 200 to 20,000 pixels"),
        ({"slab": ("y", 9)}, "slab: none of the 2,041 points drawn from run_1 lies near y = 9"),
        ({"slab": ("y", np.nan)}, "slab: expected a finite coordinate"),
        ({"path": "a.gif"}, "a.gif: expected a file name that ends in .png or .pdf or .svg"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_refused(
    ahmed: ZarrChunkReader, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / options.pop("path", "a.png")
    with pytest.raises(ArgumentError, match=message):
        plot_sample(ahmed, "run_1", "surface_friction", path, **options)
    assert not path.exists()


def test_a_component_of_a_scalar_is_refused(ahmed: ZarrChunkReader) -> None:
    with pytest.raises(ArgumentError, match="component: surface_pressure has one component, got 'x'; leave it out"):
        drawn(ahmed, component="x")


def test_unknown_names_are_refused_with_the_nearest(ahmed: ZarrChunkReader, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'surface_pressure'"):
        plot_sample(ahmed, "run_1", "surface_presure", tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="did you mean 'run_1'"):
        plot_sample(ahmed, "run_11", "surface_pressure", tmp_path / "a.png")
