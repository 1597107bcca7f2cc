"""Words in the names of parts and files: the domain, and whether it is a boundary of the flow. Pure."""

from __future__ import annotations

import re

__all__ = ["domain_named_in", "is_outer"]

# Words for domains in the names of datasets.
_SURFACE = re.compile(r"surf|boundary|wall|body|skin", re.IGNORECASE)
_VOLUME = re.compile(r"vol|internal|domain|field|fluid", re.IGNORECASE)
# Words for boundaries of a flow other than the body. Words that can name parts of a body, such as front, are left out.
_OUTER = re.compile(
    r"(?<![a-z])(in-?flows?|out-?flows?|inlets?|outlets?|symmetry|symm?|ground|road|ceiling|(wind[_ -]?)?tunnel|"
    r"far[_ -]?field|free[_ -]?stream|atmosphere|periodic|cyclic|(lower|upper|side)[_ -]?walls?|"
    r"front[_ -]?and[_ -]?back|default[_ -]?faces)(?![a-z])",
    re.IGNORECASE,
)
# Word boundary between a small and a capital letter: groundPlane.
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def domain_named_in(text: str) -> str | None:
    """Return the domain that a name contains, ``surface`` or ``volume``; None if it contains neither."""
    return "surface" if _SURFACE.search(text) else "volume" if _VOLUME.search(text) else None


def is_outer(text: str) -> bool:
    """Return whether a name is that of a boundary of the flow, such as an inlet or the ground, and not of the body."""
    return bool(_OUTER.search(_HUMP.sub(" ", text.rpartition("/")[2])))
