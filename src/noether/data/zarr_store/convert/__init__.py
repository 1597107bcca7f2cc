"""From a source to a store, over any number of processes and machines."""

from noether.data.zarr_store.convert.engine import Mode, convert, select_samples
from noether.data.zarr_store.convert.planning import ConversionPlan, DomainPlan, plan_conversion
from noether.data.zarr_store.convert.report import ConversionReport, Outcome, SampleResult

__all__ = [
    "ConversionPlan",
    "ConversionReport",
    "DomainPlan",
    "Mode",
    "Outcome",
    "SampleResult",
    "convert",
    "plan_conversion",
    "select_samples",
]
