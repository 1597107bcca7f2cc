"""A writer with the settings from the manifest of a store makes the same chunks and shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.manifest import DomainSample, SampleEntry
from noether.data.zarr_store.writing import StoreSettings
from support.manifests import minimal, parse

DOMAINS = ("surface", "volume")
SIZES = st.integers(1, 300)
CAPS = st.none() | st.integers(1, 200)
CHUNKS = st.fixed_dictionaries(dict.fromkeys(DOMAINS, st.integers(1, 64)))
POINTS = st.lists(st.dictionaries(st.sampled_from(DOMAINS), SIZES, min_size=1), min_size=1, max_size=12)


def entry(points: dict[str, int], chunk_points: dict[str, int], shard_points: int | None) -> SampleEntry:
    grids = {domain: Grid.fit(n_points, chunk_points[domain], shard_points) for domain, n_points in points.items()}
    return SampleEntry("a.zarr", {domain: DomainSample.of(grid) for domain, grid in grids.items()})


def settings_of(entries: list[SampleEntry]) -> StoreSettings:
    ours = minimal() | {"shuffle_algorithm": "mt19937-v1", "compressor": "blosc-zstd-3"}
    return StoreSettings.of(parse(ours), "/store/manifest.json", entries)


def again(entries: list[SampleEntry], settings: StoreSettings) -> list[SampleEntry]:
    """Return the entries that a writer with some settings makes for the same samples."""
    points = [{domain: sample.n_points for domain, sample in one.domains.items()} for one in entries]
    return [entry(one, settings.chunk_points, settings.shard_points) for one in points]


@given(POINTS, CHUNKS, CAPS)
def test_store_settings_reproduce_chunks_and_shards(
    points: list[dict[str, int]], chunk_points: dict[str, int], shard_points: int | None
) -> None:
    entries = [entry(one, chunk_points, shard_points) for one in points]
    assert again(entries, settings_of(entries)) == entries


@given(POINTS, CHUNKS, CAPS, CHUNKS, CAPS)
def test_store_settings_follow_most_samples(
    points: list[dict[str, int]],
    chunk_points: dict[str, int],
    shard_points: int | None,
    other_chunks: dict[str, int],
    other_shards: int | None,
) -> None:
    """Each sample exists twice with the same settings, and once with other settings."""
    entries = [entry(one, chunk_points, shard_points) for one in points for _ in range(2)]
    entries += [entry(one, other_chunks, other_shards) for one in points]
    remade = again(entries, settings_of(entries))
    for domain in DOMAINS:
        pairs = [
            (one.domains[domain].chunk_points, another.domains[domain].chunk_points)
            for one, another in zip(entries, remade, strict=True)
            if domain in one.domains
        ]
        assert 3 * sum(one == another for one, another in pairs) >= 2 * len(pairs)


def test_store_settings_default_for_single_chunks() -> None:
    """No domain has more than one chunk, so the manifest does not show the chunk size for larger samples."""
    small = [entry({"surface": 150}, {"surface": 4096}, None)]
    assert settings_of(small).chunk_points == {"surface": 4096}
    large = [entry({"surface": 9000}, {"surface": 16384}, None)]
    assert settings_of(large).chunk_points == {"surface": 9000}
