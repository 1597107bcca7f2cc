"""What names say of a part or a file: which domain it is of, and whether it belongs to the body. Pure."""

from __future__ import annotations

import re

__all__ = ["domain_named_in", "is_outer"]

# What datasets call their domains.
_SURFACE = re.compile(r"surf|boundary|wall|body|skin", re.IGNORECASE)
_VOLUME = re.compile(r"vol|internal|domain|field|fluid", re.IGNORECASE)
# What bounds a flow and is no part of the body in it. Words that a body may have, such as front and top, are not here.
_OUTER = re.compile(
    r"(?<![a-z])(in-?flows?|out-?flows?|inlets?|outlets?|symmetry|symm?|ground|road|ceiling|(wind[_ -]?)?tunnel|"
    r"far[_ -]?field|free[_ -]?stream|atmosphere|periodic|cyclic|(lower|upper|side)[_ -]?walls?|"
    r"front[_ -]?and[_ -]?back|default[_ -]?faces)(?![a-z])",
    re.IGNORECASE,
)
# Where a small letter meets a capital one, a word ends: groundPlane.
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def domain_named_in(text: str) -> str | None:
    """Return the domain, ``surface`` or ``volume``, that a name speaks of."""
    return "surface" if _SURFACE.search(text) else "volume" if _VOLUME.search(text) else None


def is_outer(text: str) -> bool:
    """Return whether a name is that of a boundary that is no part of the body, such as an inlet or the ground."""
    return bool(_OUTER.search(_HUMP.sub(" ", text.rpartition("/")[2])))
