"""Conversion and training through a network with injected faults: the results are correct, or an error is raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.data import DataLoader

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.convert.report import REPORT_NAME
from noether.data.zarr_store.datasets import Item, ZarrStoreDataset, collate_samples
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import Storage, open_storage
from noether.data.zarr_store.upkeep.repair import repair_store
from support.effort import in_full_mode
from support.faulty_proxy import FAULTS, FaultyProxy, Script, faulty_proxy
from support.lanes import few_fast
from support.s3_server import S3Server
from support.trees import TREE_FILEMAP, Files, save_runs, visible_files

# From Python 3.12 on, forking beside threads warns; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

IDS = ("run_1", "run_2", "run_3")
SCRIPTS = range(10 if in_full_mode() else 2)
WAIT_SECONDS = 60
BACKOFF = {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)}
PATIENT: dict[str, Any] = {"retry_config": {"max_retries": 12, "backoff": BACKOFF}}
IMPATIENT: dict[str, Any] = {"retry_config": {"max_retries": 1, "backoff": BACKOFF}}


class Undisturbed(NamedTuple):
    """A tree of runs, and the files of the store that it becomes."""

    source: TreeSource
    files: Files


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    directory = tmp_path_factory.mktemp("undisturbed")
    source = TreeSource(save_runs(directory / "tree", IDS), TREE_FILEMAP)
    run(source, str(directory / "store"), None)
    return Undisturbed(source, visible_files(directory / "store"))


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def direct(s3_server: S3Server, s3_root: str) -> Storage:
    """The storage of the store, without the proxy."""
    return open_storage(s3_root, s3_server.obstore_options)


def run(source: TreeSource, root: str, options: dict[str, Any] | None, **settings: Any) -> list[str | None]:
    """Convert, and return the reasons of failed samples."""
    writer = ZarrStoreWriter(
        root, source.filemap, "ahmed", chunk_points=32, shard_points=64, storage_options=options, **settings
    )
    report = convert(source, writer)
    return [result.reason for result in report.results if result.outcome == "failed"]


def files_of(storage: Storage) -> Files:
    keys = sorted(item.key for item in storage.objects())
    return {key: storage.read_if_there(key) or b"" for key in keys if key != REPORT_NAME}


@pytest.mark.parametrize("seed", few_fast(SCRIPTS, others=pytest.mark.faults))
def test_a_conversion_through_temporary_faults_has_the_same_bytes(
    seed: int, undisturbed: Undisturbed, proxy: FaultyProxy, direct: Storage
) -> None:
    """The store equals a store that was converted without faults."""
    proxy.play(Script(FAULTS, seed=seed, chance=0.3, limit=4))
    reasons = run(undisturbed.source, direct.root, proxy.server.obstore_options | PATIENT)
    met = [one.fault for one in proxy.stop_faults() if one.fault is not None]
    assert not reasons
    assert len(met) > 20
    assert files_of(direct) == undisturbed.files


@pytest.mark.faults
@pytest.mark.parametrize("seed", SCRIPTS)
def test_a_conversion_that_the_network_stops_can_be_completed(
    seed: int, undisturbed: Undisturbed, proxy: FaultyProxy, direct: Storage
) -> None:
    """All samples that the manifest lists in between are intact."""
    proxy.play(Script(FAULTS, seed=seed, chance=0.3, limit=None))
    reasons: list[str | None] = []
    for _ in range(5):
        try:
            reasons += run(undisturbed.source, direct.root, proxy.server.obstore_options | IMPATIENT)
        except StorageError as error:
            reasons.append(str(error))
        # All listed or complete samples are intact at every moment.
        require_sound(direct, undisturbed)
    proxy.stop_faults()
    assert reasons
    assert all(reason is not None and f"{direct.root}" in reason for reason in reasons)
    assert not run(undisturbed.source, direct.root, proxy.server.obstore_options)
    # A former chunk index may be left if the request to delete it was lost.
    repair_store(direct.root, storage_options=proxy.server.obstore_options)
    assert files_of(direct) == undisturbed.files


@pytest.mark.faults
def test_a_conversion_through_s3fs_has_the_same_bytes(
    undisturbed: Undisturbed, proxy: FaultyProxy, direct: Storage
) -> None:
    """s3fs retries requests itself."""
    proxy.play(Script(FAULTS, seed=1, chance=0.1))
    reasons = run(undisturbed.source, direct.root, proxy.server.s3fs_options)
    proxy.stop_faults()
    assert not reasons
    assert files_of(direct) == undisturbed.files


def require_sound(direct: Storage, undisturbed: Undisturbed) -> None:
    files = files_of(direct)
    manifest = StoreManifest.parse(files["manifest.json"], "manifest") if "manifest.json" in files else None
    listed = {entry.relpath for entry in dict(manifest.samples).values()} if manifest else set()
    complete = {key.removesuffix("/zarr.json") for key in files if key.count("/") == 1 and key.endswith("/zarr.json")}
    assert listed <= complete
    for relpath in complete:
        expected = {key: data for key, data in undisturbed.files.items() if key.startswith(f"{relpath}/")}
        assert {key: data for key, data in files.items() if key.startswith(f"{relpath}/")} == expected


@pytest.fixture(scope="module")
def trained(s3_server: S3Server, undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store to train on."""
    root = f"s3://{s3_server.bucket}/{tmp_path_factory.mktemp('trained').name}"
    assert not run(undisturbed.source, root, s3_server.obstore_options)
    return root


