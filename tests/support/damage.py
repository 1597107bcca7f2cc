"""A small store to damage, its source, and kinds of damage."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep.verify import FindingKind, VerifyReport
from support.trees import TREE_FILEMAP, save_runs

IDS = ("part/run_1", "run_2")
GROUP = "run_2.zarr"
FIELD, ARRAY = "volume_velocity", f"{GROUP}/volume/velocity"
SHARD = f"{ARRAY}/c/1/0"
STAGED = "999999999-0123456789abcdef"
"""Suffix of a staged group of an ended process: no process has such a high id."""

Damage = Callable[[Path], None]
Found = tuple[FindingKind, str | None, str | None]


def convert_tree(directory: Path) -> tuple[Path, TreeSource]:
    """Convert two short runs: 150 points a domain, in 5 chunks and 3 shards; splits and a foreign key are added."""
    source = TreeSource(save_runs(directory / "tree", IDS), TREE_FILEMAP)
    root = directory / "store"
    convert(source, ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64))
    more = {"splits": {"train": ["run_2"]}, "unit_system": "SI"}
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update=more))
    return root, source


def found(report: VerifyReport) -> set[Found]:
    """The damage in a report: kind, sample id and object key."""
    return {(one.kind, one.sample_id, one.object) for one in report.having("damage")}


def every_file(root: Path) -> dict[str, bytes]:
    """The content of every file by path, including hidden files and the report, without locks."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def flip(key: str, at: int | None = None) -> Damage:
    """Change one byte; by default, the byte in the middle."""

    def damage(root: Path) -> None:
        data = bytearray((root / key).read_bytes())
        data[len(data) // 2 if at is None else at] ^= 0x01
        (root / key).write_bytes(data)

    return damage


def changed(data: bytes, at: int, rng: random.Random) -> bytes:
    """Return a copy of some bytes in which one byte is changed."""
    return data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]


def cut(key: str, n_bytes: int) -> Damage:
    return lambda root: os.truncate(root / key, n_bytes)


def remove(key: str) -> Damage:
    def damage(root: Path) -> None:
        if (root / key).is_dir():
            shutil.rmtree(root / key)
        else:
            (root / key).unlink()

    return damage


def put(key: str, data: bytes = b"x") -> Damage:
    def damage(root: Path) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    return damage


def copy(key: str, to: str) -> Damage:
    def damage(root: Path) -> None:
        shutil.copytree(root / key, root / to)

    return damage


def move(key: str, to: str) -> Damage:
    def damage(root: Path) -> None:
        (root / key).rename(root / to)

    return damage


def unlist(sample_id: str) -> Damage:
    """Remove a sample from the manifest."""

    def change(manifest: StoreManifest) -> StoreManifest:
        kept = {name: entry for name, entry in manifest.samples.items() if name != sample_id}
        return manifest.model_copy(update={"samples": kept})

    return lambda root: StoreManifest.update(str(root), change)


def chunk_index_of(root: Path) -> str:
    name = StoreManifest.load(str(root)).index_name
    assert name is not None
    return name


def all_of(*damages: Damage) -> Damage:
    def damage(root: Path) -> None:
        for one in damages:
            one(root)

    return damage
