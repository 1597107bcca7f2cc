"""Conversion today reproduces the archived bytes, with the libraries of constraints.txt.

`./scripts/test-matrix`, which has newer ones and no PyTorch, leaves this out: those may compress and word otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.archive import (
    CONTENT_CHECKSUMS,
    EPOCH_SAMPLE,
    EPOCHS,
    INDEX_WITH_IDS,
    STORE_HASH_ORDER,
    dataset_item,
    domain_of,
    load_expected,
    rows_of,
    write_store,
)
from support.trees import visible_files


def test_the_writer_reproduces_the_bytes_of_the_archived_store(tmp_path: Path) -> None:
    """Groups are of one release, the index of a later one, the manifest and the roots of a still later one."""
    made = visible_files(write_store(tmp_path / "store"))
    groups = {key: data for key, data in visible_files(STORE_HASH_ORDER).items() if "/" in key}
    archived = groups | visible_files(INDEX_WITH_IDS) | visible_files(CONTENT_CHECKSUMS)
    assert made.keys() == archived.keys()
    assert [key for key in archived if made[key] != archived[key]] == []


@pytest.mark.parametrize("asked", EPOCHS, ids=[one["schedule"] for one in EPOCHS])
def test_a_dataset_reads_the_archived_values_of_its_points(asked: dict[str, Any]) -> None:
    """The store was archived by an earlier version."""
    item, stored = dataset_item(STORE_HASH_ORDER, asked), load_expected(STORE_HASH_ORDER).stored(EPOCH_SAMPLE)
    rows = rows_of(item, stored)
    assert {domain: len(set(one)) for domain, one in rows.items()} == asked["num_points"]
    for field, values in stored.items():
        np.testing.assert_array_equal(item[field], values[rows[domain_of(field)]].astype(np.float32))
