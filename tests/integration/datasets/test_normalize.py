"""Normalization of the items of a dataset."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noether.data.zarr_store.datasets import Item, ZarrStoreDataset
from noether.data.zarr_store.datasets.transforms import Normalize
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.statistics import RunningStats, calculate_store_statistics
from noether.data.zarr_store.statistics.estimates import extrapolate
from support.reading import FIELDS, write_runs

DRAWS = {"geometry": Draw("surface", 300), "query_points": Draw("volume", 200, disjoint=True)}
COUNTS = {"surface": 400, "volume": 2000}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(
        tmp_path_factory.mktemp("normalize") / "store", "run_1", "run_2", field_dtypes={"volume_sdf": "float32"}
    )


@pytest.fixture(scope="module")
def stats(root: Path) -> dict[str, RunningStats]:
    return calculate_store_statistics(root)


def all_items(root: Path, transform: Normalize) -> list[Item]:
    dataset = ZarrStoreDataset(root, transform=transform)
    return [dataset[index] for index in range(len(dataset))]


def test_all_points_of_all_samples_become_values_of_mean_0_and_deviation_1(
    root: Path, stats: dict[str, RunningStats]
) -> None:
    log_scale = ["volume_vorticity", "surface_pressure"]
    items = all_items(root, Normalize(stats, log_scale=log_scale))
    for field in (*FIELDS["surface"], *FIELDS["volume"]):
        if not field.endswith("_position"):
            values = torch.cat([item[field] for item in items]).double()
            assert values.mean(dim=0).numpy() == pytest.approx(0, abs=1e-4), field
            assert values.std(dim=0, correction=0).numpy() == pytest.approx(1, abs=1e-4), field


@pytest.mark.parametrize(
    ("given", "to"), [({}, (0, 1)), ({"position_range": (-1.0, 1.0)}, (-1, 1))], ids=["default", "range"]
)
def test_positions_of_all_domains_share_one_scale(
    root: Path, stats: dict[str, RunningStats], given: dict[str, Any], to: tuple[int, int]
) -> None:
    normalize = Normalize(stats, **given)
    items = all_items(root, normalize)
    positions = torch.cat([item[f"{domain}_position"] for item in items for domain in FIELDS])
    assert positions.amin(dim=0).numpy() == pytest.approx(to[0], abs=1e-6)
    assert positions.amax(dim=0).numpy() == pytest.approx(to[1], abs=1e-6)
    point = torch.tensor([[0.5, 0.1, 0.2]])
    of_domains = normalize({f"{domain}_position": point for domain in FIELDS})
    assert torch.equal(of_domains["surface_position"], of_domains["volume_position"])


def test_positions_may_be_treated_as_values(stats: dict[str, RunningStats]) -> None:
    mean = torch.tensor(stats["volume_position"].mean, dtype=torch.float32)
    normal = Normalize(stats, position_range=None)({"volume_position": mean[None]})["volume_position"]
    assert normal.abs().max() < 1e-6


@pytest.mark.parametrize(
    "draws", [DRAWS, {name: draw.domain for name, draw in DRAWS.items()}], ids=["draws", "domains"]
)
def test_fields_of_named_draws_are_those_of_their_domain(
    root: Path, stats: dict[str, RunningStats], draws: dict[str, Any]
) -> None:
    plain, normalized = (
        ZarrStoreDataset(root, num_points=COUNTS, draws=DRAWS, transform=transform)[0]
        for transform in (None, Normalize(stats, draws=draws))
    )
    for name, draw in DRAWS.items():
        for field in FIELDS[draw.domain]:
            key = f"{name}_{field.removeprefix(f'{draw.domain}_')}"
            alone = Normalize(stats)({field: plain[key]})[field]
            assert torch.equal(normalized[key], alone), key


def test_values_that_are_not_real_tensors_are_unchanged(root: Path, stats: dict[str, RunningStats]) -> None:
    plain = ZarrStoreDataset(root, num_points=COUNTS)[0] | {"offsets": torch.arange(3)}
    before = {name: value.clone() for name, value in plain.items() if isinstance(value, torch.Tensor)}
    normalized = Normalize(stats)(plain)
    assert list(normalized) == list(plain)
    for name in ("sample_id", "attributes", "offsets"):
        assert normalized[name] is plain[name]
    assert all(torch.equal(plain[name], value) for name, value in before.items())


def test_a_batch_is_normalized_as_its_items_are(root: Path, stats: dict[str, RunningStats]) -> None:
    items = [ZarrStoreDataset(root, num_points=COUNTS, fields=FIELDS["surface"])[index] for index in range(2)]
    normalize = Normalize(stats)
    for field in FIELDS["surface"]:
        batch = torch.stack([item[field] for item in items])
        one_by_one = torch.stack([normalize({field: item[field]})[field] for item in items])
        assert torch.equal(normalize({field: batch})[field], one_by_one)


def test_the_inverse_of_a_prediction_keeps_its_gradient(stats: dict[str, RunningStats]) -> None:
    prediction = torch.zeros(5, requires_grad=True)
    pressure = Normalize(stats).inverse({"surface_pressure": prediction})["surface_pressure"]
    pressure.sum().backward()
    assert pressure.detach().numpy() == pytest.approx(stats["surface_pressure"].mean[0])
    assert prediction.grad is not None
    assert prediction.grad.numpy() == pytest.approx(stats["surface_pressure"].std[0])


def test_double_precision_is_normalized_in_double_precision(stats: dict[str, RunningStats]) -> None:
    values, one = np.array([-2000.0, 100.0]), stats["surface_pressure"]
    normal = Normalize(stats)({"surface_pressure": torch.from_numpy(values)})["surface_pressure"]
    np.testing.assert_allclose(normal.numpy(), (values - one.mean) / one.std, rtol=1e-15)


def test_half_precision_becomes_float32(stats: dict[str, RunningStats]) -> None:
    halves = torch.tensor([-2000.0, 100.0], dtype=torch.float16)
    normalize = Normalize(stats)
    given, expected = (
        normalize({"surface_pressure": values})["surface_pressure"] for values in (halves, halves.float())
    )
    assert given.dtype == torch.float32
    assert torch.equal(given, expected)


def test_a_constant_field_becomes_0_and_is_restored() -> None:
    constant = {
        "surface_position": RunningStats.of([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]]),
        "volume_sdf": RunningStats.of([0.1, 0.1]),
    }
    normalize = Normalize(constant)
    item = {"surface_position": torch.tensor([[2.0, 2.0, 0.0]]), "volume_sdf": torch.tensor([0.1])}
    normal = normalize(item)
    assert normal["surface_position"].tolist() == [[0.5, 0, 0]]
    assert normal["volume_sdf"].tolist() == [0]
    assert all(torch.equal(value, item[name]) for name, value in normalize.inverse(normal).items())


def test_a_tensor_without_statistics_is_refused_unless_in_keep(root: Path, stats: dict[str, RunningStats]) -> None:
    item = ZarrStoreDataset(root, num_points=COUNTS, draws=DRAWS)[0]
    message = r"no statistics of 'query_points_position' .*; .* draws={'geometry': 'surface'}, .* keep=\['query_points"
    with pytest.raises(UnknownNameError, match=message):
        Normalize(stats)(item)
    kept = [name for name in item if name.startswith(("geometry_", "query_points_"))]
    normalized = Normalize(stats, keep=kept)(item)
    assert all(normalized[name] is item[name] for name in kept)


def test_another_number_of_components_is_refused(stats: dict[str, RunningStats]) -> None:
    with pytest.raises(
        ArgumentError, match=r"'volume_velocity': expected 3 components in the last dimension, got shape \(3, 2\)"
    ):
        Normalize(stats)({"volume_velocity": torch.zeros(3, 2)})


def test_it_can_be_pickled_for_the_workers_of_a_loader(stats: dict[str, RunningStats]) -> None:
    normalize = Normalize(stats, log_scale=["volume_sdf"])
    item = {"volume_sdf": torch.tensor([0.1, 2.0])}
    again = pickle.loads(pickle.dumps(normalize))(item)["volume_sdf"]
    assert torch.equal(again, normalize(item)["volume_sdf"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"log_scale": ["volume_sfd"]}, UnknownNameError, "log_scale: .* no field 'volume_sfd'; did you mean 'volume_"),
        (
            {"draws": {"query": "volum"}},
            UnknownNameError,
            r"draws\['query'\]: .* domain 'volum'; did you mean 'volume'",
        ),
        ({"position_range": (1.0, 0.0)}, ArgumentError, r"position_range: expected two numbers, .* got \(1.0, 0.0\)"),
    ],
    ids=["log-scale", "draw", "range"],
)
def test_wrong_parameters_are_refused(
    stats: dict[str, RunningStats], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Normalize(stats, **arguments)


def test_estimates_have_no_bounds_to_map_positions_by() -> None:
    estimate = {"volume_position": extrapolate(RunningStats.of(np.eye(3)), 100)}
    with pytest.raises(ArgumentError, match=r"estimates, which have no bounds of positions; .* position_range=None"):
        Normalize(estimate)
    Normalize(estimate, position_range=None)


def test_a_field_without_a_finite_value_is_refused() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"field volume_sdf: expected a finite mean and standard deviation, got .*; leave the field out",
    ):
        Normalize({"volume_sdf": RunningStats.of([np.nan])})
