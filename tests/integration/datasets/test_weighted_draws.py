"""Weighted draws of a dataset: their points, how often they come, and their inverse probabilities."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.zarr_store.datasets import Draw, DrawIndex, Falloff, Item, Weight, ZarrStoreDataset
from noether.data.zarr_store.datasets.transforms import Normalize
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics import calculate_store_statistics
from support.ahmed import Arrays
from support.foreign_stores import CODECS, write_foreign
from support.lanes import few_fast
from support.reading import N_POINTS, as_stored, source_rows, write_runs, write_samples

RUNS = ("run_1", "run_2", "run_3")
NEAR = Falloff("volume_sdf", 0.02)
FIELDS = ["volume_position", "volume_velocity", "volume_sdf"]


def squared_speed(fields: dict[str, NDArray[Any]]) -> Any:
    return (fields["volume_velocity"] ** 2).sum(axis=1)


FAST = Weight(squared_speed, ["volume_velocity"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("weighted") / "store", *RUNS, chunk_points=256)


def dataset_of(root: Path, draw: Draw, **wanted: Any) -> ZarrStoreDataset:
    """Return a dataset with one named draw only."""
    return ZarrStoreDataset(root, draws={"q": draw}, **{"num_points": {}, "fields": []} | wanted)


def item_at(dataset: ZarrStoreDataset, epoch: int, number: int = 0) -> Item:
    item: Item = dataset[DrawIndex(number, epoch)]
    return item


def capped(weights: NDArray[Any], n_taken: int) -> NDArray[np.float64]:
    """Return the probabilities min(1, c w) that add up to the number of taken rows, by bisection."""
    weights = weights.astype(np.float64)
    low, high = 0.0, float(n_taken / weights[weights > 0].min())
    for _ in range(200):
        c = (low + high) / 2
        low, high = (c, high) if np.minimum(1, c * weights).sum() < n_taken else (low, c)
    chances: NDArray[np.float64] = np.minimum(1, high * weights)
    return chances


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize(
    ("weight", "weights_of"),
    [
        pytest.param(NEAR, lambda fields: 1 / (np.abs(fields["volume_sdf"]) + 0.02), id="falloff"),
        pytest.param("volume_sdf", lambda fields: fields["volume_sdf"], id="field"),
        pytest.param(FAST, squared_speed, id="function"),
    ],
)
def test_points_are_taken_of_a_uniform_draw_of_candidates(
    root: Path, run_1: Arrays, weight: Any, weights_of: Callable[..., NDArray[Any]], disjoint: bool
) -> None:
    """All fields have the same points, and the inverse probabilities follow from the weights of all candidates."""
    beside = {"num_points": {"volume": 2000}, "fields": ["volume_position"]} if disjoint else {}
    draw = Draw("volume", 700, FIELDS, disjoint, weight=weight, oversample=3, with_inverse=True)
    item = item_at(dataset_of(root, draw, **beside), 5)
    candidates = item_at(dataset_of(root, Draw("volume", 2100, FIELDS, disjoint), **beside), 5)

    rows = source_rows(item["q_position"].numpy(), run_1["volume_position"])
    among = source_rows(candidates["q_position"].numpy(), run_1["volume_position"])
    assert len(set(rows.tolist())) == 700
    assert set(rows.tolist()) < set(among.tolist())
    for name in ("velocity", "sdf"):
        np.testing.assert_array_equal(item[f"q_{name}"].numpy(), as_stored(run_1[f"volume_{name}"][rows]))
    stored = {name: as_stored(run_1[name][among]) for name in ("volume_sdf", "volume_velocity")}
    weights = (
        stored["volume_sdf"] if isinstance(weight, str) else weight(stored) if weight is NEAR else squared_speed(stored)
    )
    chances = dict(zip(among.tolist(), capped(weights.astype(np.float64), 700).tolist(), strict=True))
    expected = [N_POINTS["volume"] / 2100 / chances[row] for row in rows.tolist()]
    np.testing.assert_allclose(item["q_weight"].numpy(), expected, rtol=3e-4)
    assert item["q_weight"].dtype == torch.float32


def test_points_come_in_proportion_to_their_weights(root: Path, run_1: Arrays) -> None:
    """The count of a face with chance p in n epochs is binomial, so the mean of the squared scores is near 1."""
    n_epochs, n_taken = 600, 200
    dataset = dataset_of(root, Draw("surface", n_taken, ["surface_position"], weight="surface_area", oversample=100))
    position, times = run_1["surface_position"], np.zeros(N_POINTS["surface"])
    for item in dataset.__getitems__([DrawIndex(0, epoch) for epoch in range(n_epochs)]):
        times[source_rows(item["q_position"].numpy(), position)] += 1
    chances = capped(as_stored(run_1["surface_area"]), n_taken)
    scores = (times - n_epochs * chances) / np.sqrt(n_epochs * chances * (1 - chances))
    assert abs((scores**2).mean() - 1) < 5 * np.sqrt(2 / len(scores))
    assert np.abs(scores).max() < 5
    assert abs(np.corrcoef(times, chances)[0, 1]) > 0.7


@pytest.mark.parametrize("disjoint", [False, True])
def test_inverse_probabilities_make_sums_over_a_draw_unbiased(root: Path, run_1: Arrays, disjoint: bool) -> None:
    """With inverse probabilities, the mean over many epochs is the mean of all points; without, it is far off."""
    draw = Draw("volume", 400, ["volume_velocity"], disjoint, weight=NEAR, with_inverse=True)
    beside = {"num_points": {"volume": 300}, "fields": ["volume_pressure"]} if disjoint else {}
    items = dataset_of(root, draw, **beside).__getitems__([DrawIndex(0, epoch) for epoch in range(500)])
    sums = np.array([float(item["q_weight"] @ item["q_velocity"][:, 0]) for item in items]) / N_POINTS["volume"]
    plain = np.array([float(item["q_velocity"][:, 0].mean()) for item in items])
    mean = as_stored(run_1["volume_velocity"])[:, 0].mean(dtype=np.float64)
    assert abs(sums.mean() - mean) < 4 * sums.std() / np.sqrt(len(sums))
    assert abs(plain.mean() - mean) > 20 * plain.std() / np.sqrt(len(plain))


def test_an_item_is_the_same_in_any_batch_order_and_copy_of_the_dataset(root: Path) -> None:
    draws = {
        "q": Draw("volume", 100, FIELDS, weight=NEAR, with_inverse=True),
        "r": Draw("volume", 50, ["volume_velocity"], disjoint=True, weight=FAST),
    }
    wanted: dict[str, Any] = {"num_points": {"volume": 200}, "fields": ["volume_pressure"], "draws": draws}
    dataset = ZarrStoreDataset(root, **wanted)
    indices = [DrawIndex(number, epoch, repeat) for number in range(3) for epoch in (0, 9) for repeat in (0, 1)]
    alone = [dataset[index] for index in indices]
    copied: ZarrStoreDataset = pickle.loads(pickle.dumps(dataset))
    for batch in (dataset.__getitems__(indices), copied.__getitems__(indices[::-1])[::-1]):
        for item, expected in zip(batch, alone, strict=True):
            assert item.keys() == expected.keys()
            assert all(torch.equal(item[name], expected[name]) for name in expected if name.startswith(("q_", "r_")))
    assert len({tuple(item["q_position"].flatten().tolist()) for item in alone}) == len(alone)


def test_the_points_do_not_depend_on_dtypes_or_fields(root: Path, run_1: Arrays) -> None:
    def rows(fields: list[str], **wanted: Any) -> NDArray[np.int64]:
        item = item_at(dataset_of(root, Draw("volume", 300, fields, weight=NEAR), **wanted), 2)
        return source_rows(item["q_position"].numpy().astype(np.float32), run_1["volume_position"])

    first = rows(["volume_position"])
    np.testing.assert_array_equal(rows(FIELDS), first)
    np.testing.assert_array_equal(rows(FIELDS, dtype={"volume_sdf": "float16", "volume_position": "float64"}), first)


def test_fields_come_in_the_dtypes_that_are_asked_for(tmp_path: Path, run_1: Arrays) -> None:
    """float64 values of the store arrive bit for bit, and float16 values are rounded once."""
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256, coords_dtype="float64")
    dtype = {"volume_position": "float64", "volume_velocity": "float16"}
    draw = Draw("volume", 100, FIELDS, weight=NEAR)
    item = item_at(dataset_of(root, draw, dtype=dtype), 0)
    rows = source_rows(item["q_position"].numpy(), run_1["volume_position"].astype(np.float64))
    np.testing.assert_array_equal(item["q_velocity"].numpy(), run_1["volume_velocity"][rows].astype(np.float16))
    assert [item[f"q_{name}"].dtype for name in ("position", "velocity", "sdf")] == [
        torch.float64,
        torch.float16,
        torch.float32,
    ]


def test_a_function_gets_float64_where_the_store_has_it(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256, coords_dtype="float64")
    seen: list[Any] = []

    def look(fields: dict[str, NDArray[Any]]) -> Any:
        seen.extend((name, values.dtype, values.shape) for name, values in fields.items())
        return np.ones(400)

    item_at(dataset_of(root, Draw("volume", 100, FIELDS, weight=Weight(look, ["volume_position", "volume_sdf"]))), 0)
    assert seen == [("volume_position", np.float64, (400, 3)), ("volume_sdf", np.float32, (400,))]


def test_a_sample_with_too_few_points_has_all_of_them_drawn(root: Path, run_1: Arrays) -> None:
    draw = Draw("surface", 3000, ["surface_position"], weight="surface_area", with_inverse=True)
    item = item_at(dataset_of(root, draw), 0)
    assert sorted(source_rows(item["q_position"].numpy(), run_1["surface_position"])) == list(range(2041))
    assert item["q_weight"].tolist() == [1] * 2041


def test_invalid_weights_name_sample_and_draw(tmp_path: Path, run_1: Arrays) -> None:
    spoilt = run_1 | {"volume_pressure": np.full(N_POINTS["volume"], np.nan, np.float32)}
    root = write_samples(tmp_path / "store", {"sound": run_1, "part/spoilt": spoilt}, non_finite="allow")
    draw = Draw("volume", 100, weight=Weight(lambda fields: abs(fields["volume_pressure"]), ["volume_pressure"]))
    dataset = dataset_of(root, draw, sample_ids=["sound", "part/spoilt"])
    assert len(item_at(dataset, 0)["q_position"]) == 100
    message = (
        "sample 'part/spoilt', the draw 'q': the weight from volume_pressure: expected .* 400 of 400 weights are NaN or"
    )
    with pytest.raises(ArgumentError, match=message):
        item_at(dataset, 0, 1)


def test_too_few_points_with_a_weight_are_an_error_with_both_numbers(root: Path) -> None:
    far = Weight(lambda fields: fields["volume_sdf"] > 3, ["volume_sdf"])
    message = r"run_1', the draw 'q': expected 100 candidates with a weight above 0, got \d+ of 400 \(weight from vol"
    with pytest.raises(ArgumentError, match=message):
        item_at(dataset_of(root, Draw("volume", 100, weight=far)), 0)


def test_the_main_draw_beside_a_disjoint_weighted_draw_is_unchanged(root: Path, run_1: Arrays) -> None:
    """Both draws read the same chunks, and the main draw has no candidate of the other."""
    draws = {"q": Draw("volume", 300, ["volume_position", "volume_sdf"], disjoint=True, weight=NEAR)}
    dataset = ZarrStoreDataset(root, num_points={"volume": 500}, fields=FIELDS, draws=draws)
    for item in dataset.__getitems__([DrawIndex(0, epoch) for epoch in range(20)]):
        main = source_rows(item["volume_position"].numpy(), run_1["volume_position"])
        near = source_rows(item["q_position"].numpy(), run_1["volume_position"])
        assert (len(set(main.tolist())), len(set(near.tolist()))) == (500, 300)
        assert not set(main.tolist()) & set(near.tolist())
        np.testing.assert_array_equal(item["volume_velocity"].numpy(), as_stored(run_1["volume_velocity"][main]))
        np.testing.assert_array_equal(item["q_sdf"].numpy(), as_stored(run_1["volume_sdf"][near]))


@pytest.mark.parametrize("codecs", few_fast(["other codecs", "no shards", "as we write it"]))
def test_stores_of_other_programs_give_weighted_draws_as_well(tmp_path: Path, codecs: str) -> None:
    """zarr-python reads chunks that this library does not decode itself."""
    root = write_foreign(tmp_path / "store", CODECS[codecs])
    draw = Draw("surface", 100, weight="surface_pressure", oversample=2)
    item, candidates = (item_at(dataset_of(root, one), 1) for one in (draw, Draw("surface", 200)))
    points = [torch.column_stack([one["q_position"], one["q_pressure"]]).tolist() for one in (item, candidates)]
    taken, among = (set(map(tuple, one)) for one in points)
    assert len(taken) == 100
    assert taken < among


def test_normalize_keeps_the_inverse_probabilities_of_its_draws(root: Path) -> None:
    draws = {"q": Draw("volume", 100, FIELDS, weight=NEAR, with_inverse=True)}
    normalize = Normalize(calculate_store_statistics(root), draws=draws)
    plain, scaled = (item_at(dataset_of(root, draws["q"], transform=one), 0) for one in (None, normalize))
    assert torch.equal(plain["q_weight"], scaled["q_weight"])
    assert not torch.equal(plain["q_sdf"], scaled["q_sdf"])
