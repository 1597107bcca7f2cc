"""A store as a dataset: the content of items, the samples, and the requests of a batch."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.datasets import Draw, Item, ZarrStoreDataset
from noether.data.zarr_store.errors import ArgumentError, ManifestError, UnknownNameError
from noether.data.zarr_store.reading import write_chunk_index
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.reading import FIELDS, N_POINTS, as_stored, source_rows, write_runs, write_samples

RUNS = ("run_1", "run_2", "run_3")
NUM_POINTS = {"surface": 300, "volume": 700}
DRAWS = {
    "geometry": Draw("surface", 250, ["surface_position"]),
    "query": Draw("volume", 900, ["volume_position", "volume_velocity", "volume_sdf"], disjoint=True),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "store"
    write_runs(root, *RUNS, chunk_points=256)

    def add_splits(manifest: StoreManifest) -> StoreManifest:
        splits = {"train": ["run_3", "run_1"], "val": ["run_2", "run_9", "run_8"], "none": []}
        return manifest.model_copy(update={"splits": splits})

    StoreManifest.update(str(root), add_splits)
    return root


def items_of(dataset: ZarrStoreDataset) -> list[Item]:
    return [dataset[i] for i in range(len(dataset))]


def require_equal(first: Item, second: Item) -> None:
    assert list(first) == list(second)
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
        else:
            assert value == second[key]


def test_all_fields_of_a_draw_have_the_same_source_points(root: Path, run_1: Arrays) -> None:
    item = ZarrStoreDataset(root, num_points=NUM_POINTS, draws=DRAWS)[0]

    named = {"query_position", "query_velocity", "query_sdf", "geometry_position"}
    assert item.keys() == {*FIELDS["surface"], *FIELDS["volume"], *named, "sample_id", "attributes"}
    assert item["sample_id"] == "run_1"
    drawn = {}
    for draw, (domain, count) in {
        "surface": ("surface", 300),
        "geometry": ("surface", 250),
        "volume": ("volume", 700),
        "query": ("volume", 900),
    }.items():
        rows = source_rows(item[f"{draw}_position"].numpy(), run_1[f"{domain}_position"])
        assert len(set(rows.tolist())) == count
        drawn[draw] = set(rows.tolist())
        for field in FIELDS[domain][1:]:
            name = field.replace(domain, draw)
            if name in item:
                assert item[name].dtype == torch.float32
                np.testing.assert_array_equal(item[name].numpy(), as_stored(run_1[field][rows]), err_msg=name)
    assert not drawn["volume"] & drawn["query"]


def test_what_is_drawn_depends_on_epoch_and_sample_alone(root: Path) -> None:
    dataset = ZarrStoreDataset(root, num_points=NUM_POINTS, draws=DRAWS, seed=7)
    items = {}
    for epoch in (0, 1, 2**40):
        dataset.set_epoch(epoch)
        assert dataset.epoch == epoch
        items[epoch] = items_of(dataset)
    positions = {tuple(item["volume_position"][0].tolist()) for epoch in items.values() for item in epoch}
    assert len(positions) > 6

    other = ZarrStoreDataset(root, sample_ids=reversed(RUNS), num_points=NUM_POINTS, draws=DRAWS, seed=7)
    for epoch in (2**40, 0, 1):
        other.set_epoch(epoch)
        for item, expected in zip(other.__getitems__([2, 0, -2]), [items[epoch][i] for i in (0, 2, 1)], strict=True):
            require_equal(item, expected)


def test_a_sweep_has_every_point_within_its_epochs(root: Path, run_1: Arrays) -> None:
    dataset = ZarrStoreDataset(
        root, sample_ids=["run_1"], num_points={"volume": 4000}, fields=["volume_position"], schedule="sweep", seed=3
    )
    times = np.zeros(N_POINTS["volume"], dtype=int)
    for epoch in range(5, 10):  # the second sweep: five draws of 4,000 cover 18,219 points
        dataset.set_epoch(epoch)
        times[source_rows(dataset[0]["volume_position"].numpy(), run_1["volume_position"])] += 1
    assert set(times.tolist()) == {1, 2}
    assert times.sum() == 20_000


class Together(MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Answers a read of a range only when `count` reads are in flight."""

    protocol = "together"
    cachable = False
    barrier: threading.Barrier | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("together://")))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if self.barrier is not None and "/c/" in path:
            self.barrier.wait(timeout=30)
        return bytes(super().cat_file(path, start, end, **kwargs))


