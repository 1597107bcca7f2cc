"""The lines that `noether-zarr repair` prints."""

from __future__ import annotations

from typing import get_args

import pytest

from noether.data.zarr_store.cli.output import Output
from noether.data.zarr_store.cli.verify_output import print_action
from noether.data.zarr_store.upkeep.repair import Action, ActionKind


@pytest.mark.parametrize("kind", get_args(ActionKind))
def test_every_kind_of_action_is_a_line(capsys: pytest.CaptureFixture[str], kind: ActionKind) -> None:
    print_action(Action(kind, "run_1.zarr", "run_1", "the reason"), Output(as_json=False), dry_run=True)
    line = capsys.readouterr().out
    assert line.startswith("would ")
    assert line.endswith(" run_1.zarr: the reason\n")
