"""A store reads as a dict of its samples, after any additions, replacements and removals."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.reading.chunk_index import has_whole_index
from noether.data.zarr_store.upkeep import merge_groups, remove_samples
from support.ahmed import Arrays
from support.hostile_stores import FILEMAP

IDS = st.sampled_from(["a", "b/1", "é"])


def sample(seed: int, n_points: int) -> Arrays:
    """Return a sample whose seed decides how well its values compress, so that chunks differ in length."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 2 + 40 * (seed % 4), (n_points, 4)).astype(np.float32)
    return {"surface_position": numbers[:, :3], "surface_pressure": numbers[:, 3]}


class StoreModel(RuleBasedStateMachine):
    """Three open writers add, replace and remove samples."""

    @initialize()
    def open(self) -> None:
        self.root = Path(mkdtemp()) / "store"
        self.samples: dict[str, Arrays] = {}
        self.writers = [ZarrStoreWriter(self.root, FILEMAP, "model", chunk_points=32 + 16 * one) for one in range(3)]

    def teardown(self) -> None:
        shutil.rmtree(self.root.parent)

    @rule(sample_id=IDS, writer=st.integers(0, 2), seed=st.integers(0, 7), n_points=st.sampled_from([60, 61, 130]))
    def write(self, sample_id: str, writer: int, seed: int, n_points: int) -> None:
        fields = sample(seed, n_points)
        self.writers[writer].write_sample(sample_id, fields)
        self.writers[writer].save_manifest()
        self.samples[sample_id] = fields

    @precondition(lambda self: self.samples)
    @rule()
    def index(self) -> None:
        write_chunk_index(self.root)
        assert has_whole_index(str(self.root), StoreManifest.load(str(self.root)))

    @precondition(lambda self: self.samples)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        sample_id = data.draw(st.sampled_from(sorted(self.samples)))
        remove_samples(self.root, [sample_id])
        del self.samples[sample_id]

    @precondition(lambda self: self.samples)
    @rule()
    def merge(self) -> None:
        merge_groups(self.root)

    @invariant()
    def reads_as_the_model(self) -> None:
        if not (self.root / "manifest.json").exists():
            return
        reader = ZarrChunkReader(self.root)
        assert set(reader.manifest.samples) == set(self.samples)
        for sample_id, fields in self.samples.items():
            found: dict[str, Any] = reader.read_arrays(sample_id, order="original")
            for field, values in fields.items():
                np.testing.assert_array_equal(found[field], values)


@pytest.mark.slow
def test_a_store_reads_as_a_dict_of_its_samples_after_any_changes() -> None:
    run_state_machine_as_test(StoreModel, settings=settings(max_examples=15, stateful_step_count=12))
