"""Functions that parse untrusted bytes. Each returns, or raises an error of the library; any other error is a bug.

`run` calls them with inputs guided by coverage. The tests call them with the seeds, and with edits by Hypothesis.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.codec.shard_index import index_size
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.core.names import check_sample_id, is_plain, portable_key, printable
from noether.data.zarr_store.errors import CorruptDataError, ManifestError, SampleIdError, SourceError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.manifest.node_metadata import parse_array, parse_group, require_array
from noether.data.zarr_store.reading import ChunkIndex, ShardAccess, ShardedArray, load_words, write_chunk_index
from noether.data.zarr_store.sampling import plan_whole
from noether.data.zarr_store.sources.byte_source import ByteSource
from noether.data.zarr_store.sources.ensight_gold import GoldMesh
from noether.data.zarr_store.sources.formats import describe_file, load_file
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_files import StreamedFile
from noether.data.zarr_store.sources.vtk_xml import StreamedMesh
from noether.data.zarr_store.stores import LocalStorage
from support.edits import edit_by_bytes
from support.ensight_files import small_gold_files
from support.hostile_stores import make_small_store
from support.old_indexes import write_index_in_order
from support.shards import Settings, encode_chunk, encode_shards, with_crc
from support.vtk_bytes import small_vtk_files

__all__ = ["TARGETS", "Target", "seeds_of"]

Target = Callable[[bytes], None]

GRID = Grid(50, 8, 56)
CAPACITY = GRID.shard_points // GRID.chunk_points
FILES = ("a.npy", "a.npz", "a.json", "a.csv")
_BETWEEN_FILES = b"<the variable>"


def manifest(data: bytes) -> None:
    """Parse a manifest and all its samples, write it, and parse it again to the same manifest."""
    with suppress(ManifestError):
        parsed = StoreManifest.parse(data, "m")
        samples = dict(parsed.samples)
        whole = parsed.model_copy(update={"samples": samples})
        again = StoreManifest.parse(whole.model_dump_json().encode(), "m")
        if again != whole:
            raise AssertionError("a manifest that was read is another one when it is written and read again")


# An array whose metadata is parsed, but which is never read.
_NOWHERE = ShardAccess(LocalStorage("/nowhere"))


def group(data: bytes) -> None:
    """Parse the root ``zarr.json`` of a group: its own manifest, and the metadata of each node."""
    with suppress(ManifestError):
        StoreManifest.of_group(data, "g")
    for parse in (parse_group, parse_array):
        with suppress(CorruptDataError):
            nodes: Any = parse(data, "g")
            for node in [nodes, *(nodes.values() if isinstance(nodes, dict) else [])]:
                with suppress(CorruptDataError):
                    metadata = require_array(node, (GRID.n_points, 3), "a")
                    ChunkCodec.of_metadata(metadata)
                    ShardedArray.of_metadata("a", metadata, GRID.chunk_points, "a", _NOWHERE, missing_is_error=True)


def edited_manifest(data: bytes) -> None:
    """Parse a manifest in either layout, edited as the bytes specify."""
    edited = edit_by_bytes(json.loads(seeds_of("manifest")[0]), data)
    manifest(json.dumps(edited).encode())
    samples = edited.pop("samples", None) if isinstance(edited, dict) else None
    if isinstance(samples, dict):
        lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in samples.items())
        rest = json.dumps(edited, indent=2).removesuffix("\n}")
        manifest(f'{rest},\n  "samples": {{\n{lines}\n  }}\n}}\n'.encode())


def edited_group(data: bytes) -> None:
    """Parse a root ``zarr.json``, edited as the bytes specify."""
    group(json.dumps(edit_by_bytes(json.loads(seeds_of("group")[0]), data)).encode())


class _OneObject:
    """A storage in which every key has the same bytes; it has only the methods for reading an array."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_range(self, _key: str, start: int, length: int) -> bytes:
        return self._data[start : start + length]

    def local_file(self, _key: str) -> None:
        """Return None, so that the caller uses `read_range`."""

    def read_tail(self, _key: str, length: int) -> tuple[bytes, int]:
        return self._data[max(len(self._data) - length, 0) :], len(self._data)


