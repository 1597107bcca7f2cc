"""What works on rows touches no memory beyond its buffers, whatever sizes it is given."""

from __future__ import annotations

import pytest

from support.effort import in_full_mode
from support.guarded import run_fuzzer

N_CALLS = 20_000 if in_full_mode() else 4_000


@pytest.mark.usefixtures("compiled")
def test_no_size_reaches_beyond_a_buffer() -> None:
    assert min(run_fuzzer("support.fuzz_rows", 1, N_CALLS)) > N_CALLS // 4
