"""The notebooks of the documentation site."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.repository import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))


@dataclass(frozen=True)
class Notebook:
    """The content of a notebook, and the text of its cells by kind."""

    content: dict[str, Any]
    markdown: list[str]
    code: list[str]


def read_notebook(path: Path) -> Notebook:
    """Return the notebook in a file."""
    content = json.loads(path.read_text(encoding="utf-8"))

    def texts(kind: str) -> list[str]:
        return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]

    return Notebook(content, texts("markdown"), texts("code"))