def shard(data: bytes) -> None:
    """Read an array of one shard. The first byte selects checksums of chunks, and a correct checksum of the index."""
    flags, body = data[:1] or b"\0", data[1:]
    checksum, missing_is_error, is_forged = (bool(flags[0] & bit) for bit in (1, 2, 4))
    if is_forged:
        entries = body[-index_size(CAPACITY) : -4]
        body = body[: -index_size(CAPACITY)] + with_crc(entries)
    codec = ChunkCodec(np.dtype("<f4"), GRID.chunk_points, 3, checksum)
    access = ShardAccess(_OneObject(body), verify=checksum)  # type: ignore[arg-type]  # it reads, and no more
    array = ShardedArray("a", codec, CAPACITY, "a", missing_is_error, access)
    plan, out = plan_whole(GRID), np.empty((GRID.n_points, 3), np.float32)
    with suppress(CorruptDataError):
        for request in array.requests(plan):
            array.read(request, out)


def chunk(data: bytes) -> None:
    """Decode a chunk of float16, as float32 and as float16, and check that the bytes around the output stay."""
    codec = ChunkCodec(np.dtype("<f2"), 700, 3, checksum=False)
    around = np.full((702, 3), 7, np.float32)
    if codec.can_decode_to(around.dtype):
        codec.decode_run(data, [0, len(data)], around[1:-1])
    rows = np.full((702, 3), 7, np.float16)
    with suppress(CorruptDataError):
        codec.decode_into(data, rows[1:-1])
    if not ((around[[0, -1]] == 7).all() and (rows[[0, -1]] == 7).all()):
        raise AssertionError("a chunk was written beside its place")


def sample_id(data: bytes) -> None:
    """Check a sample id; an accepted id stays below the root."""
    text = data.decode(errors="surrogateescape")
    if portable_key(portable_key(text)) != portable_key(text):
        raise AssertionError("what two forms of a text have in common has itself another form")
    printable(text).encode()
    with suppress(SampleIdError):
        passed = check_sample_id(text)
        if not (is_plain(passed) and posixpath.normpath(posixpath.join("/root", passed)) == f"/root/{passed}"):
            raise AssertionError("a sample id leaves the root, or hides in it")


def source_file(data: bytes) -> None:
    """Read a file of a source; the first byte selects the format."""
    name = FILES[(data[0] if data else 0) % len(FILES)]
    for read in (load_file, describe_file):
        with suppress(SourceError):
            read(BytesIO(data[1:]), name, "field")


@cache
def _indexed_manifests() -> dict[str, StoreManifest]:
    """Return the manifests of small stores, by the format of their chunk index."""
    manifests = {}
    for make in (write_chunk_index, write_index_in_order):
        with TemporaryDirectory() as directory:
            root = make_small_store(Path(directory) / "store")
            name = make(root)
            manifests[name.partition("-")[0]] = StoreManifest.load(str(root))
    return manifests


def chunk_index(data: bytes) -> None:
    """Read a chunk index of each format for two samples; return lengths for all chunks of an array, or raise."""
    for one in _indexed_manifests().values():
        with suppress(CorruptDataError):
            index = ChunkIndex(load_words(BytesIO(data)), one)
            for read in (index.require_sound, index.describes_all):
                with suppress(CorruptDataError):
                    read()
            for name, entry in one.samples.items():
                with suppress(CorruptDataError):
                    if any(
                        len(lengths) != entry.domains["surface"].n_chunks for lengths in index.lengths(name).values()
                    ):
                        raise AssertionError("an array has lengths for more or fewer chunks than it has")