def epochs(root: str, options: dict[str, Any], workers: int, **settings: Any) -> list[Item]:
    dataset = ZarrStoreDataset(
        root,
        num_points={"surface": 20, "volume": 40},
        fields=["surface_pressure", "volume_position", "volume_velocity"],
        storage_options=options,
        **settings,
    )
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=workers,
        collate_fn=collate_samples,
        timeout=WAIT_SECONDS if workers else 0,
        multiprocessing_context="fork" if workers else None,
    )
    batches = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        batches += list(loader)
    return batches


def require_equal(batches: list[Item], expected: list[Item]) -> None:
    for batch, other in zip(batches, expected, strict=True):
        assert batch["sample_id"] == other["sample_id"]
        for name in ("surface_pressure", "volume_position", "volume_velocity"):
            assert torch.equal(batch[name], other[name]), name


@pytest.mark.faults
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", SCRIPTS)
def test_training_through_temporary_faults_has_the_same_draws(
    seed: int, workers: int, trained: str, s3_server: S3Server, proxy: FaultyProxy
) -> None:
    """The draws equal those of a training without faults."""
    expected = epochs(trained, s3_server.obstore_options, 0)
    proxy.play(Script(FAULTS, seed=seed, chance=0.8, limit=3))
    batches = epochs(trained, proxy.server.obstore_options | PATIENT, workers)
    assert len([one for one in proxy.stop_faults() if one.fault is not None]) > 2
    require_equal(batches, expected)


@pytest.mark.faults
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fault", ["503", "cut", "403"])
def test_training_names_or_skips_an_unreachable_sample(
    fault: str, workers: int, trained: str, s3_server: S3Server, proxy: FaultyProxy
) -> None:
    expected = {
        epoch: epochs(trained, s3_server.obstore_options, 0, sample_ids=["run_1", "run_3"])[epoch] for epoch in (0, 1)
    }
    options = proxy.server.obstore_options | {"retry_config": {"max_retries": 3, "backoff": BACKOFF}}
    proxy.play(Script([fault], limit=None, pattern="run_2.zarr"))
    with pytest.raises(StorageError, match=rf"cannot read {trained}/run_2\.zarr/\w+/\w+/c/\d/0"):
        epochs(trained, options, workers)
    batches = epochs(trained, options, workers, on_error="skip")
    proxy.stop_faults()
    assert [batch["sample_id"] for batch in batches] == [["run_1", "run_3"], ["run_3"]] * 2
    for epoch, others in expected.items():
        require_equal([batches[2 * epoch]], [others])
