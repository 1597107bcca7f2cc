"""Compute statistics, as ``noether-zarr stats`` does."""

from noether.data.zarr_store.cli import load_command

if __name__ == "__main__":
    load_command("stats")(prog_name="python -m noether.data.zarr_store.statistics")
