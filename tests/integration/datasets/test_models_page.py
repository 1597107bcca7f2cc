"""The page of batches for models: its output is printed, and its batches have the points that it promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from noether.data.zarr_store.datasets import ZarrStoreDataset
from support.page_code import Page, make_demo, run_page
from support.repository import ROOT

pytestmark = pytest.mark.slow
PAGE = Page(ROOT / "docs" / "models.md")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the working directory, with the demo."""
    path = tmp_path_factory.mktemp("models")
    make_demo(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def found(directory: Path) -> dict[str, Any]:
    """Return the variables of the page's code, and what it printed as `printed`."""
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *values: printed.append(" ".join(map(str, values))))
        variables = run_page(PAGE)
    return variables | {"printed": "\n".join(printed)}


def test_the_models_page_shows_the_output_of_its_code(found: dict[str, Any]) -> None:
    outputs = [block.code.strip() for block in PAGE.blocks if block.language == "text"]
    assert len(outputs) == 4
    assert [output for output in outputs if output not in found["printed"]] == []


def test_queries_of_the_models_page_are_no_anchors(found: dict[str, Any]) -> None:
    dataset = ZarrStoreDataset(
        "noether-demo/store",
        num_points={},
        fields=[],
        draws=found["CONTEXT"] | found["QUERIES"],
        transform=found["with_supernodes"],
    )
    for item in dataset.__getitems__(range(len(dataset))):
        for domain in ("surface", "volume"):
            both = torch.cat([item[f"{domain}_anchor_position"], item[f"{domain}_query_position"]])
            assert len(np.unique(both, axis=0)) == len(both)
        assert len(np.unique(item["geometry_supernode_idx"])) == 256


def test_supernodes_of_the_models_page_are_points_of_their_own_sample(found: dict[str, Any]) -> None:
    index = found["geometry_supernode_idx"]
    assert index.shape == (512,)
    assert (found["geometry_batch_idx"][index] == torch.arange(2).repeat_interleave(256)).all()
    assert found["geometry"].shape == (2048, 3)


def test_predictions_of_the_models_page_are_in_the_order_of_the_mesh(found: dict[str, Any], directory: Path) -> None:
    predicted = np.load(directory / "run_1.npz")["predicted_speed"]
    position = np.load(directory / "noether-demo/simulations/run_1/volume_cell_position.npy")
    difference = np.linalg.norm(position, axis=1) - predicted
    np.testing.assert_allclose(difference, difference.mean(), atol=1e-5)


def test_the_stencil_of_the_models_page_has_the_nearest_faces(found: dict[str, Any]) -> None:
    """Faces are small and far from the origin, where differences of squares lose their digits."""
    place = 5 + 0.02 * np.random.default_rng(0).random((500, 3), dtype=np.float32)
    position = torch.from_numpy(place)
    item = {"drawn_position": position[:100], "faces_position": position}
    item |= {"faces_normals": torch.zeros(500, 3), "faces_area": torch.arange(500.0)}
    rows = found["with_stencil"](item)["neighbour_area"].long()
    distances = np.linalg.norm(place[rows] - place[:100, None], axis=-1)
    expected = cKDTree(place).query(place[:100], k=7)[0][:, 1:]
    np.testing.assert_allclose(distances, expected, rtol=1e-3)


def test_the_stored_stencil_of_the_models_page_has_the_nearest_faces(found: dict[str, Any]) -> None:
    item = found["dataset_of_stencils"][0]
    surface = np.load(f"noether-demo/simulations/{item['sample_id']}/surface_position_vtp.npy")
    offsets = item["drawn_stencil"].unflatten(-1, (6, 7))[..., :3]
    expected = cKDTree(surface).query(item["drawn_position"], k=7)[0][:, 1:]
    np.testing.assert_allclose(offsets.norm(dim=-1), expected, rtol=2e-3)


def test_edges_of_the_models_page_join_near_points_of_one_sample(found: dict[str, Any]) -> None:
    position = found["batch"]["position"]
    first, second = found["edge_index"]
    assert len(first) > 1000
    assert (first // position.shape[1] == second // position.shape[1]).all()
    points = position.flatten(0, 1)
    assert (points[first] - points[second]).norm(dim=-1).max() <= found["RADIUS"] * 1.0001
