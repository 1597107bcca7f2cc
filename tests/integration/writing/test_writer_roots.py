"""One sample, written to every kind of root."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zarr

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, StorageError, StoreError
from noether.data.zarr_store.stores import make_store
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.places import KINDS, PLACES, Place, local_place, make_place
from support.s3_server import S3Server

# Spaces, characters with a meaning in URLs and shells, patterns, percent-encoding, and letters beyond ASCII.
ODD_ID = "part é/a b#c%20ü?[1]*~&=+@;x"


@pytest.fixture(scope="module")
def reference(run_1: Arrays, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = local_place(tmp_path_factory.mktemp("reference") / "store")
    write(place, "run_1", run_1)
    return place.files()


@pytest.fixture(params=[*KINDS, "local str", "file URL"])
def any_place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.fixture(scope="module")
def surface(run_1: Arrays) -> Arrays:
    return {field: values for field, values in run_1.items() if field.startswith("surface_")}


def open_writer(place: Place) -> ZarrStoreWriter:
    return ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed", storage_options=place.options)


def write(place: Place, sample_id: str, arrays: Arrays) -> str:
    writer = open_writer(place)
    writer.write_sample(sample_id, arrays, attributes={"speed": 40.0})
    return writer.save_manifest()


def test_every_kind_of_root_gets_the_same_objects_with_the_same_bytes(
    any_place: Place, run_1: Arrays, reference: dict[str, bytes]
) -> None:
    write(any_place, "run_1", run_1)
    assert any_place.files() == reference


def test_the_objects_of_a_sample_are_its_group_and_the_manifest(reference: dict[str, bytes], run_1: Arrays) -> None:
    arrays = {f"run_1.zarr/{field.replace('_', '/', 1)}" for field in run_1}
    nodes = {"run_1.zarr", "run_1.zarr/surface", "run_1.zarr/volume"} | arrays
    assert reference.keys() == {f"{node}/zarr.json" for node in nodes} | {f"{array}/c/0/0" for array in arrays} | {
        "manifest.json"
    }


def test_save_manifest_returns_the_path_or_url(any_place: Place, surface: Arrays) -> None:
    saved = write(any_place, "run_1", surface)
    expected = any_place.root if "://" in str(any_place.root) else any_place.path
    expected = any_place.path if str(expected).startswith("file://") else expected
    assert saved == f"{expected}/manifest.json"


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surface: Arrays) -> None:
    monkeypatch.chdir(tmp_path)
    writer = ZarrStoreWriter("some/store", AHMED_FILEMAP, "ahmed")
    monkeypatch.chdir("/")
    writer.write_group("run_1", surface)
    assert writer.store_root == str(tmp_path / "some" / "store")
    assert (tmp_path / "some" / "store" / "run_1.zarr" / "zarr.json").is_file()


def test_odd_characters_in_a_sample_id_are_kept(place: Place, surface: Arrays) -> None:
    write(place, ODD_ID, surface)
    assert {key.partition(".zarr/")[0] for key in place.files()} == {ODD_ID, "manifest.json"}
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == [ODD_ID]
    assert open_writer(place).find_group(ODD_ID) is not None


def test_a_group_with_an_odd_name_opens_as_a_zarr_store(place: Place, surface: Arrays) -> None:
    write(place, ODD_ID, surface)
    store = make_store(f"{place.root}/{ODD_ID}.zarr", read_only=True, storage_options=place.options)
    assert zarr.open_group(store, mode="r")["surface/position"].shape == (2041, 3)  # type: ignore[union-attr]  # array


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["run_?", "run_*", "run_[1]"])
def test_rewriting_a_sample_keeps_samples_that_its_id_matches(place: Place, surface: Arrays, pattern: str) -> None:
    """The id looks like a pattern of a shell."""
    write(place, "run_1", surface)
    write(place, pattern, surface)
    before = place.files()
    write(place, pattern, surface)
    assert place.files() == before


def test_sample_with_a_common_prefix_is_kept(place: Place, surface: Arrays) -> None:
    for sample_id in ("run", "run.zarrx", "run/1"):
        write(place, sample_id, surface)
    before = place.files()
    write(place, "run", surface)
    assert place.files() == before


def test_rewriting_replaces_the_whole_sample(place: Place, surface: Arrays, tmp_path: Path) -> None:
    """Nothing of the former sample is left."""
    fresh = local_place(tmp_path / "fresh")
    write(fresh, "run_1", surface)
    write(place, "run_1", load_run("run_2"))
    write(place, "run_1", surface)
    assert place.files() == fresh.files()


@pytest.mark.parametrize(
    ("root", "options", "error", "message"),
    [
        pytest.param("store", {"key": "x"}, ArgumentError, r"a local path takes none, got \['key'\]", id="local"),
        pytest.param("s3://b", {"driver": "boto"}, ArgumentError, "one of obstore, fsspec, got 'boto'", id="driver"),
        pytest.param("s3://b", {"key": "x"}, ArgumentError, "'key' is not valid.*'driver': 'fsspec'", id="obstore"),
        pytest.param("s3://b", {"driver": "fsspec", "endpoint": ""}, ArgumentError, "argument 'endpoint'", id="s3fs"),
        pytest.param("smalldisk:///b", {"size": 1}, ArgumentError, "argument 'size'", id="fsspec"),
        pytest.param("s4://b", None, StorageError, "cannot open s4://b: Protocol not known: s4", id="unknown protocol"),
    ],
)
def test_options_that_the_file_system_does_not_know_are_refused(
    root: str, options: dict[str, Any] | None, error: type[StoreError], message: str
) -> None:
    with pytest.raises(error, match=message):
        ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", storage_options=options)


@pytest.mark.s3
@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
def test_options_choose_the_server(driver: str, s3_server: S3Server) -> None:
    options = s3_server.obstore_options if driver == "obstore" else s3_server.s3fs_options
    writer = ZarrStoreWriter("s3://no-such-bucket/store", AHMED_FILEMAP, "ahmed", storage_options=options)
    with pytest.raises(StorageError, match=r"cannot list s3://no-such-bucket/store/run_1\.zarr"):
        writer.write_group("run_1", load_run("run_1"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {
                "endpoint": "http://127.0.0.1:9",
                "access_key_id": "any",
                "secret_access_key": "any",
                "region": "us-east-1",
                "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=5)},
            },
            id="obstore",
        ),
        pytest.param(
            {
                "driver": "fsspec",
                "endpoint_url": "http://127.0.0.1:9",
                "key": "any",
                "secret": "any",
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
            id="s3fs",
        ),
    ],
)
def test_unreachable_server_is_a_storage_error(options: dict[str, Any]) -> None:
    with pytest.raises(StorageError, match=r"cannot read s3://bucket/store/manifest\.json: .*http://127\.0\.0\.1:9/"):
        ZarrStoreWriter("s3://bucket/store", AHMED_FILEMAP, "ahmed", storage_options=options)


def test_retry_config_can_set_one_bound() -> None:
    options = {"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "skip_signature": "true"}
    with pytest.raises(StorageError, match="; tried 2 times in"):
        ZarrStoreWriter(
            "s3://bucket/store", AHMED_FILEMAP, "ahmed", storage_options={**options, "retry_config": {"max_retries": 1}}
        )


def test_a_root_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot read .*/file/store/manifest\.json: Not a directory"):
        ZarrStoreWriter(tmp_path / "file" / "store", AHMED_FILEMAP, "ahmed")
