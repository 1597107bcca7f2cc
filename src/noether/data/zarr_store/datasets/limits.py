"""What limits the draws of a loader, from what was measured. Pure."""

from __future__ import annotations

from typing import Literal

__all__ = ["Limit", "explain", "limit_of"]

Limit = Literal["storage", "hand-over", "waiting", "decoding"]

_SHARE_OF_STORAGE = 0.7
_LEAST_BUSY = 0.5


def limit_of(
    *, bytes_per_second: float, plain: float | None, busy: float, seconds_waiting: float, seconds_decoding: float
) -> Limit:
    """Return what limits the draws; the first rule that holds decides.

    Parameters
    ----------
    bytes_per_second : float
        What the draws read.
    plain : float or None
        What a plain read of files that the operating system may have in memory gives; None where it is not known.
    busy : float
        Part of the workers' time in which they wait for bytes or decode; above 1 where requests overlap.
    seconds_waiting, seconds_decoding : float
        Over all workers.

    Returns
    -------
    {"storage", "hand-over", "waiting", "decoding"}
        "storage" if draws read at least 0.7 of a plain read; "hand-over" if workers are busy less than half of the
        time; "waiting" if they wait for bytes at least as long as they decode; else "decoding".
    """
    if plain is not None and bytes_per_second >= _SHARE_OF_STORAGE * plain:
        return "storage"
    if busy < _LEAST_BUSY:
        return "hand-over"
    return "waiting" if seconds_waiting >= seconds_decoding else "decoding"


def explain(
    limit: Limit, *, bytes_per_second: float, plain: float | None, busy: float, workers: int, cores: int
) -> str:
    """Return a limit in words, with what helps."""
    draws = f"{bytes_per_second / 1e6:,.1f} MB/s"
    of_plain = "" if plain is None else f", where a plain read gives {plain / 1e6:,.0f} MB/s"
    if limit == "storage":
        return (
            f"The storage is the limit: the draws read {draws}{of_plain}. More workers do not help; fewer fields, and "
            "a copy of the store that is nearer, do."
        )
    if limit == "hand-over":
        more = "" if workers else "workers (--workers), "
        return (
            f"Neither reading nor decoding is the limit: they take {busy:.0%} of the time of the workers. The rest "
            f"goes into making items and batches, and handing them to the loop. What helps: {more}draws of more "
            "points, and fewer of them."
        )
    if limit == "waiting":
        return (
            f"Waiting for bytes is the limit: the draws read {draws}{of_plain}, but most of the time goes into "
            "waiting. More workers, and a larger read_concurrency, wait for more at the same time."
        )
    if workers < cores:
        return (
            f"Decoding is the limit: {draws} are decoded{of_plain}. More workers help: there are {cores} cores, and "
            f"{_number_of(workers)}."
        )
    return (
        f"Decoding is the limit: {draws} are decoded{of_plain}, by {_number_of(workers)} on {cores} cores. More cores "
        "help, and fewer fields, or a store with a lower compression level."
    )


def _number_of(workers: int) -> str:
    return {0: "no worker", 1: "one worker"}.get(workers, f"{workers} workers")
