from typing import Any

from numpy.typing import NDArray

def decode(
    data: bytes | memoryview,
    bounds: list[int],
    out: NDArray[Any],
    typesize: int,
    widen: bool,
    checksum: bool,
    verify: bool,
    /,
) -> int: ...
