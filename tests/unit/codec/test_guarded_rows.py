"""Functions on rows stay within their buffers, whatever sizes the caller passes."""

from __future__ import annotations

import pytest

from support.effort import in_full_mode
from support.guarded import run_fuzzer

N_CALLS = 20_000 if in_full_mode() else 4_000


@pytest.mark.usefixtures("compiled")
def test_casts_stay_within_their_buffers() -> None:
    assert min(run_fuzzer("support.fuzz_rows", 1, N_CALLS)) > N_CALLS // 4
