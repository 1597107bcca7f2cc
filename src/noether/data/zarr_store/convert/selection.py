"""The choice of samples: a limit, a part of the samples, or the samples that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from noether.data.zarr_store.convert.report import REPORT_NAME, ReportFile, RunKind
from noether.data.zarr_store.core import positive_int, require_distinct
from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["Mode", "choose_samples"]

Mode = Literal["resume", "retry-failed", "overwrite"]


def choose_samples(
    candidates: Sequence[str],
    writer: ZarrStoreWriter,
    *,
    mode: Mode,
    limit: int | None,
    part: tuple[int, int] | None,
    kind: RunKind = "convert",
) -> list[str]:
    """Return the candidates that an invocation visits; see `convert` for parameters and errors."""
    require_one_of("mode", mode, get_args(Mode))
    sample_ids = list(candidates[: None if limit is None else positive_int(limit, "limit")])
    require_distinct(sample_ids)
    if part is not None:
        number, count = (positive_int(value, "part") for value in part)
        if number > count:
            raise ArgumentError(f"part: expected a number from 1 to {count}, got {number}; count the parts from 1")
        # Neighbours often have similar sizes: a stride gives each part small and large samples.
        sample_ids = sample_ids[number - 1 :: count]
    if mode == "retry-failed":
        former = ReportFile.load(writer.store_root, storage_options=writer.settings.storage_options)
        if not any(run.kind == kind for run in former.runs):
            found = "only records of other commands" if former.runs else "no such file"
            raise ArgumentError(
                f"{writer.store_root}: mode 'retry-failed': expected a record of {kind} in {REPORT_NAME}, got {found}; "
                "use the mode 'resume'"
            )
        failed = former.failed(kind)
        sample_ids = [sample_id for sample_id in sample_ids if sample_id in failed]
    return sample_ids
