"""Collection and texts of findings."""

from __future__ import annotations

import json

from noether.data.zarr_store.upkeep.verify import VerifyReport
from noether.data.zarr_store.upkeep.verify.findings import Findings

PLACE = {"sample_id": "run_1", "field": "volume_pressure", "key": "run_1.zarr/volume/pressure/c/0/0"}


def test_damage_comes_first_then_samples_and_objects_in_order() -> None:
    findings = Findings("/store")
    findings.add("not_recognised", "x", key="a")
    findings.add("missing_group", "x", sample_id="b", key="b.zarr")
    findings.add("not_compared", "x", sample_id="a")
    findings.add("missing_object", "x", sample_id="a", key="a.zarr/2")
    findings.add("missing_object", "x", sample_id="a", key="a.zarr/1")
    findings.add("manifest_damaged", "x", key="manifest.json")
    assert [(one.severity, one.object) for one in findings.sorted()] == [
        ("damage", "manifest.json"),
        ("damage", "a.zarr/1"),
        ("damage", "a.zarr/2"),
        ("damage", "b.zarr"),
        ("unchecked", None),
        ("note", "a"),
    ]


def test_equal_findings_count_once() -> None:
    findings = Findings("/store")
    for _ in range(3):
        findings.add("missing_group", "x", sample_id="b", key="b.zarr")
    assert len(findings.sorted()) == 1


def test_damaged_chunks_of_a_shard_are_named_with_the_reason_of_the_first() -> None:
    findings = Findings("/store")
    for chunk, reason in ((5, "b"), (3, "a"), (12, "c")):
        findings.add_chunk(chunk, reason, **PLACE)
    [one] = findings.sorted()
    assert (one.kind, one.explanation) == ("chunk_damaged", "3 chunks are damaged (3, 5, 12), the first: a")


def test_the_first_of_many_damaged_chunks_are_named() -> None:
    findings = Findings("/store")
    for chunk in range(100):
        findings.add_chunk(chunk, "its checksum does not match", **PLACE)
    [one] = findings.sorted()
    assert one.explanation.startswith("100 chunks are damaged (0, 1, 2, 3, 4, 5, 6, 7, …), the first: its checksum")


def test_a_limit_names_one_place_and_the_number_of_places() -> None:
    findings = Findings("/store")
    for place in ("b", "a", "b"):
        findings.add_limit("{places}: no checksum", place)
    findings.add_limit("{places} is unsealed", "manifest.json")
    assert findings.limits() == ("manifest.json is unsealed", "2 places, such as a: no checksum")


def test_a_report_is_plain_values() -> None:
    findings = Findings("/store")
    findings.add("half_written_group", "x", sample_id="b", key="b.zarr")
    report = VerifyReport("/store", "data", 1, 2, 3, 0.5, findings.sorted(), ("none",))
    plain = json.loads(json.dumps(report.to_dict()))
    assert (plain["is_sound"], plain["findings"][0]["way_out"]) == (False, "noether-zarr repair /store --source SOURCE")
