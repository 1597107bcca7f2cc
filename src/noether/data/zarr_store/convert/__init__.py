"""From a source to a store, over any number of processes and machines."""

from noether.data.zarr_store.convert.conversion import fingerprint_of_sample
from noether.data.zarr_store.convert.conversion_plan import ConversionPlan, DomainPlan
from noether.data.zarr_store.convert.engine import Mode, convert, select_samples
from noether.data.zarr_store.convert.planning import choose_workers, plan_conversion
from noether.data.zarr_store.convert.report import REPORT_NAME, ConversionReport, Outcome, ReportFile, SampleResult
from noether.data.zarr_store.convert.worker_count import WorkerCount
from noether.data.zarr_store.convert.writers import open_writer

__all__ = [
    "REPORT_NAME",
    "ConversionPlan",
    "ConversionReport",
    "DomainPlan",
    "Mode",
    "Outcome",
    "ReportFile",
    "SampleResult",
    "WorkerCount",
    "choose_workers",
    "convert",
    "fingerprint_of_sample",
    "open_writer",
    "plan_conversion",
    "select_samples",
]
