"""`verify` and `repair` after interrupted removals, and for samples that were removed by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep import remove_samples
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import GROUP, IDS, STAGED, Damage, all_of, convert_tree, copy, every_file, flip, found, move, remove
from support.lanes import few_fast
from support.removals import begin
from support.trees import call

ROOT = f"{GROUP}/zarr.json"
BEGUN = ("unfinished_removal", "run_2", GROUP)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("removals"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def removed(root: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of the store without its second sample."""
    other = Path(shutil.copytree(root, tmp_path / "removed"))
    remove_samples(other, ["run_2"])
    return every_file(other)


def begun(root: Path) -> None:
    begin(root, "run_2")


INTERRUPTED: dict[str, Damage] = {
    "before its group was touched": begun,
    "after its root went": all_of(begun, remove(ROOT)),
    "after some objects went": all_of(begun, remove(ROOT), remove(f"{GROUP}/volume")),
    "after its group went": all_of(begun, remove(GROUP)),
    "with a staged copy": all_of(begun, copy(GROUP, f".{GROUP}.{STAGED}")),
    "with a group that was moved aside": all_of(begun, move(GROUP, f".{GROUP}.{STAGED}.former")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERRUPTED)
@pytest.mark.parametrize("level", ["census", "data"])
def test_an_interrupted_removal_is_found(root: Path, name: str, level: str) -> None:
    INTERRUPTED[name](root)
    report = verify_store(root, level=level)  # type: ignore[arg-type]  # one of the two above
    assert {one for one in found(report) if one[0] != "leftover"} == {BEGUN}
    [finding] = [one for one in report.findings if one.kind == "unfinished_removal"]
    assert finding.explanation == "the removal of the sample has not ended"
    assert finding.way_out == f"noether-zarr repair {root}"


@pytest.mark.slow
@pytest.mark.parametrize("has_source", [False, True], ids=["without a source", "with its source"])
@pytest.mark.parametrize("name", few_fast(INTERRUPTED, 2))
def test_repair_finishes_an_interrupted_removal(
    root: Path, source: TreeSource, removed: dict[str, bytes], name: str, has_source: bool
) -> None:
    INTERRUPTED[name](root)
    report = repair_store(root, source=source if has_source else None)
    assert [(action.kind, action.object) for action in report.actions] == [("finish_removal", GROUP)]
    assert report.is_sound
    index = next(key for key in removed if key.startswith("sample_index"))
    left = {key: data for key, data in every_file(root).items() if key != "manifest.json"}
    assert left == {key: data for key, data in removed.items() if key not in ("manifest.json", index)}
    assert list(StoreManifest.load(str(root)).samples) == [IDS[0]]


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> TreeSource:
    return converted[1]


def test_a_removal_is_finished_with_other_repairs(root: Path) -> None:
    all_of(begun, flip(f"{IDS[0]}.zarr/zarr.json"))(root)
    report = repair_store(root)
    assert [action.kind for action in report.actions] == ["restore_metadata", "finish_removal"]
    assert report.is_sound


def test_a_damaged_manifest_removes_nothing(root: Path) -> None:
    """A flipped bit may have changed the path, so a complete group is listed again."""
    begin(root, "run_2")
    flip("manifest.json", -20)(root)
    report = repair_store(root)
    assert report.is_sound
    assert "finish_removal" not in [action.kind for action in report.actions]
    now = StoreManifest.load(str(root))
    assert (list(now.samples), now.removing) == (list(IDS), {})


def test_a_sample_removed_by_hand_has_two_remedies(root: Path) -> None:
    shutil.rmtree(root / GROUP)
    [finding] = verify_store(root).findings
    assert (finding.kind, finding.sample_id) == ("missing_group", "run_2")
    repair = f"noether-zarr repair {root}"
    assert finding.way_out == f"{repair} --source SOURCE; or, to remove the sample from the manifest, {repair}"


def test_repair_unlists_a_sample_removed_by_hand(root: Path, removed: dict[str, bytes]) -> None:
    shutil.rmtree(root / GROUP)
    report = repair_store(root)
    assert [(action.kind, action.object, action.reason) for action in report.actions] == [
        ("unlist", GROUP, "the manifest lists the sample, but its group is missing")
    ]
    assert report.is_sound
    assert every_file(root) == removed


def test_a_dry_run_prints_the_unlisting(root: Path) -> None:
    shutil.rmtree(root / GROUP)
    ran = call("repair", root, "--dry-run")
    line = f"would remove from the manifest {GROUP}: the manifest lists the sample, but its group is missing"
    assert (ran.code, ran.stdout.splitlines()[-1]) == (4, line)


def test_a_source_that_has_the_sample_restores_it(root: Path, source: TreeSource) -> None:
    before = every_file(root)
    shutil.rmtree(root / GROUP)
    repair_store(root, source=source)
    assert every_file(root) == before


def unmount(root: Path) -> None:
    """A link to a disk that is not mounted."""
    (root / GROUP).symlink_to(root.parent / "not mounted" / GROUP)


def remove_all(root: Path) -> None:
    shutil.rmtree(root / "part")


@pytest.mark.parametrize("also", [unmount, remove_all])
def test_unreachable_samples_stay_listed(root: Path, also: Callable[[Path], None]) -> None:
    """A disk may be unmounted."""
    shutil.rmtree(root / GROUP)
    also(root)
    report = repair_store(root)
    assert report.actions == ()
    assert not report.is_sound
    assert list(StoreManifest.load(str(root)).samples) == list(IDS)
