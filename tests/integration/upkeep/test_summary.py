"""The numbers of a summary, compared with an independent count of the files."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from noether.data.schemas import FileMap, Vector
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.errors import ManifestError, UnknownNameError
from noether.data.zarr_store.upkeep.summary import summarize
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.s3_server import S3Server

CHUNK, SHARD = 1000, 4000
SAMPLES = {"part/run_1": "run_1", "part/run_10": "run_2", "run_3": "run_3"}
ATTRIBUTES = {"angle": 25.0}


def write_store(root: Path | str, **settings: Any) -> None:
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", chunk_points=CHUNK, shard_points=SHARD, **settings)
    for sample_id, run in SAMPLES.items():
        arrays = load_run(run)
        if run == "run_3":
            arrays = {field: values for field, values in arrays.items() if field.startswith("surface")}
        writer.write_sample(sample_id, arrays, attributes=ATTRIBUTES)
    writer.save_manifest()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("summary") / "store"
    write_store(root)
    return root


def bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def sources(domain: str, sample_ids: list[str]) -> list[Arrays]:
    """The source arrays of the domain's samples."""
    loaded = [load_run(SAMPLES[sample_id]) for sample_id in sample_ids if domain == "surface" or sample_id != "run_3"]
    return [{field: values for field, values in run.items() if field.startswith(domain)} for run in loaded]


@pytest.mark.parametrize(
    "sample_id", [None, "part/run_1", "run_3"], ids=["the whole store", "an id with a slash", "one domain only"]
)
def test_the_numbers_of_a_domain_match_an_independent_count(store: Path, sample_id: str | None) -> None:
    summary = summarize(store, sample_id)
    ids = list(SAMPLES) if sample_id is None else [sample_id]
    assert [one.domain for one in summary.domains] == (["surface"] if sample_id == "run_3" else ["surface", "volume"])
    for one in summary.domains:
        runs = sources(one.domain, ids)
        points = [len(run[f"{one.domain}_position"]) for run in runs]
        assert one.n_samples == len(runs)
        assert (one.points_min, one.points_max, one.points) == (min(points), max(points), sum(points))
        assert one.chunks == sum(ceil(n / CHUNK) for n in points)
        assert one.shards == sum(ceil(n / SHARD) for n in points)
        assert one.chunk_points == [CHUNK]
        assert one.stored_bytes == sum(field.stored_bytes for field in one.fields)
        assert one.source_bytes == sum(values.nbytes for run in runs for values in run.values())


@pytest.mark.parametrize("sample_id", [None, "part/run_1", "run_3"])
def test_the_numbers_of_a_field_match_an_independent_count(store: Path, sample_id: str | None) -> None:
    ids = list(SAMPLES) if sample_id is None else [sample_id]
    for domain in summarize(store, sample_id).domains:
        runs = sources(domain.domain, ids)
        assert [field.field for field in domain.fields] == list(runs[0])
        for field in domain.fields:
            name = field.field.removeprefix(f"{domain.domain}_")
            files = [store / f"{one}.zarr" / domain.domain / name for one in ids]
            assert field.stored_bytes == sum(bytes_below(path) for path in files if path.exists())
            assert field.source_bytes == sum(run[field.field].nbytes for run in runs)
            assert field.dtype == ("float32" if name == "position" else "float16")
            given = np.concatenate([run[field.field].ravel() for run in runs]).astype("float64")
            stored = given.astype(field.dtype).astype("float64")
            kept = (given != 0) & (stored != 0)
            assert field.max_abs_error == np.abs(stored - given).max()
            assert field.max_rel_error == (np.abs(stored - given)[kept] / np.abs(given[kept])).max()
            assert field.flushed_to_zero == np.count_nonzero((given != 0) & (stored == 0))


