"""The workflows call scripts that exist, name actions by commit, and have only the permissions that they need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from support.repository import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
if not WORKFLOWS:
    pytest.skip("a source distribution has no workflows", allow_module_level=True)

Workflow = dict[Any, Any]


def load(name: str) -> Workflow:
    """Return the content of a workflow."""
    content: Workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return content


def steps(workflow: Workflow) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in workflow["jobs"].values():
        yield from job.get("steps", [])


def test_all_four_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["docs.yml", "release.yml", "test.yml", "wheels.yml"]


@pytest.mark.parametrize("name", [path.name for path in WORKFLOWS])
def test_every_command_is_a_script_that_can_be_run_here(name: str) -> None:
    commands = [step["run"] for step in steps(load(name)) if "run" in step]
    assert commands
    for command in commands:
        called = re.fullmatch(r"\./((?:scripts|\.ci)/[\w-]+)(?: [\w\"$-]+)*", command)
        assert called, command
        assert os.access(ROOT / called[1], os.X_OK), command


@pytest.mark.parametrize("name", [path.name for path in WORKFLOWS])
def test_every_action_is_named_by_its_commit_and_version(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    actions = re.findall(r"uses: ([^./\s].*)$", text, flags=re.MULTILINE)
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_an_action_has_the_same_commit_in_all_workflows() -> None:
    commits: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, commit in re.findall(r"uses: ([^./\s][^@\s]*)@(\w+)", path.read_text(encoding="utf-8")):
            commits.setdefault(action, set()).add(commit)
    assert len(commits) > 5
    assert [action for action, found in commits.items() if len(found) != 1] == []


@pytest.mark.parametrize("name", [path.name for path in WORKFLOWS])
def test_jobs_read_the_repository_and_write_only_what_they_publish(name: str) -> None:
    workflow = load(name)
    assert workflow["permissions"] == {}
    granted = {job_name: job["permissions"] for job_name, job in workflow["jobs"].items()}
    publishing = {
        "docs.yml": {"pages": "write", "id-token": "write"},
        "release.yml": {"id-token": "write"},
    }
    if name in publishing:
        assert granted.pop("publish") == publishing[name]
    assert all(permissions == {"contents": "read"} for permissions in granted.values())


@pytest.mark.parametrize("name", [path.name for path in WORKFLOWS])
def test_workflows_keep_no_credentials_and_use_no_secrets(name: str) -> None:
    workflow = load(name)
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)
    assert "secrets" not in (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    assert "group" in workflow["concurrency"]


def test_a_tag_publishes_only_files_that_were_tried_and_checked() -> None:
    release = load("release.yml")
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key `on` as true
    jobs = release["jobs"]
    assert jobs["build"]["uses"] == "./.github/workflows/wheels.yml"
    assert jobs["check"]["needs"] == "build"
    assert jobs["publish"]["needs"] == "check"
    assert jobs["publish"]["environment"]["name"] == "pypi"
    for job in load("wheels.yml")["jobs"].values():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert commands[-1] == "./scripts/test-wheel"


def test_the_fast_lane_runs_on_every_supported_python() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", text)
    assert load("test.yml")["jobs"]["fast"]["strategy"]["matrix"]["python"] == supported


def test_hooks_use_the_versions_that_the_scripts_use() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    ruff = [requirement for hook in hooks for requirement in hook["additional_dependencies"] if "ruff" in requirement]
    assert len(ruff) == 2
    assert [requirement for requirement in ruff if requirement not in pinned] == []
