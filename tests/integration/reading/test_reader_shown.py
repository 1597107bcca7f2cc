"""What a reader, a dataset and statistics show of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreDataset, ZarrStoreWriter, calculate_store_statistics
from noether.data.zarr_store.manifest.lines import SampleLines
from noether.data.zarr_store.statistics import RunningStats, StoreStatistics, load_statistics, save_statistics
from noether.data.zarr_store.stores import make_store
from support.ahmed import AHMED_FILEMAP, load_run

MEANING = {
    "surface_pressure": {"units": "m2/s2", "long_name": "<kinematic> pressure"},
    "volume_velocity": {"units": "m/s"},
}
DOMAINS = [
    "  surface (2,041 points): position float32 x 3, pressure float16, friction float16 x 3, normals float16 x 3, "
    "area float16",
    "  volume (18,219 points): position float32 x 3, pressure float16, velocity float16 x 3, vorticity float16 x 3, "
    "sdf float16",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shown") / "store"
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", field_attributes=MEANING)
    for sample_id in ("b", "a"):
        writer.write_sample(sample_id, load_run("run_1"))
    writer.save_manifest()
    return root


def test_a_reader_has_the_samples_of_its_manifest(store: Path) -> None:
    reader = ZarrChunkReader(store)
    assert (len(reader), reader.sample_ids) == (2, ["a", "b"])
    assert reader.sample_ids == list(reader.manifest.samples)


def test_the_ids_of_a_reader_are_listed_without_parsing_samples(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ZarrChunkReader(store)
    assert isinstance(reader.manifest.samples, SampleLines)
    monkeypatch.setattr(SampleLines, "__getitem__", lambda *_: pytest.fail("a sample was parsed"))
    assert (len(reader), reader.sample_ids) == (2, ["a", "b"])


def test_a_reader_and_a_dataset_tell_samples_domains_and_fields(store: Path) -> None:
    reader = ZarrChunkReader(store)
    assert repr(reader).splitlines() == [f"<ZarrChunkReader of {store}: 2 samples of ahmed>", *DOMAINS]
    assert repr(reader.manifest).splitlines() == ["<StoreManifest of ahmed: 2 samples>", *DOMAINS]
    points = {"surface": 8, "volume": 8}
    fields = ["surface_position", "volume_velocity"]
    dataset = ZarrStoreDataset(store, sample_ids=["b"], num_points=points, fields=fields)
    assert repr(dataset).splitlines() == [
        f"<ZarrStoreDataset of 1 sample of {store}, epoch 0, seed 0>",
        *DOMAINS,
        "  items: surface_position, volume_velocity",
    ]


def test_notebooks_show_units_and_samples(store: Path) -> None:
    reader = ZarrChunkReader(store)
    assert reader.field_attributes("a") == MEANING
    for html in (reader._repr_html_(), ZarrStoreDataset(store)._repr_html_()):
        assert "<td>surface_pressure</td><td>float16</td><td>1</td><td>m2/s2</td>" in html
        assert "&lt;kinematic&gt; pressure" in html
        assert "<td>volume_velocity</td><td>float16</td><td>3</td><td>m/s</td>" in html
        assert "<td>a</td><td>surface 2,041, volume 18,219</td>" in html


def test_a_reader_with_a_store_factory_reads_no_units_past_it(store: Path) -> None:
    reader = ZarrChunkReader(store, store_factory=make_store)
    assert reader.field_attributes("a") == {}
    assert "m2/s2" not in reader._repr_html_()


def test_a_damaged_sample_is_shown_as_such(store: Path, tmp_path: Path) -> None:
    """Nothing that is wrong in a store makes what is shown of it an error."""
    lines = (store / "manifest.json").read_text().splitlines()
    lines = [
        line.replace('"n_points":2041', '"n_points":-1') if line.startswith('    "a":') else line for line in lines
    ]
    (tmp_path / "manifest.json").write_text("\n".join(lines) + "\n")
    reader = ZarrChunkReader(tmp_path)
    assert repr(reader).splitlines()[1:] == DOMAINS
    html = reader._repr_html_()
    assert "<td>a</td><td>the entry in the manifest is malformed</td>" in html
    assert "m2/s2" not in html  # the group of the sample is not there


def test_statistics_show_their_figures(store: Path, tmp_path: Path) -> None:
    stats = calculate_store_statistics(store, fields=["surface_area", "volume_velocity"])
    assert isinstance(stats, StoreStatistics)
    assert isinstance(stats, dict)
    first, area, velocity = repr(stats).splitlines()
    assert first == "<StoreStatistics of 2 fields>"
    assert area.startswith("  surface_area: 4,082 points: mean 0.000")
    assert velocity.startswith("  volume_velocity: 36,438 points: mean [")
    html = stats._repr_html_()
    assert "<b>volume_velocity</b><span>36,438 points</span>" in html
    assert f"<td>2</td><td>{stats['volume_velocity'].mean[2]:.6g}</td>" in html
    save_statistics(stats, tmp_path / "stats.json")
    assert repr(load_statistics(tmp_path / "stats.json")) == repr(stats)
    assert json.loads(json.dumps(list(stats))) == ["surface_area", "volume_velocity"]


def test_an_estimate_shows_no_extremes(store: Path) -> None:
    stats = calculate_store_statistics(store, fields=["volume_pressure"], tolerance=0.3)["volume_pressure"]
    assert "(8,192 read)" in repr(stats)
    assert "min" not in repr(stats)
    assert "<th>mean margin</th>" in stats._repr_html_()


def test_few_of_many_components_are_shown() -> None:
    stats = RunningStats.of(np.arange(200.0).reshape(2, 100))
    assert "mean [50, 51, 52, 53, 54, 55, 56, 57, …]" in repr(stats)
    assert "… and 80 more" in stats._repr_html_()