fsspec.register_implementation("together", Together, clobber=True)


@pytest.mark.parametrize(
    "wanted",
    [
        {"fields": ["surface_position", "surface_friction", "volume_velocity"]},
        {
            "fields": ["surface_position"],
            "draws": {"near": Draw("volume", 40, ["volume_velocity"], weight="volume_sdf")},
        },
    ],
    ids=["main draws", "a weighted draw"],
)
def test_a_batch_is_read_in_one_round_of_concurrent_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: dict[str, Any]
) -> None:
    place = f"together://{tmp_path.name}"
    writer = ZarrStoreWriter(place, AHMED_FILEMAP, "ahmed", chunk_points=256)
    for run in RUNS:
        writer.write_sample(run, {field: values[:256] for field, values in load_run(run).items()})
    writer.save_manifest()
    write_chunk_index(place)
    expected = ZarrStoreDataset(place, **wanted)
    dataset = ZarrStoreDataset(place, **wanted, read_concurrency=9)
    # Three fields of three samples: a read that waited for another read would never end.
    monkeypatch.setattr(Together, "barrier", threading.Barrier(9))
    batch = dataset.__getitems__(range(3))
    monkeypatch.setattr(Together, "barrier", None)
    for item, other in zip(batch, items_of(expected), strict=True):
        require_equal(item, other)


def test_numeric_attributes_are_tensors_and_others_are_copies(tmp_path: Path) -> None:
    attributes: dict[str, Any] = {
        "design_parameters": [25.0, 1.044, 0.288, 40.0],
        "speed": 40,
        "matrix": [[1, 2], [3, 4.5]],
        "name": "run 1",
        "flags": [True, False],
        "ragged": [[1.0], [2.0, 3.0]],
        "nothing": None,
        "more": {"unit": "m"},
    }
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    manifest = StoreManifest.load(str(root))
    manifest.samples["run_1"] = replace(manifest.samples["run_1"], attributes=attributes)
    manifest.save(str(root))
    dataset = ZarrStoreDataset(root, fields=["surface_area"])

    found = dataset[0]["attributes"]
    numbers = {name: found.pop(name) for name in ("design_parameters", "speed", "matrix")}
    assert {name: value.dtype for name, value in numbers.items()} == dict.fromkeys(numbers, torch.float32)
    for name, value in numbers.items():
        torch.testing.assert_close(value, torch.tensor(attributes[name], dtype=torch.float32))
    assert found == {name: value for name, value in attributes.items() if name not in numbers}
    found["more"]["unit"] = found["ragged"][0] = "changed"
    again = dataset[0]["attributes"]
    assert (again["more"], again["ragged"]) == (attributes["more"], attributes["ragged"])


def test_a_transform_makes_the_items(root: Path) -> None:
    dataset = ZarrStoreDataset(
        root, num_points=NUM_POINTS, fields=["surface_area"], transform=lambda item: {"n": len(item["surface_area"])}
    )
    assert dataset.__getitems__([0, 1]) == [{"n": 300}, {"n": 300}]
    assert dataset[2] == {"n": 300}


def test_samples_come_from_the_store_a_split_or_a_list(root: Path) -> None:
    def ids(**chosen: Any) -> list[str]:
        dataset = ZarrStoreDataset(root, num_points={"surface": 5, "volume": 5}, **chosen)
        assert [item["sample_id"] for item in items_of(dataset)] == list(dataset.sample_ids)
        assert len(dataset) == len(dataset.sample_ids)
        return list(dataset.sample_ids)

    assert ids() == list(RUNS)
    assert ids(split="train") == ["run_3", "run_1"]
    assert ids(sample_ids=["run_2"]) == ["run_2"]


@pytest.mark.parametrize("chosen", [{"split": "val"}, {"sample_ids": ["run_2", "run_9", "run_8"]}], ids=str)
def test_samples_that_the_store_lacks_are_an_error_or_skipped(root: Path, chosen: dict[str, Any]) -> None:
    with pytest.raises(
        UnknownNameError, match=r"2 of 3 samples.* not in the store: 'run_9', 'run_8' \(.*if_missing='skip'"
    ):
        ZarrStoreDataset(root, **chosen)
    with pytest.warns(
        UserWarning, match=r"2 of 3 samples.* not in the store: 'run_9', 'run_8'; the dataset skips them"
    ):
        dataset = ZarrStoreDataset(root, **chosen, if_missing="skip")
    assert dataset.sample_ids == ("run_2",)
    assert dataset.missing_ids == ("run_9", "run_8")


