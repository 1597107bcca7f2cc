"""The bottleneck of a loader's draws, derived from measurements. Pure."""

from __future__ import annotations

from typing import Literal

__all__ = ["Limit", "explain", "limit_of"]

Limit = Literal["storage", "hand-over", "waiting", "decoding"]

_SHARE_OF_STORAGE = 0.7
_LEAST_BUSY = 0.5


def limit_of(
    *, bytes_per_second: float, plain: float | None, busy: float, seconds_waiting: float, seconds_decoding: float
) -> Limit:
    """Return the bottleneck of the draws. The first rule that holds decides.

    Parameters
    ----------
    bytes_per_second : float
        Rate at which the draws read.
    plain : float or None
        Rate of a plain read of the files, which the operating system may have in memory; None if not known.
    busy : float
        Share of the workers' time in which they wait for bytes or decode; above 1 if requests overlap.
    seconds_waiting, seconds_decoding : float
        Seconds of waiting and of decoding, summed over all workers.

    Returns
    -------
    {"storage", "hand-over", "waiting", "decoding"}
        "storage" if the draws read at 0.7 of the rate of a plain read or more; "hand-over" if the workers are busy less
        than half of the time; "waiting" if they wait for bytes at least as long as they decode; otherwise "decoding".
    """
    if plain is not None and bytes_per_second >= _SHARE_OF_STORAGE * plain:
        return "storage"
    if busy < _LEAST_BUSY:
        return "hand-over"
    return "waiting" if seconds_waiting >= seconds_decoding else "decoding"


def explain(
    limit: Limit, *, bytes_per_second: float, plain: float | None, busy: float, workers: int, cores: int
) -> str:
    """Return a bottleneck in words, with advice."""
    draws = f"{bytes_per_second / 1e6:,.1f} MB/s"
    of_plain = "" if plain is None else f", and a plain read reads {plain / 1e6:,.0f} MB/s"
    if limit == "storage":
        return (
            f"The storage is the limit: the draws read {draws}{of_plain}. More workers do not help. Read fewer fields, "
            "or use a copy of the store that is nearer."
        )
    if limit == "hand-over":
        more = "" if workers else "workers (--workers), "
        return (
            f"Neither reading nor decoding is the limit: they take {busy:.0%} of the time of the workers. The rest "
            f"goes into making items and batches, and into handing them to the loop. Use {more}fewer draws of more "
            "points."
        )
    if limit == "waiting":
        return (
            f"Waiting for bytes is the limit: the draws read {draws}{of_plain}, but most of the time goes into "
            "waiting. Use more workers or a larger read_concurrency, to wait for more requests at the same time."
        )
    if workers < cores:
        return (
            f"Decoding is the limit: {draws} are decoded{of_plain}. More workers help: there are {cores} cores, and "
            f"{_number_of(workers)}."
        )
    return (
        f"Decoding is the limit: {_number_of(workers)} on {cores} cores decode {draws}{of_plain}. More cores help. So "
        "do fewer fields, or a store with a lower compression level."
    )


def _number_of(workers: int) -> str:
    return {0: "no worker", 1: "one worker"}.get(workers, f"{workers} workers")