def words_of_index(data: bytes) -> None:
    """Read a chunk index with these bytes as its words, and with a valid header."""
    file = BytesIO()
    np.save(file, np.frombuffer(data[: len(data) // 4 * 4], "<u4"))
    chunk_index(file.getvalue())


def vtk_file(data: bytes) -> None:
    """Read a VTK XML file with all its arrays and cells."""
    source = ByteSource([(lambda start, length: data[start : start + length], len(data))])
    with suppress(NotStreamedError, SourceError):
        _read_all(StreamedMesh([source], "a", "sample 's': a.vtu", "make it again"))


def ensight_case(data: bytes) -> None:
    """Read an EnSight case with all its arrays and cells; the bytes are its geometry and a variable."""
    geometry, _, variable = data.partition(_BETWEEN_FILES)
    with TemporaryDirectory() as directory, suppress(NotStreamedError, SourceError):
        path = Path(directory, "a.case")
        path.write_text("FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: a.geo\nVARIABLE\nscalar per element: p a.p\n")
        path.with_suffix(".geo").write_bytes(geometry)
        path.with_suffix(".p").write_bytes(variable)
        _read_all(GoldMesh(path, "sample 's': a.case", "make it again"))


def _read_all(mesh: StreamedFile) -> None:
    for part in mesh.read(mesh.names):
        for association, arrays in part.data.items():
            part.is_own(association)
            for values in arrays.values():
                np.asarray(values)
        np.asarray(part.point_positions())
        np.asarray(part.cell_positions())
        part.used_points()
        cell_centers(part.points, part.own_cells())


TARGETS: Mapping[str, Target] = {
    one.__name__: one
    for one in (
        *(manifest, edited_manifest, group, edited_group, shard, chunk, sample_id, source_file),
        *(chunk_index, words_of_index, vtk_file, ensight_case),
    )
}


@cache
def seeds_of(target: str) -> list[bytes]:
    """Return the seeds of a target, which are valid bytes."""
    if target in {"manifest", "group"}:
        with TemporaryDirectory() as directory:
            root = make_small_store(Path(directory) / "store")
            document = (root / ("manifest.json" if target == "manifest" else "s1.zarr/zarr.json")).read_bytes()
        return [document, json.dumps(json.loads(document)).encode()]
    values = np.round(np.random.default_rng(0).normal(size=(700, 3)), 2)
    if target.startswith("edited"):
        return [bytes(4 * n) for n in range(4)]
    if target == "shard":
        shards = {
            on: next(encode_shards(values[:50].astype("<f4"), Settings(GRID, checksum=on))) for on in (False, True)
        }
        return [bytes([flags]) + shards[bool(flags & 1)] for flags in range(8)]
    if target in {"chunk_index", "words_of_index"}:
        files = []
        for make in (write_chunk_index, write_index_in_order):
            with TemporaryDirectory() as directory:
                root = make_small_store(Path(directory) / "store")
                files.append((root / make(root)).read_bytes())
        return files if target == "chunk_index" else [np.load(BytesIO(data)).tobytes() for data in files]
    if target == "chunk":
        codec = ChunkCodec(np.dtype("<f2"), 700, 3, checksum=False)
        return [encode_chunk(codec, values.astype("<f2")), encode_chunk(codec, np.zeros((700, 3), "<f2"))]
    if target == "vtk_file":
        return small_vtk_files()
    if target == "ensight_case":
        return [_BETWEEN_FILES.join(files) for files in small_gold_files()]
    if target == "sample_id":
        return [b"run_1", "part/\u00e9\u7ffc".encode(), b"../x", b"C:x"]
    npy, npz = BytesIO(), BytesIO()
    np.save(npy, values[:9])
    np.savez_compressed(npz, values[:9])
    texts = [b'{"angle": 25.0, "name": "a"}', b"angle,name\n25.0,a\n"]
    return [bytes([i]) + data for i, data in enumerate([npy.getvalue(), npz.getvalue(), *texts])]
