"""What works on rows touches no memory beyond its buffers, whatever sizes it is given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.effort import in_full_mode

N_CALLS = 20_000 if in_full_mode() else 4_000


@pytest.mark.usefixtures("compiled")
def test_no_size_reaches_beyond_a_buffer() -> None:
    """The calls are made in a process of their own, so that a crash fails this test alone."""
    done = subprocess.run(
        [sys.executable, "-m", "support.fuzz_rows", "1", str(N_CALLS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    n_done, n_refused = map(int, done.stdout.split())
    assert min(n_done, n_refused) > N_CALLS // 4
