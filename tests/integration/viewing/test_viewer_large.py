"""A sample of 20 million points in the page of the viewer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from support.forks import children
from support.viewer import missing, open_browser, serving, wait_for_points

N_POINTS = 20_000_000
BUDGET = 1_048_576
# Of a point: position, value and stored row in the page, position and value for the graphics card, which is the
# processor here and keeps copies of its own, and the values as they came.
BYTES_OF_A_POINT = 160
# Of the chunks that are on their way.
WINDOWS_BYTES = 64 << 20

why_not = missing()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(why_not is not None, reason=str(why_not))
def test_memory_stays_within_the_budget_of_points(disk_path: Path) -> None:
    """Memory is that of the browser beyond what it has for one chunk."""
    random = np.random.default_rng(0)
    writer = ZarrStoreWriter(
        str(disk_path / "store"), FileMap(volume_position="p", volume_pressure="v"), "large", compression_level=1
    )
    arrays = {
        "volume_position": random.random((N_POINTS, 3), np.float32),
        "volume_pressure": random.random((N_POINTS, 1), np.float32),
    }
    writer.write_sample("large", arrays)
    writer.save_manifest()
    with serving(str(disk_path / "store")) as server, open_browser() as browser:
        page = browser.new_page()
        page.goto(f"{server.url}?points=chunk")
        wait_for_points(page, f"4,096 of {N_POINTS:,} points")
        before = memory_of_browsers()
        page.goto(f"{server.url}?points={BUDGET}")
        wait_for_points(page, f"{BUDGET:,} of {N_POINTS:,} points")
        grown = memory_of_browsers() - before
        assert page.locator("#notices").inner_text() == ""
    assert grown < BUDGET * BYTES_OF_A_POINT + WINDOWS_BYTES


def memory_of_browsers() -> int:
    """Bytes that the processes of the browser have for themselves."""
    return sum(map(unique_memory, descendants(os.getpid())))


def descendants(pid: int) -> list[int]:
    """Return the browsers among the processes that this one, or one that it started, has started."""
    found = children(pid)
    browsers = [one for one in found if "chrom" in Path(f"/proc/{one}/comm").read_text()]
    return browsers + [pid for one in found for pid in descendants(one)]


def unique_memory(pid: int) -> int:
    """Return the bytes of a process that no other one shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))
