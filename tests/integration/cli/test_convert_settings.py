"""`convert` into a store that is there: settings that the command leaves out are those of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from support.lanes import few_fast
from support.trees import TREE_FILEMAP, call, identities, save_run, save_runs, visible_files

PRESET = ("--preset", "ahmedml", "--workers", "0")
# The default settings, and one that a second command forgets or changes.
SETTINGS = {
    "chunks": ("--chunk-points", "32"),
    "chunks of a domain": ("--chunk-points", "volume=32"),
    "shards": ("--chunk-points", "32", "--shard-points", "70"),
    "dtype of positions": ("--coords-dtype", "float64"),
    "dtype of values": ("--values-dtype", "float32"),
    "dtype of a field": ("--field-dtype", "volume_velocity=float32"),
    "seed": ("--seed", "5"),
    "level": ("--compression-level", "8"),
    "checksum": ("--no-checksum",),
    "origin": ("--origin", "-0.5,1,0"),
    "name": ("--name", "mine"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(scope="module")
def tree_and_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store that no test changes, and a tree with a sample that it lacks."""
    path = tmp_path_factory.mktemp("settings")
    tree = save_runs(path / "tree")
    options = ("--chunk-points", 32, "--shard-points", 70, "--seed", 7, "--compression-level", 9)
    convert(tree, path / "store", *options)
    save_run(tree / "run_3", "run_3")
    return tree, path / "store"


def convert(tree: Path, store: Path, *options: object) -> str:
    """Convert, and return the last line: the counts of samples."""
    ran = call("convert", tree, store, *PRESET, *options)
    assert ran.code == 0, ran.output
    return ran.stdout.splitlines()[-1].partition(";")[0]


@pytest.mark.slow
@pytest.mark.parametrize("options", few_fast(SETTINGS.values(), 3), ids=SETTINGS)
def test_forgotten_options_change_nothing_and_are_those_of_samples_that_are_added(
    tree: Path, store: Path, options: tuple[str, ...]
) -> None:
    convert(tree, store, *options, "--limit", 1)
    before = identities(store)
    assert convert(tree, store, "--limit", 1) == "0 converted, 1 complete before, 0 failed"
    assert identities(store) == before
    assert convert(tree, store) == "1 converted, 1 complete before, 0 failed"
    convert(tree, store.with_name("at_once"), *options)
    assert visible_files(store) == visible_files(store.with_name("at_once"))


