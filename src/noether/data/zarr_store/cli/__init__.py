"""The command ``noether-zarr``: parse, call, print. One module per command."""

from __future__ import annotations

from noether.data.zarr_store.cli import (  # noqa: F401  # each adds its command to the application
    convert,
    copy,
    export,
    index,
    info,
    inspect,
    merge,
    merge_stats,
    repair,
    split,
    stats,
    verify,
)
from noether.data.zarr_store.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command."""
    app()
