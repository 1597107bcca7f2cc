"""Fuzzing guided by coverage. From the directory ``tests``: ``python -m fuzz.run SECONDS``, for all targets together.

Needs atheris, which has no release for every Python and system. What shows a bug is left in a file ``crash-…`` (or
``timeout-…``, ``oom-…``) in the directory where this was started; ``python -m fuzz.run TARGET FILE`` shows it again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from support.bounds import limit_memory

# Seconds and bytes of one input.
BOUNDS = ("-timeout=10", "-max_len=16384")
# Tokens from which inputs are made, in addition to the constants that the code compares them with.
TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",\\x0a",
    ":",
    "NaN",
    "Infinity",
    "1e999",
    "-1",
    "9223372036854775808",
    "\\x0a  }\\x0a}\\x0a",
]
KEYS = (
    "samples domains arrays relpath n_points chunk_points shard_points n_chunks splits chunk_index sample_index "
    "lengths_crc32c codecs shape PK"
)


def main() -> int:
    """Fuzz all targets, each in its own process, or one target in this process; return 0 if no bug was found."""
    if len(sys.argv) > 2:
        return _fuzz_here(sys.argv[1], sys.argv[2:])
    try:
        import atheris  # noqa: F401  # check that it is installed
    except ImportError:
        print("fuzzing is left out: there is no atheris for this Python (pip install atheris)")
        return 0
    from fuzz.targets import TARGETS

    seconds = max(int(sys.argv[1]) // len(TARGETS), 1)
    total = 0
    for target in TARGETS:
        n_inputs = _fuzz_apart(target, seconds)
        if n_inputs is None:
            return 1
        total += n_inputs
        print(f"{target}: {n_inputs:,} inputs in {seconds} s", flush=True)
    print(f"{total:,} inputs, no bug found")
    return 0


def _fuzz_apart(target: str, seconds: int) -> int | None:
    """Return the number of inputs that were tried; None if an input showed a bug, which is printed."""
    from fuzz.targets import seeds_of

    with TemporaryDirectory() as directory:
        corpus, tokens = Path(directory, "corpus"), Path(directory, "tokens")
        corpus.mkdir()
        for i, seed in enumerate(seeds_of(target)):
            (corpus / f"seed-{i}").write_bytes(seed)
        tokens.write_text("".join(f'"{token}"\n' for token in [*TOKENS, *(f'\\"{key}\\"' for key in KEYS.split())]))
        command = [sys.executable, "-m", "fuzz.run", target, *BOUNDS, f"-max_total_time={seconds}"]
        ran = subprocess.run([*command, f"-dict={tokens}", str(corpus)], capture_output=True, text=True, check=False)
    done = re.search(r"Done (\d+) runs", ran.stderr)
    if ran.returncode or done is None:
        print(f"{target}: {ran.stdout}{ran.stderr}")
        return None
    return int(done[1])


def _fuzz_here(target: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["noether"]):
        from fuzz.targets import TARGETS, seeds_of
    for seed in seeds_of(target):
        TARGETS[target](seed)  # import all lazy modules before the memory is limited

    def bounded(data: bytes) -> None:
        limit_memory()  # for each input, because the memory of the fuzzer grows
        TARGETS[target](data)

    atheris.Setup([target, *arguments], bounded)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
