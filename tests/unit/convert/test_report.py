"""conversion.json: the last result of each sample, and the record of each invocation."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionReport, SampleResult, convert
from noether.data.zarr_store.convert.report import REPORT_NAME, ReportFile, RunRecord
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.sources import TreeSource
from support.trees import TREE_FILEMAP, save_runs

RUN = RunRecord()
outcomes = st.sampled_from(["converted", "skipped", "failed"])
results = st.builds(SampleResult, st.sampled_from(["run_1", "run_2", "param/run_1"]), outcomes, reason=st.text())


@given(st.lists(results))
def test_a_skipped_sample_keeps_its_conversion_record(given: list[SampleResult]) -> None:
    """Every other outcome replaces the record."""
    report = ReportFile().with_results(RUN, given)
    for sample_id in {result.sample_id for result in given}:
        own = [result for result in given if result.sample_id == sample_id]
        worked = [number for number, result in enumerate(own) if result.outcome != "skipped"]
        was_converted = bool(worked) and own[worked[-1]].outcome == "converted"
        expected = own[worked[-1]] if was_converted else own[-1]
        record = report.samples[sample_id]
        assert (record.outcome, record.reason) == (expected.outcome, expected.reason)
    assert list(report.samples) == sorted(report.samples)


@given(st.lists(results))
def test_a_report_survives_its_json(given: list[SampleResult]) -> None:
    report = ReportFile().with_results(RUN, given)
    assert ReportFile.parse(report.model_dump_json().encode(), "there") == report


def test_concurrent_additions_to_a_report_lose_nothing(tmp_path: Path) -> None:
    runs = [RunRecord() for _ in range(8)]

    def add(number: int) -> None:
        for sample in range(5):
            ReportFile.add(str(tmp_path), runs[number], [SampleResult(f"{number}/{sample}", "converted")])

    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(add, range(len(runs))))
    report = ReportFile.load(str(tmp_path))
    assert {record.run for record in report.runs} == {run.run for run in runs}
    assert len(report.samples) == 8 * 5
    assert {report.samples[f"3/{sample}"].run for sample in range(5)} == {runs[3].run}


def test_only_the_last_hundred_invocations_are_kept() -> None:
    report, runs = ReportFile(), [RunRecord() for _ in range(103)]
    for run in runs:
        report = report.with_results(run, [])
    assert report.runs == runs[3:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be a valid dictionary"),
        (b'{"samples": {"a": {}}}', "samples.a.outcome: Field required"),
        (b'{"runs": [' + b"0," * (1 << 22) + b"0]}", "expected at most [0-9,]+ values, got over 4,194,304"),
    ],
)
def test_an_invalid_report_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / REPORT_NAME).write_bytes(data)
    with pytest.raises(CorruptDataError, match=f"{REPORT_NAME}: expected a conversion report \\(.*{message}.*; remove"):
        ReportFile.load(str(tmp_path))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConversionReport]:
    """A store with one converted sample, and with an option that must not be recorded."""
    root = tmp_path_factory.mktemp("report")
    url = f"memory://{root.name}/store"
    source = TreeSource(save_runs(root / "tree", ["run_1"]), TREE_FILEMAP)
    options = {"skip_instance_cache": True}
    writer = ZarrStoreWriter(url, TREE_FILEMAP, "ahmed", chunk_points={"surface": 64}, storage_options=options)
    report = convert(source, writer)
    data = ReportFile.load(url).model_dump_json()
    (root / REPORT_NAME).write_text(data)
    return root / REPORT_NAME, report


def test_a_converted_sample_has_its_time_bytes_and_memory(converted: tuple[Path, ConversionReport]) -> None:
    content: dict[str, Any] = json.loads(converted[0].read_bytes())
    [result] = converted[1].results
    record = content["samples"]["run_1"]
    fields = (150 * (3 + 1 + 3 + 3 + 1) + 150 * (3 + 1 + 3 + 3 + 1)) * 4
    assert record["source_bytes"] == result.source_bytes == fields
    assert record["stored_bytes"] == result.stored_bytes
    assert record["seconds"] == round(result.seconds, 3) > 0
    assert record["peak_memory_bytes"] > 10 << 20
    assert record["run"] == content["runs"][0]["run"]


def test_a_record_has_host_times_settings_and_versions(converted: tuple[Path, ConversionReport]) -> None:
    [run] = json.loads(converted[0].read_bytes())["runs"]
    assert run["started"] <= run["ended"]
    assert run["settings"]["chunk_points"] == {"surface": 64}
    assert run["settings"]["filemap"]["surface_pressure"] == "surface_pressure.npy"
    assert (run["settings"]["mode"], run["settings"]["workers"]) == ("resume", 0)
    assert {"noether-zarr-store", "python", "numpy", "zarr", "numcodecs"} == run["versions"].keys()


def test_options_of_file_systems_are_not_recorded(converted: tuple[Path, ConversionReport]) -> None:
    assert "skip_instance_cache" not in converted[0].read_text()


def test_additions_of_fields_are_recorded_separately() -> None:
    adding = RunRecord(kind="add-fields")
    converted = [SampleResult("run_1", "converted"), SampleResult("run_2", "failed"), SampleResult("run_3", "failed")]
    report = ReportFile().with_results(RUN, converted)
    after = report.with_results(adding, [SampleResult("run_1", "failed", reason="x"), SampleResult("run_2", "skipped")])
    assert after.samples == report.samples
    assert (after.failed(), after.failed("add-fields")) == ({"run_2", "run_3"}, {"run_1"})
    assert list(after.additions) == ["run_1", "run_2"]
    assert after.additions["run_1"].run == adding.run
    assert ReportFile.parse(after.to_json(), "there") == after
    assert after.with_results(RUN, [SampleResult("run_1", "failed")]).additions == after.additions


def test_a_removed_sample_leaves_all_records() -> None:
    report = ReportFile()
    for run in (RUN, RunRecord(kind="map-fields")):
        report = report.with_results(run, [SampleResult("run_1", "converted"), SampleResult("run_2", "converted")])
    left = report.without_samples({"run_1"})
    assert (list(left.samples), list(left.additions)) == (["run_2"], ["run_2"])


def test_a_record_without_a_kind_is_a_conversion() -> None:
    record = RUN.model_dump(exclude={"kind"})
    assert RunRecord.model_validate(record).kind == "convert"
