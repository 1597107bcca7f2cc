"""Code that every wing uses: grids, names, a cache, memory, threads, untrusted JSON and tables, document checksums."""

from noether.data.zarr_store.core.bounded_json import parse_document, require_few_values
from noether.data.zarr_store.core.byte_size import parse_byte_size
from noether.data.zarr_store.core.cache import BoundedCache
from noether.data.zarr_store.core.counts import count_of
from noether.data.zarr_store.core.document_checksum import (
    CHECKSUM_KEY,
    ZERO_CHECKSUM,
    ChecksumState,
    checksum_state,
    with_checksum,
)
from noether.data.zarr_store.core.grid import (
    DEFAULT_CHUNK_POINTS,
    Grid,
    chunk_points_by_domain,
    positive_int,
    whole_number,
)
from noether.data.zarr_store.core.html_repr import HtmlTable, html_repr, shortened
from noether.data.zarr_store.core.logs import log_as_parent_does, logged_to_stderr
from noether.data.zarr_store.core.memory import available_memory_bytes, map_again, memory_bytes, peak_memory_bytes
from noether.data.zarr_store.core.name_patterns import name_matches
from noether.data.zarr_store.core.names import (
    GROUP_SUFFIX,
    ROOT_KEY,
    check_relative_path,
    check_sample_id,
    group_path,
    is_plain,
    portable_key,
    printable,
    require_distinct,
    sample_id_of,
    twin_error,
)
from noether.data.zarr_store.core.scratch import ScratchFile, scratch_root
from noether.data.zarr_store.core.text_table import TextRow, TextTable, parse_text_table
from noether.data.zarr_store.core.threads import default_threads, run_all, run_in_order

__all__ = [
    "CHECKSUM_KEY",
    "DEFAULT_CHUNK_POINTS",
    "GROUP_SUFFIX",
    "ROOT_KEY",
    "ZERO_CHECKSUM",
    "BoundedCache",
    "ChecksumState",
    "Grid",
    "HtmlTable",
    "ScratchFile",
    "TextRow",
    "TextTable",
    "available_memory_bytes",
    "check_relative_path",
    "check_sample_id",
    "checksum_state",
    "chunk_points_by_domain",
    "count_of",
    "default_threads",
    "group_path",
    "html_repr",
    "is_plain",
    "log_as_parent_does",
    "logged_to_stderr",
    "map_again",
    "memory_bytes",
    "name_matches",
    "parse_byte_size",
    "parse_document",
    "parse_text_table",
    "peak_memory_bytes",
    "portable_key",
    "positive_int",
    "printable",
    "require_distinct",
    "require_few_values",
    "run_all",
    "run_in_order",
    "sample_id_of",
    "scratch_root",
    "shortened",
    "twin_error",
    "whole_number",
    "with_checksum",
]
