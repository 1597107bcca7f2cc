"""The picture of the demo, and its directory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from noether.data.zarr_store import ZarrStoreWriter
from support.ahmed import AHMED_FILEMAP, load_run
from support.repository import ROOT


def load_demo() -> Any:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo


def test_each_panel_shows_a_whole_body_of_many_colours(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path / "store", AHMED_FILEMAP, "ahmed", chunk_points=256)
    writer.write_sample("run_1", load_run("run_1"), attributes={"design_parameters": [25.0, 1.044, 0.288, 40.0]})
    writer.save_manifest()
    picture = imread(load_demo().plot_draws(tmp_path / "store", tmp_path / "draws.png"))[..., :3]
    below_titles = picture[picture.shape[0] // 7 :]
    is_blank = (below_titles == 1).all(axis=(0, 2))
    # Columns without anything drawn lie left of, between and right of the three bodies and the colour bar.
    bodies = np.flatnonzero(np.diff(is_blank.astype(int)) == -1)
    assert is_blank[:4].all()
    assert len(bodies) >= 4
    assert (below_titles[-4:] == 1).all()
    # Of the largest draw, no colour covers most of the body, and all parts of the range are seen.
    panel = below_titles[:, int(0.6 * picture.shape[1]) : int(0.9 * picture.shape[1])].reshape(-1, 3)
    drawn = panel[(np.ptp(panel, axis=1) > 0.2)]
    hues = np.argmax(drawn, axis=1)
    assert min(np.bincount(hues, minlength=3)) > 0.02 * len(drawn)


def test_a_directory_that_is_not_empty_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text("kept")
    monkeypatch.setattr(sys, "argv", ["demo.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^2$"):
        load_demo().main()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
