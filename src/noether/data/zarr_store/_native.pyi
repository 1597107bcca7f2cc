from typing import Any

import numpy as np
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
def gather(
    values: NDArray[Any],
    order: NDArray[np.int64],
    out: NDArray[Any],
    row_size: int,
    to_half: bool,
    /,
) -> bool: ...
