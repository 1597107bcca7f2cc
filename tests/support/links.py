"""Links in Markdown, and the anchors of pages."""

from __future__ import annotations

import re
from pathlib import Path


def broken_links(text: str, page: Path) -> list[str]:
    """Return the links in the text of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page: its headings, as GitHub names them, and its own."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([\w-]+)">', text))
