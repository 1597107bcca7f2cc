"""``python -m benchmarks.cost_figure``: draw the times of a draw as bars, into ``docs/images/cost.svg``.

The times are the medians of ``benchmarks/results/draws.json``, which ``./scripts/bench --full --only draws`` writes.
"""

from __future__ import annotations

from benchmarks.results import Comparison
from benchmarks.settings import REPOSITORY

__all__ = ["PATH", "figure"]

PATH = REPOSITORY / "docs" / "images" / "cost.svg"
_CASE = "chunks of 4,096"
_ROWS = {
    "floor: mapped .npy": "mapped .npy, shuffled rows",
    "noether": "this library",
    "h5py, slices": "h5py, shuffled rows",
    "tensorstore": "tensorstore, shuffled rows",
    "zarr-python, fancy": "zarr-python, shuffled rows",
    ".pt, loaded whole": ".pt file, loaded whole",
}
"""Label of each contender in the figure."""
_OURS, _THEIRS = "#d9480f", "#868e96"
_LEFT, _BAR, _TOP, _STEP = 220, 520, 56, 34


def figure() -> str:
    """Return the figure as SVG. All bars begin at 0 and have one scale."""
    measured = Comparison.load(REPOSITORY / "benchmarks" / "results" / "draws.json")
    points, drawn = measured.parameters["points"], measured.parameters["points_drawn"]
    title = f"Milliseconds for four fields of {drawn:,} random points of {points:,}"
    case = next(one for one in measured.cases if one.title == _CASE)
    medians = {row.name: 1000 * row.median for row in case.rows if row.name in _ROWS}
    largest = max(medians.values())
    height = _TOP + _STEP * len(_ROWS) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 870 {height}" font-family="sans-serif" font-size="14" '
        'role="img">',
        f"<title>{title}</title>",
        f'<rect width="870" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="16" y="32" font-weight="bold" fill="#222222">{title}</text>',
    ]
    for number, (name, label) in enumerate(_ROWS.items()):
        top, width = _TOP + _STEP * number, _BAR * medians[name] / largest
        shown = f"{medians[name]:,.0f}" if medians[name] >= 100 else f"{medians[name]:.3g}"  # as in the benchmarks
        color, weight = (_OURS, ' font-weight="bold"') if name == "noether" else (_THEIRS, "")
        lines += [
            f'<text x="16" y="{top + 15}" fill="#222222"{weight}>{label}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="20" rx="2" fill="{color}"/>',
            f'<text x="{_LEFT + width + 8:.1f}" y="{top + 15}" fill="#222222"{weight}>{shown}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PATH.write_text(figure(), encoding="utf-8")
