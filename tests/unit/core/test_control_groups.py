"""Limits of containers and batch jobs, read from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from noether.data.zarr_store.core import available_memory_bytes, default_threads
from noether.data.zarr_store.core.control_groups import ControlGroups, memory_left_bytes, quota_of_cores

GIB = 1 << 30
UNLIMITED = "9223372036854771712"


@pytest.fixture
def groups(tmp_path: Path) -> ControlGroups:
    return ControlGroups(tmp_path / "cgroup", tmp_path / "membership")


def save(group: Path, **files: object) -> None:
    """Write files of a group; the first underscore of a name stands for its dot."""
    group.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (group / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_memory_limit_minus_usage_is_left(groups: ControlGroups) -> None:
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="cpu memory", memory_max=8 * GIB, memory_current=3 * GIB)
    assert memory_left_bytes(groups) == 5 * GIB


def test_page_cache_counts_as_free(groups: ControlGroups) -> None:
    groups.membership.write_text("0::/\n")
    statistics = f"anon 5\nfile {3 * GIB}\nshmem {GIB}\ninactive_anon 9\nactive_file {GIB}\ninactive_file {GIB}"
    save(groups.mount, cgroup_controllers="", memory_max=8 * GIB, memory_current=8 * GIB, memory_stat=statistics)
    assert memory_left_bytes(groups) == 2 * GIB


def test_parent_groups_limit_too(groups: ControlGroups) -> None:
    """A batch system limits the job. The process is in the control group of a job step below it."""
    groups.membership.write_text("0::/slurm/job_7/step_0\n")
    save(groups.mount, cgroup_controllers="cpu memory")
    save(groups.mount / "slurm/job_7", memory_max=16 * GIB, memory_current=4 * GIB, cpu_max="800000 100000")
    save(groups.mount / "slurm/job_7/step_0", memory_max="max", memory_current=4 * GIB, cpu_max="max 100000")
    save(groups.mount / "slurm/job_8", memory_max=GIB, memory_current=0, cpu_max="100000 100000")
    assert memory_left_bytes(groups) == 12 * GIB
    assert quota_of_cores(groups) == 8


def test_version_1_has_a_tree_for_each_controller(groups: ControlGroups) -> None:
    groups.membership.write_text("4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n")
    save(groups.mount / "memory", memory_limit_in_bytes=UNLIMITED, memory_usage_in_bytes=9 * GIB)
    statistics = f"active_file 1\ninactive_file 2\ntotal_active_file {GIB}\ntotal_inactive_file 0"
    group = groups.mount / "memory" / "docker" / "ab"
    save(group, memory_limit_in_bytes=4 * GIB, memory_usage_in_bytes=3 * GIB, memory_stat=statistics)
    save(groups.mount / "cpu", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100_000)
    save(groups.mount / "cpu/docker/ab", cpu_cfs_quota_us=250_000, cpu_cfs_period_us=100_000)
    assert memory_left_bytes(groups) == 2 * GIB
    assert quota_of_cores(groups) == 3


@pytest.mark.parametrize("path", ["/docker/ab", "/../other"])
def test_host_path_in_a_container_means_the_mount(path: str, groups: ControlGroups) -> None:
    groups.membership.write_text(f"4:memory:{path}\n3:cpu:{path}\n")
    save(groups.mount / "memory", memory_limit_in_bytes=2 * GIB, memory_usage_in_bytes=GIB)
    save(groups.mount / "cpu", cpu_cfs_quota_us=100_000, cpu_cfs_period_us=100_000)
    assert (memory_left_bytes(groups), quota_of_cores(groups)) == (GIB, 1)


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", None), ("400000 100000", 4), ("250000 100000", 3), ("1000 100000", 1)]
)
def test_cpu_quota_is_rounded_up(quota: str, cores: int | None, groups: ControlGroups) -> None:
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="cpu", cpu_max=quota)
    assert quota_of_cores(groups) == cores


def test_usage_can_exceed_the_limit(groups: ControlGroups) -> None:
    """The limit was lowered after the memory was allocated."""
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="memory", memory_max=GIB, memory_current=2 * GIB)
    assert memory_left_bytes(groups) == 0


@pytest.mark.parametrize("line", ["", "0::/\n", "4:memory:/a\n3:cpu:/a\n", "5:devices:/a\n"])
def test_without_files_there_is_no_limit(line: str, groups: ControlGroups) -> None:
    """Other systems have no control groups, and some containers hide them."""
    if line:
        groups.membership.write_text(line)
    assert (memory_left_bytes(groups), quota_of_cores(groups)) == (None, None)


def test_smaller_of_machine_and_group_counts(groups: ControlGroups) -> None:
    """The memory and cores of the machine, and the limits of the control group."""
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="", memory_max=5000, memory_current=1000, cpu_max="50000 100000")
    assert (available_memory_bytes(groups), default_threads(groups)) == (4000, 1)


def test_limit_above_the_machine_has_no_effect(tmp_path: Path, groups: ControlGroups) -> None:
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="", memory_max=UNLIMITED, memory_current=0, cpu_max="10000000000 100000")
    without = ControlGroups(tmp_path, tmp_path / "nowhere")
    assert default_threads(groups) == default_threads(without)
    limited, of_machine = available_memory_bytes(groups), available_memory_bytes(without)
    assert limited is not None
    assert of_machine is not None
    assert limited == pytest.approx(of_machine, rel=0.5)


def test_no_memory_left_is_zero(groups: ControlGroups) -> None:
    """This is not the same as None, the result for a system that does not report its memory."""
    groups.membership.write_text("0::/\n")
    save(groups.mount, cgroup_controllers="", memory_max=1000, memory_current=1000)
    assert available_memory_bytes(groups) == 0
