"""``noether-zarr split``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.manifest import split_store


@command("split")
def split_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    test: Annotated[float, typer.Option(metavar="FRACTION", help="Fraction of the samples for the test split.")],
    validation: Annotated[float, typer.Option(metavar="FRACTION", help="Fraction for the validation split.")] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the splits.")] = 0,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Make splits of exact sizes; samples may move when others are added."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace all splits of the store, even if samples move to another split."),
    ] = False,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Split samples at random.

    The splits are train, validation and test. The split of a sample depends on the seed and its id only, so the
    fractions hold on average. After samples were added, the same command places the new samples and moves no others.

    With --exact, the sizes are exact, but samples may move when others are added; the command then needs --overwrite.
    """
    out = Output(as_json)
    with errors_reported(debug, "no split was changed"):
        splits = split_store(
            store,
            test=test,
            validation=validation,
            seed=seed,
            exact=exact,
            overwrite=overwrite,
            storage_options=parse_options(storage_option, "--storage-option"),
        )
        n_samples = sum(map(len, splits.values()))
        shares = ", ".join(f"{name} {len(ids):,} ({len(ids) / n_samples:.1%})" for name, ids in splits.items())
        out.line(f"{n_samples:,} samples: {shares}")
        out.document({"store_root": store, "n_samples": n_samples, "splits": splits})
