"""Convert samples: ``noether-zarr convert``."""

from noether.data.zarr_store.cli import load_command

if __name__ == "__main__":
    load_command("convert")(prog_name="python -m noether.data.zarr_store.convert")
