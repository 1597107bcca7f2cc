"""The mapping that ``inspect`` proposes converts all samples, with the values that VTK reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from support.inspect_trees import TREES, read_held
from support.lanes import few_fast
from support.trees import call


@pytest.mark.parametrize("name", few_fast(TREES, 3))
def test_the_proposal_converts_all_samples_of_a_tree(tmp_path: Path, name: str) -> None:
    tree, root = TREES[name], tmp_path / "in"
    root.mkdir()
    tree.write(root)
    ran = call("inspect", root, "--mapping", tmp_path / "mapping.toml")
    assert ran.code == 0, ran.output
    found = set(tree.samples) | set(tree.failing)
    assert f"{len(found)} sample" in ran.stdout.splitlines()[0]
    proposal = (tmp_path / "mapping.toml").read_text()
    for remark in tree.remarks:
        assert remark in proposal
    ran = call(
        "convert", root, tmp_path / "store", "--mapping", tmp_path / "mapping.toml", "--workers", 0,
        "--values-dtype", "float32",
    )  # fmt: skip
    assert ran.code == (3 if tree.failing else 0), proposal + ran.output
    assert all(f"failed: sample '{sample_id}'" in ran.output for sample_id in tree.failing)
    reader = ZarrChunkReader(tmp_path / "store")
    assert set(reader.manifest.samples) == set(tree.samples), proposal
    for sample_id, domains in tree.samples.items():
        assert reader.manifest.samples[sample_id].domains.keys() == domains.keys(), proposal
        stored = reader.read_arrays(sample_id, order="original")
        for domain, held in domains.items():
            for field, values in read_held(root, held, domain).items():
                limit = tree.tolerance if field.endswith("position") else 0
                np.testing.assert_allclose(stored[field], values.astype(np.float32), rtol=0, atol=limit, err_msg=field)
