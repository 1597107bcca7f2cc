"""What is shown of stores: text from them is never taken for HTML, and the size is bounded."""

from __future__ import annotations

import json
from html import escape
from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st

from noether.data.zarr_store.core import check_sample_id, group_path, printable
from noether.data.zarr_store.core.html_repr import MAX_ROWS, HtmlTable, html_repr
from noether.data.zarr_store.errors import SampleIdError
from support.manifests import GRID, minimal, parse

TAGS = {"style", "div", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "b", "span"}
HOSTILE = st.sampled_from(
    [
        "<script>alert(1)",
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(1)>',
        "]]>",
        "&lt;b&gt;",
        "a' b=\"c",
        "--!>",
    ]
)
TEXTS = st.lists(st.one_of(HOSTILE, st.text(max_size=12)), min_size=1, max_size=3).map("".join)


class Shown(HTMLParser):
    """The tags, attributes and texts of HTML, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def check(html: str) -> list[str]:
    """Check that HTML has no tags and attributes but ours; return its texts."""
    shown = Shown(html)
    assert shown.tags <= TAGS
    assert shown.attributes <= {"class", "open"}
    assert not shown.open
    assert "url(" not in html
    return shown.texts


def is_id(text: str) -> bool:
    try:
        check_sample_id(text)
    except SampleIdError:
        return False
    return True


@given(TEXTS.filter(is_id), TEXTS, TEXTS.filter(lambda text: text.isprintable() and text.strip()))
@example("<script>alert(1)", '"><img src=x onerror=alert(1)>', "<b>x</b>")
def test_text_of_a_store_is_escaped(sample_id: str, attribute: str, name: str) -> None:
    entry = {"relpath": group_path(sample_id), "domains": {"surface": GRID}, "attributes": {attribute: attribute}}
    manifest = parse(minimal() | {"dataset_name": name, "samples": {sample_id: entry}, "splits": {name: [sample_id]}})
    texts = check(manifest._repr_html_())
    assert sample_id in texts
    assert name in texts
    assert printable(json.dumps({attribute: attribute}, ensure_ascii=False)) in texts
    if escape(sample_id) != sample_id:
        assert sample_id not in manifest._repr_html_()


@given(st.lists(TEXTS, min_size=5, max_size=5))
def test_every_part_of_a_table_is_escaped(texts: list[str]) -> None:
    title, fact, note, header, cell = texts
    shown = check(html_repr(title, [(fact, fact)], [HtmlTable(note, note, [header], [[cell]])]))
    assert {printable(text) for text in texts if text.strip()} <= set(shown)


def test_long_text_and_many_rows_are_cut() -> None:
    rows = [["x" * 1_000_000] * 3 for _ in range(100)]
    html = html_repr("t", [("a", "b")] * 100, [HtmlTable("s", "", ["a", "b", "c"], rows)] * 100)
    assert len(html) < 500_000
    texts = check(html)
    assert texts.count("x" * 199 + "…") == MAX_ROWS * MAX_ROWS * 3
    assert texts.count("… and 80 more") == MAX_ROWS + 1


def test_twenty_of_many_samples_are_listed() -> None:
    samples = {f"run_{n}": {"relpath": f"run_{n}.zarr", "domains": {"surface": GRID}} for n in range(1000)}
    texts = check(parse(minimal() | {"samples": samples})._repr_html_())
    assert {f"run_{n}" for n in range(20)} <= set(texts)
    assert "run_20" not in texts
    assert "… and 980 more" in texts
    assert "2,041 points in the first 20 samples, 2 fields" in texts
