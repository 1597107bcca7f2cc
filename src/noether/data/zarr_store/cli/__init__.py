"""The command ``noether-zarr``: parse, call, print. One module per command, imported when the command runs."""

from __future__ import annotations

from noether.data.zarr_store.cli.app import app, load_command

__all__ = ["app", "load_command", "main"]


def main() -> None:
    """Run the command."""
    app()
