"""What ``noether-zarr verify`` and ``repair`` show."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from noether.data.zarr_store.core import printable
from noether.data.zarr_store.upkeep.repair import Action
from noether.data.zarr_store.upkeep.verify import Finding, VerifyReport

__all__ = ["print_action", "print_report"]

# Where the output goes to a file or pipe there is no width to fit.
_PLAIN_WIDTH = 160
_MAX_SHOWN = 40

_VERBS = {
    "put_back": "put back",
    "remove": "remove",
    "restore_metadata": "write",
    "save_manifest": "write",
    "finish_removal": "finish the removal of",
    "unlist": "take out of the manifest",
    "convert": "convert",
    "save_report": "write",
    "make_chunk_index": "make",
}


def print_report(report: VerifyReport, console: Console) -> None:
    """Print a line, a table of the damage, what to do about it, and what is to be known besides."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    damage, unchecked, notes = (report.having(severity) for severity in ("damage", "unchecked", "note"))
    read = f", {decimal(report.n_bytes)} of chunks" if report.n_bytes else ""
    looked = f"{report.n_samples:,} samples, {report.n_objects:,} objects{read} (level {report.level})"
    verdict = "sound" if report.is_sound else f"DAMAGED, {_count(len(damage))}"
    console.print(printable(f"{report.store_root}: {verdict}; {looked} in {report.seconds:.1f} s"), soft_wrap=True)
    if damage:
        console.print(_table(damage[:_MAX_SHOWN]))
        _print_more(damage, console)
        ways_out = Counter(finding.way_out for finding in damage)
        for way_out, count in ways_out.most_common():
            about = f" about {_count(count)}" if len(ways_out) > 1 else ""
            console.print(printable(f"what to do{about}: {way_out}"), soft_wrap=True)
    for label, findings in (("not checked", unchecked), ("note", notes)):
        for finding in findings[:_MAX_SHOWN]:
            where = ", ".join(filter(None, (finding.sample_id, finding.object)))
            text = f"{label}: {where + ': ' if where else ''}{finding.explanation}"
            console.print(printable(text), soft_wrap=True)
        _print_more(findings, console)
    for limit in report.limits:
        console.print(printable(f"not seen: {limit}"), soft_wrap=True)


def print_action(action: Action, console: Console, *, dry_run: bool) -> None:
    """Print a step of a repair."""
    would = "would " if dry_run else ""
    console.print(printable(f"{would}{_VERBS[action.kind]} {action.object}: {action.reason}"), soft_wrap=True)


def _count(n_findings: int) -> str:
    return f"{n_findings:,} finding{'' if n_findings == 1 else 's'}"


def _table(findings: list[Finding]) -> Table:
    table = Table()
    for column in ("damage", "sample", "field", "object", "what is wrong"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        cells = (finding.sample_id, finding.field, finding.object, finding.explanation)
        table.add_row(finding.kind.replace("_", " "), *(printable(cell or "") for cell in cells))
    return table


def _print_more(findings: list[Finding], console: Console) -> None:
    if len(findings) > _MAX_SHOWN:
        console.print(f"… and {len(findings) - _MAX_SHOWN:,} more, which --json shows")
