"""Conversions of a source into a store, by any number of processes and machines."""

from noether.data.zarr_store.convert.adding import AdditionReport, add_fields, select_samples_of_both
from noether.data.zarr_store.convert.additions import SamplesOfBoth, narrowed_source, samples_of_both
from noether.data.zarr_store.convert.computing import map_fields
from noether.data.zarr_store.convert.conversion import fingerprint_of_sample
from noether.data.zarr_store.convert.conversion_plan import ConversionPlan, DomainPlan
from noether.data.zarr_store.convert.engine import convert, select_samples
from noether.data.zarr_store.convert.field_writers import fields_of_writer, open_field_writer
from noether.data.zarr_store.convert.planning import choose_workers, plan_conversion
from noether.data.zarr_store.convert.report import REPORT_NAME, ConversionReport, Outcome, ReportFile, SampleResult
from noether.data.zarr_store.convert.selection import Mode
from noether.data.zarr_store.convert.worker_count import WorkerCount
from noether.data.zarr_store.convert.writers import open_writer

__all__ = [
    "REPORT_NAME",
    "AdditionReport",
    "ConversionPlan",
    "ConversionReport",
    "DomainPlan",
    "Mode",
    "Outcome",
    "ReportFile",
    "SampleResult",
    "SamplesOfBoth",
    "WorkerCount",
    "add_fields",
    "choose_workers",
    "convert",
    "fields_of_writer",
    "fingerprint_of_sample",
    "map_fields",
    "narrowed_source",
    "open_field_writer",
    "open_writer",
    "plan_conversion",
    "samples_of_both",
    "select_samples",
    "select_samples_of_both",
]
