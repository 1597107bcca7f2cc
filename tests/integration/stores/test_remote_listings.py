"""The number of requests that find the samples of a bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from noether.data.schemas import FileMap
from noether.data.zarr_store.sources import MappedSource, SampleSource, TreeSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.counting_proxy import counting_proxy
from support.effort import in_full_mode
from support.s3_server import S3Server

pytestmark = pytest.mark.s3

SAMPLES = 5_000 if in_full_mode() else 2_500
# The page size of listings in S3.
PAGE = 1_000
MAPPING = 'name = "n"\nid = "{run}"\n[domains.surface]\nfile = "{run}/p.npz"\nfields.position = "x"'


@pytest.fixture(scope="module")
def prefix(s3_server: S3Server) -> str:
    """Return a directory of a bucket with very many samples, each with an empty file."""
    bucket = S3Store(s3_server.bucket, **s3_server.obstore_options, client_options={"allow_http": True})
    keys = [f"many/run_{number}/p.npz" for number in range(SAMPLES)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: obstore.put(bucket, key, b""), keys))
    return f"s3://{s3_server.bucket}/many"


@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
@pytest.mark.parametrize(
    "open_source",
    [
        pytest.param(
            lambda root, options: TreeSource(root, FileMap(surface_position="p.npz"), storage_options=options),
            id="tree",
        ),
        pytest.param(
            lambda root, options: MappedSource(root, parse_mapping(MAPPING, "mapping"), options), id="mapping"
        ),
    ],
)
def test_thousands_of_samples_are_found_by_one_listing(
    s3_server: S3Server, prefix: str, open_source: Callable[[str, Mapping[str, Any]], SampleSource], driver: str
) -> None:
    with counting_proxy(s3_server.endpoint) as proxy:
        options: Mapping[str, Any] = getattr(replace(s3_server, endpoint=proxy.endpoint), f"{driver}_options")
        source = open_source(prefix, options)
        assert len(source.sample_ids()) == SAMPLES
    lines = [line for line, _ in proxy.handled]
    assert [line for line in lines if "list-type=2" not in line] == []
    assert len(lines) == -(-SAMPLES // PAGE)