def test_a_dataset_of_missing_samples_only_is_refused(root: Path) -> None:
    with (
        pytest.warns(UserWarning, match="the dataset skips them"),
        pytest.raises(ArgumentError, match="the store has none of the selected samples; convert them first"),
    ):
        ZarrStoreDataset(root, sample_ids=["run_8", "run_9"], if_missing="skip")


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ({"split": "trains"}, UnknownNameError, "split 'trains' is not in the store; did you mean 'train'?"),
        ({"split": "none"}, ArgumentError, "split 'none': expected at least one sample, got an empty split"),
        ({"sample_ids": []}, ArgumentError, "sample_ids: expected at least one id, got none"),
        ({"sample_ids": "run_1"}, ArgumentError, r"sample_ids: expected a list of ids, got the str 'run_1'"),
        (
            {"sample_ids": ["run_1"], "split": "train"},
            ArgumentError,
            "split, sample_ids: expected one of the two, got both",
        ),
        ({"if_missing": "ignore"}, ArgumentError, "if_missing: expected one of error, skip, got 'ignore'"),
        ({"fields": ["volume_presure"]}, UnknownNameError, "did you mean 'volume_pressure'"),
        (
            {"num_points": {"volume": 0}},
            ArgumentError,
            r"num_points\['volume'\]: expected a whole number of at least 1",
        ),
        (
            {"num_points": {"surface": 2042, "volume": None}, "if_short": "error"},
            ArgumentError,
            "sample 'run_1', domain 'surface'",
        ),
        (
            {"draws": {"q": Draw("volume", 5, disjoint=True)}},
            ArgumentError,
            r"need 18,224 points .*the domain has 18,219",
        ),
        ({"read_concurrency": 0}, ArgumentError, "read_concurrency: expected a whole number of at least 1, got 0"),
        ({"chunk_order": "any"}, ArgumentError, "chunk_order: expected one of consecutive, scattered, got 'any'"),
        ({"storage_options": {"key": 1}}, ArgumentError, "storage_options: a local path takes no options"),
    ],
    ids=str,
)
def test_the_constructor_refuses_wrong_parameters(
    root: Path, wanted: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ZarrStoreDataset(root, **wanted)


@pytest.mark.parametrize("epoch", [-1, 0.5, "1", None], ids=repr)
def test_an_epoch_is_refused_when_it_is_no_whole_number(root: Path, epoch: Any) -> None:
    with pytest.raises(ArgumentError, match="epoch: expected a whole number of at least 0, got"):
        ZarrStoreDataset(root).set_epoch(epoch)


def test_a_place_without_a_store_and_a_store_without_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.json: not found"):
        ZarrStoreDataset(tmp_path)
    write_samples(tmp_path, {}, AHMED_FILEMAP)
    with pytest.raises(ArgumentError, match="the store has no samples, expected at least one"):
        ZarrStoreDataset(tmp_path)


def test_an_unpickled_dataset_reads_the_same_and_shares_its_epoch(root: Path) -> None:
    dataset = ZarrStoreDataset(root, num_points=NUM_POINTS, draws=DRAWS, transform=dict)
    dataset.set_epoch(4)
    expected = items_of(dataset)
    copied: ZarrStoreDataset = pickle.loads(pickle.dumps(dataset))
    dataset.set_epoch(5)
    assert copied.epoch == 4
    copied.set_epoch(4)
    assert copied._epoch.is_shared()
    for item, other in zip(items_of(copied), expected, strict=True):
        require_equal(item, other)


def test_a_pickled_dataset_of_many_samples_fits_into_a_pipe(root: Path, tmp_path: Path) -> None:
    manifest = StoreManifest.load(str(root))
    entry = manifest.samples["run_1"]
    many = {f"run_{number:04d}": replace(entry, relpath=f"run_{number:04d}.zarr") for number in range(5000)}
    manifest.model_copy(update={"samples": many, "splits": {}}).save(str(tmp_path))
    dataset = ZarrStoreDataset(tmp_path, num_points=NUM_POINTS, draws=DRAWS)
    try:
        sent = bytes(ForkingPickler.dumps(dataset))
        copied: ZarrStoreDataset = pickle.loads(sent)
    finally:
        resource_sharer.stop(timeout=10)
    assert len(sent) < 1 << 16
    assert copied.sample_ids == dataset.sample_ids
    dataset.set_epoch(3)
    assert copied.epoch == 3
