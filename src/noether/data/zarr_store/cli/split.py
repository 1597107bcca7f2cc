"""``noether-zarr split``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.manifest import split_store


@command("split")
def split_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    test: Annotated[float, typer.Option(help="Fraction of the samples that is for test.")],
    validation: Annotated[float, typer.Option(help="Fraction that is for validation.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed gives other splits.")] = 0,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Make splits of exact counts; samples may move when others are added."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace all splits of the store, also if samples leave theirs.")
    ] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Part the samples of STORE at random into train, validation and test.

    Where a sample goes depends on the seed and its id alone, so fractions hold on average. Again after samples were
    added, the command places these and moves no other. With --exact, the counts are exact, and samples may move when
    others are added: the command then needs --overwrite.
    """
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
        shares = ", ".join(f"{name} {len(ids)} ({len(ids) / n_samples:.1%})" for name, ids in splits.items())
        typer.echo(f"{n_samples} samples: {shares}")
