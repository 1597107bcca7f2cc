"""From the draws that are wanted to the rows of a sample that have to be read for them. Pure."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from noether.data.zarr_store.core import Grid, whole_number
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, require_one_of
from noether.data.zarr_store.layout import DomainLayout
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sampling.candidates import Candidates
from noether.data.zarr_store.sampling.joint_draws import Draw, JointDraws, Member, join_draws
from noether.data.zarr_store.sampling.joint_plan import JointPlan, sweep_length
from noether.data.zarr_store.sampling.plan import ChunkOrder
from noether.data.zarr_store.sampling.random_stream import Choices, random_stream
from noether.data.zarr_store.sampling.read_plan import PlannedRead, Range
from noether.data.zarr_store.sampling.weighting import N_RANDOM_BYTES

__all__ = ["DrawPlanner", "DrawRead", "IfShort", "NumPoints", "Schedule", "Share"]

Schedule = Literal["independent", "sweep"]
IfShort = Literal["all", "error"]
Counts: TypeAlias = Mapping[str, int | None]
NumPoints: TypeAlias = Counts | Callable[[int], Counts] | None


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of a read that one draw gets.

    Attributes
    ----------
    names : tuple of str or None
        What it calls the fields of the read in the item, in the same order; None for one that only its weight reads.
    ranges : tuple of (int, int)
        Half-open, ascending ranges of rows of the read.
    candidates : Candidates or None
        Takes some of these rows, where the draw is weighted; the same of all shares of a draw.
    """

    names: tuple[str | None, ...]
    ranges: tuple[Range, ...]
    candidates: Candidates | None = None


@dataclass(frozen=True, slots=True)
class DrawRead:
    """One read, and what each draw gets of it; together they get every row once."""

    planned: PlannedRead
    shares: tuple[Share, ...]