def test_options_that_name_the_settings_of_the_store_are_accepted(tree: Path, store: Path) -> None:
    convert(tree, store, "--chunk-points", 32, "--shard-points", 70, "--seed", 7)
    before = visible_files(store)
    # 150 points make the same shards of 64 and the same first chunks.
    same = ("--chunk-points", "surface=32", "--shard-points", 64, "--seed", 7, "--values-dtype", "float16")
    assert convert(tree, store, *same, "--field-dtype", "surface_pressure=float16", "--checksum") == (
        "0 converted, 2 complete before, 0 failed"
    )
    assert visible_files(store) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--chunk-points", "64"],
            "chunk_points: the store has 32 (surface of 'run_1'), got 64; "
            "leave out --chunk-points, or convert the samples again with --overwrite",
        ),
        (
            ["--chunk-points", "volume=64"],
            "chunk_points: the store has 32 (volume of 'run_1'), got 64; "
            "leave out --chunk-points, or convert the samples again with --overwrite",
        ),
        (
            ["--shard-points", "40"],
            "shard_points: the store has 64 (surface of 'run_1'), got 40; "
            "leave out --shard-points, or convert the samples again with --overwrite",
        ),
        (
            ["--field-dtype", "volume_velocity=float32"],
            "field_dtypes: the store has volume_velocity=float16, got volume_velocity=float32; "
            "leave out --field-dtype, which all samples of a store share, or write to another store",
        ),
        (
            ["--coords-dtype", "float64", "--values-dtype", "float32"],
            "coords_dtype: the store has float32, got float64; "
            "values_dtype: the store has float16, got float32; "
            "leave out --coords-dtype and --values-dtype, which all samples of a store share, or write to another "
            "store",
        ),
        (
            ["--seed", "8", "--chunk-points", "64"],
            "shuffle_seed: the store has 7, got 8; "
            "chunk_points: the store has 32 (surface of 'run_1'), got 64; "
            "leave out --seed, which all samples of a store share, or write to another store, and "
            "leave out --chunk-points, or convert the samples again with --overwrite",
        ),
        (
            ["--compression-level", "2"],
            "compression_level: the store has 9, got 2; "
            "leave out --compression-level, which all samples of a store share, or write to another store",
        ),
        (
            ["--no-checksum"],
            "checksum: the store has True, got False; "
            "leave out --checksum, which all samples of a store share, or write to another store",
        ),
        (
            ["--origin", "1,2,3.5"],
            "origin: the store has None, got (1.0, 2.0, 3.5); "
            "leave out --origin, which all samples of a store share, or write to another store",
        ),
        (
            ["--name", "mine"],
            "dataset_name: the store has ahmedml, got mine; "
            "leave out --name, which all samples of a store share, or write to another store",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_settings_are_refused_with_both_values(
    tree_and_store: tuple[Path, Path], options: list[str], message: str
) -> None:
    tree, store = tree_and_store
    before = identities(store)
    for dry_run in ([], ["--dry-run"]):
        ran = call("convert", tree, store, *PRESET, *options, *dry_run)
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr == f"error: {store}/manifest.json: {message}\n"
    assert identities(store) == before


@pytest.mark.slow
@pytest.mark.parametrize("options", [SETTINGS[key] for key in ("chunks", "chunks of a domain", "shards")])
def test_overwriting_may_change_chunks_and_shards(tree: Path, store: Path, options: tuple[str, ...]) -> None:
    convert(tree, store, "--chunk-points", 50)
    assert convert(tree, store, *options, "--overwrite") == "2 converted, 0 complete before, 0 failed"
    # A domain that the command does not name keeps the store's chunks.
    named = ("--chunk-points", "surface=50,volume=32") if options == SETTINGS["chunks of a domain"] else options
    convert(tree, store.with_name("fresh"), *named)
    assert visible_files(store) == visible_files(store.with_name("fresh"))


@pytest.mark.parametrize("options", [SETTINGS[key] for key in ("seed", "level", "dtype of values", "checksum")])
def test_overwriting_changes_no_setting_that_all_samples_share(
    tree_and_store: tuple[Path, Path], options: tuple[str, ...]
) -> None:
    tree, store = tree_and_store
    before = identities(store)
    ran = call("convert", tree, store, *PRESET, *options, "--overwrite")
    assert ran.code == 2
    assert ", got " in ran.stderr
    assert ran.stderr.endswith(", which all samples of a store share, or write to another store\n")
    assert identities(store) == before


@pytest.mark.slow
def test_samples_keep_their_own_chunk_sizes(tree: Path, store: Path) -> None:
    """A sample that is added gets the chunks that most samples have."""
    save_run(tree / "run_3", "run_3")
    convert(tree, store, "--chunk-points", 32)
    convert(tree, store, "--chunk-points", 64, "--overwrite", "--limit", 1)
    before = identities(store)
    assert convert(tree, store) == "0 converted, 3 complete before, 0 failed"
    assert identities(store) == before
    save_run(tree / "run_4", "run_4")
    convert(tree, store)
    samples = StoreManifest.load(str(store)).samples
    chunks = {sample_id: entry.domains["volume"].chunk_points for sample_id, entry in samples.items()}
    assert chunks == {"run_1": 64, "run_2": 32, "run_3": 32, "run_4": 32}


def test_a_store_that_keeps_its_name_says_so(tree: Path, store: Path) -> None:
    filemap = store.with_name("filemap.json")
    filemap.write_text(TREE_FILEMAP.model_dump_json(exclude_none=True))
    call("convert", tree, store, "--filemap", filemap, "--workers", 0, "--name", "mine")
    ran = call("convert", tree, store, "--filemap", filemap, "--workers", 0)
    assert ran.code == 0
    assert "note: the dataset of the store keeps its name 'mine'; the source is named 'tree'\n" in ran.stdout
    assert StoreManifest.load(str(store)).dataset_name == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["shuffle_algorithm", "compressor"])
def test_a_store_that_another_release_wrote_is_not_added_to(tree: Path, store: Path, key: str) -> None:
    convert(tree, store)
    StoreManifest.update(str(store), lambda there: there.model_copy(update={key: "later-v9"}))
    before = visible_files(store)
    ran = call("convert", tree, store, *PRESET)
    assert (ran.code, ran.stdout) == (1, "")
    assert f"error: {store}/manifest.json: this release cannot add to the store: expected the shuffle" in ran.stderr
    assert "later-v9" in ran.stderr
    assert "; write to another store, or use the release that wrote this one" in ran.stderr
    assert visible_files(store) == before


def test_other_fields_than_those_of_the_store_are_refused(tree: Path, store: Path) -> None:
    convert(tree, store)
    filemap = store.with_name("filemap.json")
    filemap.write_text('{"surface_position": "surface_position_vtp.pt"}')
    before = visible_files(store)
    ran = call("convert", tree, store, "--filemap", filemap, "--workers", 0)
    assert ran.code == 1
    assert "the store was written with other settings (domains: the store has" in ran.stderr
    assert visible_files(store) == before