def test_the_whole_store_counts_every_file_of_it(store: Path) -> None:
    summary = summarize(store)
    files = [file for file in store.rglob("*") if file.is_file() and file.name != ".manifest.json.lock"]
    assert summary.n_objects == len(files)
    assert summary.total_bytes == sum(file.stat().st_size for file in files)
    assert (summary.n_samples, summary.sample_id, summary.attributes) == (3, None, {})


def test_one_sample_counts_only_the_files_of_its_group(store: Path) -> None:
    summary = summarize(store, "part/run_1")
    assert summary.total_bytes == bytes_below(store / "part" / "run_1.zarr")
    assert summary.n_objects == sum(file.is_file() for file in (store / "part" / "run_1.zarr").rglob("*"))
    assert (summary.n_samples, summary.sample_id, summary.attributes) == (1, "part/run_1", ATTRIBUTES)


def test_the_settings_match_the_writer(tmp_path: Path) -> None:
    write_store(tmp_path, shuffle_seed=7, compression_level=3, checksum=False)
    summary = summarize(tmp_path)
    assert summary.store_root == str(tmp_path)
    assert (summary.dataset_name, summary.shuffle_seed, summary.shuffle_algorithm) == ("ahmed", 7, "hash-v1")
    assert (summary.compressor, summary.checksum) == ("blosc-zstd-3", False)


@pytest.mark.s3
def test_a_remote_store_has_the_numbers_of_the_local_store(store: Path, s3_server: S3Server, s3_root: str) -> None:
    options = s3_server.obstore_options
    write_store(s3_root, storage_options=options)
    remote, local = summarize(s3_root, storage_options=options), summarize(store)
    assert remote.domains == local.domains
    assert (remote.total_bytes, remote.n_objects) == (local.total_bytes, local.n_objects)
    assert summarize(s3_root, "run_3", storage_options=options).domains == summarize(store, "run_3").domains


def test_smaller_chunks_appear_in_the_sizes(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="p.pt"), "cube", chunk_points=100)
    for n_points in (30, 250, 70):
        writer.write_sample(f"n_{n_points}", {"surface_position": np.ones((n_points, 3))})
    writer.save_manifest()
    [domain] = summarize(tmp_path).domains
    assert domain.chunk_points == [30, 70, 100]
    assert (domain.chunks, domain.shards) == (5, 3)


@pytest.mark.parametrize("lacking", [["run_3"], list(SAMPLES)], ids=["one sample lacks it", "all lack it"])
def test_values_that_the_store_lacks_are_none(tmp_path: Path, lacking: list[str]) -> None:
    write_store(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for sample_id in lacking:
        del manifest["samples"][sample_id]["fidelity"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    surface, volume = summarize(tmp_path).domains
    for field in surface.fields:
        unknown = (field.source_bytes, field.max_abs_error, field.max_rel_error, field.flushed_to_zero)
        assert unknown == (None, None, None, None)
        assert field.stored_bytes > 0
    assert surface.source_bytes is None
    assert (volume.source_bytes is None) == (len(lacking) == 3)


class CoilFileMap(FileMap):
    c_position: Vector = None


def test_a_domain_named_like_the_directory_of_chunks_is_counted_whole(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, CoilFileMap(c_position="p.pt"), "coil")
    writer.write_sample("c/c", {"c_position": np.ones((50, 3))})
    writer.save_manifest()
    [domain] = summarize(tmp_path).domains
    assert domain.stored_bytes == bytes_below(tmp_path / "c" / "c.zarr" / "c" / "position")
    assert zarr.open_array(tmp_path / "c" / "c.zarr" / "c" / "position").nchunks == domain.chunks


def test_an_unknown_sample_is_refused_with_the_nearest_names(store: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"sample 'run_1' is not in the store; did you mean .*'part/run_1'"):
        summarize(store, "run_1")


def test_a_missing_store_names_the_convert_command(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json: not found, so .* noether-zarr convert SOURCE STORE"):
        summarize(tmp_path / "nowhere")