class DrawPlanner:
    """Plans all draws of an item: a main draw of each domain, and the named ones.

    A draw depends on the seed, the epoch, the sample, the repeat and its own name alone; those that share no point with
    it count as a part of it.

    Parameters
    ----------
    domains : mapping of str to DomainLayout
        The domains of the store.
    num_points : mapping of str to int or None, or callable of int to such a mapping, optional
        Points of the main draws by domain, the same in all epochs or as a function of the epoch. None reads a domain
        whole; every domain of a main draw has to be named. Without it, all are read whole.
    fields : iterable of str, optional
        Canonical names of what the main draws give; without it, all that a sample has.
    draws : mapping of str to Draw, optional
        The named draws; what is ``<domain>_<name>`` in the store is ``<draw>_<name>`` in the item.
    seed : int or None
        Of all draws; None makes every draw a fresh one.
    schedule : {"independent", "sweep"}
        Whether the main draws of each epoch are independent of those of other epochs, or give all points in turn.
    chunk_order : {"consecutive", "scattered"}
        Which chunks an independent draw takes; see `sampling.plan_draw`.
    if_short : {"all", "error"}
        What a draw gives of a domain that has fewer points: all of them, or an error.

    Attributes
    ----------
    names : tuple of str
        Of all fields that an item can have, in their order.
    stored_fields : frozenset of str
        The canonical names of the fields that are read for them; those that only a weight reads are left out.
    seed : int or None
        As given.
    is_random : bool
        Whether any draw takes a part of a domain.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or two fields of an item would have the same name.
    UnknownNameError
        The store has no such domain or field.
    """

    def __init__(
        self,
        domains: Mapping[str, DomainLayout],
        num_points: NumPoints = None,
        fields: Iterable[str] | None = None,
        draws: Mapping[str, Draw] | None = None,
        *,
        seed: int | None = 0,
        schedule: Schedule = "independent",
        chunk_order: ChunkOrder = "consecutive",
        if_short: IfShort = "all",
    ) -> None:
        require_one_of("schedule", schedule, get_args(Schedule))
        require_one_of("if_short", if_short, get_args(IfShort))
        if seed is None and schedule == "sweep":
            raise ArgumentError("schedule='sweep': expected a seed, which ties the epochs of a sweep, got seed=None")
        if callable(num_points) and schedule == "sweep":
            raise ArgumentError(
                "num_points: schedule='sweep' goes through all points by the same number in each epoch, so it takes no "
                "function of the epoch; give a mapping"
            )
        self.seed = None if seed is None else whole_number(seed, "seed")
        self._schedule = schedule
        self._chunk_order = chunk_order
        self._if_short = if_short
        self._num_points = num_points
        self._wanted = domains, fields if fields is None or isinstance(fields, str) else tuple(fields), draws
        self._joined: tuple[int, tuple[JointDraws, ...]] | None = None
        groups = self._groups(0)
        if schedule == "sweep":
            _refuse_weights_in_sweeps(groups)
        if not groups:
            raise ArgumentError("fields: expected at least one field, or draws, got none of both")
        members = [member for group in groups for member in group.members]
        self.is_random = callable(num_points) or any(member.num_points is not None for member in members)
        self.stored_fields = frozenset(field for member in members for field in member.names)
        self.names = tuple(name for member in members for name in member.item_names)
        for name, count in Counter(self.names).items():
            if count > 1:
                raise ArgumentError(f"draws: two of them would give a field {name!r}; give one of them another name")

    def _groups(self, epoch: int) -> tuple[JointDraws, ...]:
        """Return the draws of an epoch; those of the last one are at hand."""
        number = epoch if callable(self._num_points) else 0
        joined = self._joined
        if joined is None or joined[0] != number:
            domains, fields, draws = self._wanted
            counts = self._num_points(epoch) if callable(self._num_points) else self._num_points
            self._joined = joined = number, join_draws(domains, counts, fields, draws)
        return joined[1]

    def check(self, sample_id: str, entry: SampleEntry) -> None:
        """Raise the error of the first draw that a sample cannot give, in the first epoch.

        Raises
        ------
        UnknownNameError
            The sample lacks a domain.
        ArgumentError
            It has too few points for draws that share none, or for any draw where that is an error.
        """
        for group in self._groups(0):
            there = entry.domains.get(group.domain)
            if there is not None:
                self._check_counts(group, sample_id, there.n_points)
            elif not group.optional:
                raise UnknownNameError(
                    f"sample {sample_id!r} has no domain {group.domain!r}, of which {group.members[-1].title} takes "
                    f"points: it has only {', '.join(entry.domains)}; leave the sample out, or ask for other fields"
                )

    def _check_counts(self, group: JointDraws, sample_id: str, n_points: int) -> None:
        where = f"sample {sample_id!r}, domain {group.domain!r}"
        n_read = sum(member.n_read(n_points) for member in group.members)
        if len(group.members) > 1 and n_read > n_points:
            shown = " and ".join(_shown_count(member, n_points) for member in group.members)
            is_weighted = any(member.weighting is not None for member in group.members)
            raise ArgumentError(
                f"{where}: {shown} share no point, which takes {n_read}, and there are {n_points}; ask for fewer"
                f"{', or a lower oversample' if is_weighted else ''}"
            )
        counts = {member.title: member.num_points or n_points for member in group.members}
        for title, count in counts.items():
            if count > n_points and self._if_short == "error":
                raise ArgumentError(
                    f"{where}: {title} asks for {count} points, and there are {n_points}; ask for fewer, leave the "
                    "sample out, or take all there are: if_short='all'"
                )

    def plan(self, sample_id: str, entry: SampleEntry, epoch: int, repeat: int = 0) -> list[DrawRead]:
        """Plan all draws of a sample, which `check` has passed, in an epoch where it came `repeat` times before."""
        reads = []
        for group in self._groups(epoch):
            if group.domain not in entry.domains:
                continue
            grid = entry.domains[group.domain].grid
            if callable(self._num_points):
                self._check_counts(group, sample_id, grid.n_points)
            joint = self._plan_group(group, grid, sample_id, epoch, repeat)
            candidates = [self._candidates(one, grid.n_points, sample_id, epoch, repeat) for one in group.members]
            for read in group.reads:
                plan, shares = joint.part(read.takers)
                takes = [candidates[number] for number in read.takers]
                planned = PlannedRead(sample_id, group.domain, read.layouts, plan, are_candidates=any(takes))
                reads.append(DrawRead(planned, tuple(map(Share, read.names, shares, takes))))
        return reads

    def _plan_group(self, group: JointDraws, grid: Grid, sample_id: str, epoch: int, repeat: int) -> JointPlan:
        counts = [min(member.n_read(grid.n_points), grid.n_points) for member in group.members]
        if group.members[0].num_points is None:
            return JointPlan.whole(grid)
        key: tuple[int | str, ...] = (*group.stream, sample_id)
        if repeat:  # is no step of a sweep: that gives every point in its turn already
            return JointPlan.of_draws(grid, counts, self._stream("repeat", repeat, epoch, *key), self._chunk_order)
        if group.has_main and self._schedule == "sweep":
            sweep, step = divmod(epoch, sweep_length(grid, counts[0]))
            return JointPlan.of_sweep(grid, counts, step, self._stream("sweep", sweep, *key))
        return JointPlan.of_draws(grid, counts, self._stream("epoch", epoch, *key), self._chunk_order)

    def _candidates(self, member: Member, n_points: int, sample_id: str, epoch: int, repeat: int) -> Candidates | None:
        """Return how a weighted draw takes its points of a sample; None for any other draw."""
        if member.weighting is None or member.num_points is None:
            return None
        n_read, n_taken = (min(count, n_points) for count in (member.n_read(n_points), member.num_points))
        stream = self._stream("weight", repeat, epoch, member.weighting.draw, sample_id)
        where = f"sample {sample_id!r}, {member.title}"
        random_bytes = stream.getrandbits(8 * N_RANDOM_BYTES).to_bytes(N_RANDOM_BYTES, "little")
        return Candidates(where, member.weighting, n_read, n_taken, n_points / n_read, random_bytes)

    def _stream(self, *key: int | str) -> Choices:
        return random_stream(secrets.randbits(128)) if self.seed is None else random_stream(self.seed, *key)


def _refuse_weights_in_sweeps(groups: Iterable[JointDraws]) -> None:
    """Raise `ArgumentError` where a weighted draw would take its turn in a sweep."""
    for group in groups:
        for member in group.members if group.has_main else ():
            if member.weighting is not None:
                raise ArgumentError(
                    f"schedule='sweep': {member.title} is weighted and disjoint, and a sweep takes all points in turn; "
                    "give it no weight, or disjoint=False, or take schedule='independent'"
                )


def _shown_count(member: Member, n_points: int) -> str:
    oversample = "" if member.weighting is None else f"{member.weighting.oversample} times "
    return f"{oversample}{member.num_points or n_points} of {member.title}"
