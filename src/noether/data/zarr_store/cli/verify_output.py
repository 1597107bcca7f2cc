"""The output of ``noether-zarr verify`` and ``repair``."""

from __future__ import annotations

from collections import Counter

from rich.filesize import decimal

from noether.data.zarr_store.cli.output import Output
from noether.data.zarr_store.cli.tables import Column
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.upkeep.repair import Action
from noether.data.zarr_store.upkeep.verify import Finding, VerifyReport

__all__ = ["print_action", "print_report"]

_MAX_SHOWN = 40

_VERBS = {
    "put_back": "put back",
    "remove": "remove",
    "restore_metadata": "write",
    "save_manifest": "write",
    "finish_removal": "finish the removal of",
    "join_fields": "finish the addition of fields in",
    "unlist": "remove from the manifest",
    "convert": "convert",
    "save_report": "write",
    "make_chunk_index": "write",
}


def print_report(report: VerifyReport, out: Output) -> None:
    """Print the verdict, a table of the damage with the remedies, and the other findings."""
    damage, unchecked, notes = (report.having(severity) for severity in ("damage", "unchecked", "note"))
    read = f", {decimal(report.n_bytes)} of chunks" if report.n_bytes else ""
    scope = f"{count_of(report.n_samples, 'sample')}, {report.n_objects:,} objects{read} (level {report.level})"
    verdict = "sound" if report.is_sound else f"DAMAGED, {count_of(len(damage), 'finding')}"
    out.line(f"{report.store_root}: {verdict}; {scope} in {report.seconds:.1f} s")
    if damage:
        names = (Column(title, "name") for title in ("sample", "field", "object"))
        columns = [Column("damage", "text"), *names, Column("explanation", "text")]
        out.table(columns, map(_row, damage[:_MAX_SHOWN]))
        _print_more(damage, out)
        ways_out = Counter(finding.way_out for finding in damage)
        for way_out, count in ways_out.most_common():
            about = f" about {count_of(count, 'finding')}" if len(ways_out) > 1 else ""
            out.line(f"what to do{about}: {way_out}")
    for label, findings in (("not checked", unchecked), ("note", notes)):
        for finding in findings[:_MAX_SHOWN]:
            where = ", ".join(filter(None, (finding.sample_id, finding.object)))
            out.line(f"{label}: {where + ': ' if where else ''}{finding.explanation}; {finding.way_out}")
        _print_more(findings, out)
    for limit in report.limits:
        out.line(f"limit: {limit}")


def print_action(action: Action, out: Output, *, dry_run: bool) -> None:
    """Print one step of a repair."""
    would = "would " if dry_run else ""
    out.line(f"{would}{_VERBS[action.kind]} {action.object}: {action.reason}")


def _row(finding: Finding) -> list[str]:
    cells = (finding.sample_id, finding.field, finding.object, finding.explanation)
    return [finding.kind.replace("_", " "), *(cell or "" for cell in cells)]


def _print_more(findings: list[Finding], out: Output) -> None:
    if len(findings) > _MAX_SHOWN:
        out.line(f"… and {len(findings) - _MAX_SHOWN:,} more, which --json shows")
