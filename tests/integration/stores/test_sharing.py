"""Shared buckets on a real server with an owner: public reads, and the messages of refused requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import open_storage
from support.s3_server import S3Server, s3_client, serve_s3
from support.trees import TREE_FILEMAP, call, expected_fields

pytestmark = pytest.mark.s3

PUBLIC = {"skip_signature": "true"}


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with serve_s3(tmp_path_factory.mktemp("owned"), has_owner=True) as server:
        yield server


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def store_at(server: S3Server, name: str) -> str:
    """Write a store of one sample into a new bucket."""
    s3_client(server).create_bucket(Bucket=name)
    root = f"s3://{name}/store"
    writer = ZarrStoreWriter(root, TREE_FILEMAP, "shared", storage_options=server.obstore_options)
    writer.write_sample("run_1", expected_fields())
    writer.save_manifest()
    return root


def publish(server: S3Server, bucket: str) -> None:
    """Allow all users to read a bucket, also from web pages of all sites."""
    client = s3_client(server)
    grants = [("s3:GetObject", f"arn:aws:s3:::{bucket}/*"), ("s3:ListBucket", f"arn:aws:s3:::{bucket}")]
    statements = [
        {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource} for action, resource in grants
    ]
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    rule = {
        "AllowedOrigins": ["*"],
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ["Range"],
        "ExposeHeaders": ["Content-Range", "Content-Length", "ETag"],
        "MaxAgeSeconds": 3600,
    }
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def assert_is_read(root: str, **options: Any) -> None:
    read = ZarrChunkReader(root, storage_options=options).read_arrays("run_1", order="original")
    for field, values in expected_fields().items():
        np.testing.assert_allclose(read[field], np.squeeze(values).astype(np.float16), rtol=1e-3)


@pytest.mark.usefixtures("no_keys")
def test_everybody_reads_a_public_bucket(owned: S3Server) -> None:
    root = store_at(owned, "public")
    publish(owned, "public")
    assert_is_read(root, endpoint=owned.endpoint, **PUBLIC)
    assert_is_read(root, driver="fsspec", anon=True, endpoint_url=owned.endpoint)
    assert_is_read(f"{owned.endpoint}/public/store")
    manifest = f"{owned.endpoint}/public/store/manifest.json"
    page = {"Origin": "https://page.example", "Range": "bytes=0-9"}
    with urlopen(Request(manifest, headers=page)) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", page["Origin"])
        assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    asked = page | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    with urlopen(Request(manifest, headers=asked, method="OPTIONS")) as answer:
        assert answer.headers["Access-Control-Allow-Headers"].lower() == "range"


@pytest.mark.usefixtures("no_keys")
def test_a_web_address_is_not_listed(owned: S3Server) -> None:
    store_at(owned, "web")
    publish(owned, "web")
    ran = call("info", f"{owned.endpoint}/web/store")
    assert ran.code == 1
    assert "this web server cannot list objects, as all commands but reads must; use s3://" in ran.stderr


@pytest.mark.usefixtures("no_keys")
def test_a_forbidden_read_has_a_reason(owned: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = store_at(owned, "private")
    right = owned.obstore_options
    for options, told in {
        "other key": (right | {"access_key_id": "NOBODY"}, r"InvalidAccessKeyId: .*; check access_key_id and secret"),
        "secret": (right | {"secret_access_key": "bad"}, r"SignatureDoesNotMatch: .*; check access_key_id and secret"),
        "public": (
            {"endpoint": owned.endpoint, **PUBLIC},
            r"403 Forbidden; AccessDenied: .*; the bucket does not allow this without credentials; leave skip_sig",
        ),
    }.values():
        with pytest.raises(StorageError, match=rf"^cannot read {root}/manifest\.json: [^\n]*{told}"):
            ZarrChunkReader(root, storage_options=options)
    monkeypatch.setenv("AWS_PROFILE", "cfd")
    (tmp_path / "credentials").write_text(
        f"[cfd]\naws_access_key_id = {owned.key}\naws_secret_access_key = {owned.secret}\n"
    )
    assert_is_read(root, driver="fsspec", profile="cfd", endpoint_url=owned.endpoint)
    # A closed port, in place of the address at which machines of AWS look up their role.
    nowhere = {"endpoint": owned.endpoint, "metadata_endpoint": "http://127.0.0.1:9"}
    with pytest.raises(
        StorageError, match=r"no credentials were found \(AWS_PROFILE is 'cfd', and obstore reads no pro"
    ):
        ZarrChunkReader(root, storage_options=nowhere)


@pytest.mark.usefixtures("no_keys")
def test_a_plain_endpoint_may_come_from_the_environment(owned: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    root = store_at(owned, "environment")
    for name, value in {
        "AWS_ENDPOINT_URL": owned.endpoint,
        "AWS_ACCESS_KEY_ID": owned.key,
        "AWS_SECRET_ACCESS_KEY": owned.secret,
    }.items():
        monkeypatch.setenv(name, value)
    assert_is_read(root)


@pytest.mark.usefixtures("no_keys")
def test_others_cannot_write_to_a_public_bucket(owned: S3Server) -> None:
    store_at(owned, "readable")
    publish(owned, "readable")
    storage = open_storage("s3://readable/other", {"endpoint": owned.endpoint, **PUBLIC})
    with pytest.raises(StorageError, match=r"AccessDenied: .*; the bucket does not allow this without credentials"):
        storage.write("manifest.json", b"{}")
