"""Export of stored fields and of predictions onto the mesh that a sample was made from."""

from noether.data.zarr_store.export.meshes import Association
from noether.data.zarr_store.export.prediction_writer import PredictionWriter
from noether.data.zarr_store.export.sample_export import Export, export_sample

__all__ = ["Association", "Export", "PredictionWriter", "export_sample"]
