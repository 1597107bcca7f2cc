"""Planning of all draws of an item: the rows of a sample to read for them. Pure."""

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
        Names of the read's fields in the item, in the same order; None for a field that only the draw's weight reads.
    ranges : tuple of (int, int)
        Half-open, ascending ranges of rows of the read.
    candidates : Candidates or None
        Candidates of a weighted draw, which takes some of these rows; the same object in all shares of the draw.
    """

    names: tuple[str | None, ...]
    ranges: tuple[Range, ...]
    candidates: Candidates | None = None


@dataclass(frozen=True, slots=True)
class DrawRead:
    """One read, and the share of each draw. Together the shares have every row once."""

    planned: PlannedRead
    shares: tuple[Share, ...]


class DrawPlanner:
    """Plans all draws of an item: a main draw of each domain, and the named draws.

    A draw depends only on the seed, the epoch, the sample, the repeat, its own name, and the draws that must share no
    point with it.

    Parameters
    ----------
    domains : mapping of str to DomainLayout
        The domains of the store.
    num_points : mapping of str to int or None, or callable of int to such a mapping, optional
        Number of points of the main draws by domain, the same in all epochs or as a function of the epoch. None reads a
        domain whole. The mapping must name every domain of a main draw. Without a mapping, all domains are read whole.
    fields : iterable of str, optional
        Canonical names of the fields of the main draws; by default all fields of a sample.
    draws : mapping of str to Draw, optional
        The named draws, by name. The field ``<domain>_<name>`` of the store is ``<draw>_<name>`` in the item.
    seed : int or None
        Seed of all draws; None uses fresh randomness for every draw.
    schedule : {"independent", "sweep"}
        Whether the main draws of each epoch are independent of other epochs, or take all points in turn.
    chunk_order : {"consecutive", "scattered"}
        Choice of the chunks of an independent draw; see `sampling.plan_draw`.
    if_short : {"all", "error"}
        Whether a draw takes all points of a domain that has too few, or raises an error.

    Attributes
    ----------
    names : tuple of str
        Names of all fields that an item can have, in their order.
    stored_fields : frozenset of str
        Canonical names of the fields that are read for `names`, without the fields that only a weight reads.
    seed : int or None
        Seed of all draws.
    is_random : bool
        Whether any draw takes only some points of a domain.

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
            raise ArgumentError(
                "schedule='sweep': expected a seed, which all epochs of a sweep share, got seed=None; pass seed=0"
            )
        if callable(num_points) and schedule == "sweep":
            raise ArgumentError(
                "num_points: expected a mapping, since schedule='sweep' draws the same number of points in each epoch, "
                "got a function of the epoch; pass a mapping"
            )
        self.seed = None if seed is None else whole_number(seed, "seed")
        self._schedule = schedule
        self._chunk_order = chunk_order
        self._if_short = if_short
        self._num_points = num_points
        self._wanted = domains, fields if fields is None or isinstance(fields, str) else tuple(fields), draws
        self._joined: tuple[int, tuple[JointDraws, ...]] | None = None
        joint_draws = self._joint_draws(0)
        if schedule == "sweep":
            _refuse_weights_in_sweeps(joint_draws)
        if not joint_draws:
            raise ArgumentError("fields: expected at least one field or draw, got neither; pass fields or draws")
        members = [member for joint in joint_draws for member in joint.members]
        self.is_random = callable(num_points) or any(member.num_points is not None for member in members)
        self.stored_fields = frozenset(field for member in members for field in member.names)
        self.names = tuple(name for member in members for name in member.item_names)
        for name, count in Counter(self.names).items():
            if count > 1:
                raise ArgumentError(f"draws: two fields of the item have the name {name!r}; rename one of the draws")

    def _joint_draws(self, epoch: int) -> tuple[JointDraws, ...]:
        """Return the joint draws of an epoch, cached for the last epoch."""
        number = epoch if callable(self._num_points) else 0
        joined = self._joined
        if joined is None or joined[0] != number:
            domains, fields, draws = self._wanted
            counts = self._num_points(epoch) if callable(self._num_points) else self._num_points
            self._joined = joined = number, join_draws(domains, counts, fields, draws)
        return joined[1]

    def check(self, sample_id: str, entry: SampleEntry) -> None:
        """Raise the error of the first draw that is impossible for a sample, in the first epoch.

        Raises
        ------
        UnknownNameError
            The sample lacks a domain.
        ArgumentError
            The sample has too few points for disjoint draws, or for any draw with ``if_short="error"``.
        """
        for joint in self._joint_draws(0):
            there = entry.domains.get(joint.domain)
            if there is not None:
                self._check_counts(joint, sample_id, there.n_points)
            elif not joint.optional:
                raise UnknownNameError(
                    f"sample {sample_id!r} has no domain {joint.domain!r} for {joint.members[-1].title}: it has only "
                    f"{', '.join(entry.domains)}; leave the sample out, or request other fields"
                )

    def _check_counts(self, joint: JointDraws, sample_id: str, n_points: int) -> None:
        where = f"sample {sample_id!r}, domain {joint.domain!r}"
        n_read = sum(member.n_read(n_points) for member in joint.members)
        if len(joint.members) > 1 and n_read > n_points:
            shown = " and ".join(_shown_count(member, n_points) for member in joint.members)
            is_weighted = any(member.weighting is not None for member in joint.members)
            raise ArgumentError(
                f"{where}: disjoint draws need {n_read:,} points ({shown}); the domain has {n_points:,}; draw fewer "
                f"points{' or lower oversample' if is_weighted else ''}"
            )
        counts = {member.title: member.num_points or n_points for member in joint.members}
        for title, count in counts.items():
            if count > n_points and self._if_short == "error":
                raise ArgumentError(
                    f"{where}: {title} needs {count:,} points; the domain has {n_points:,}; draw fewer points, leave "
                    "the sample out, or take all points with if_short='all'"
                )

    def plan(self, sample_id: str, entry: SampleEntry, epoch: int, repeat: int = 0) -> list[DrawRead]:
        """Plan all draws of a sample in an epoch. Call `check` first.

        Parameters
        ----------
        sample_id, entry : str, SampleEntry
            Id of the sample, and its entry in the manifest.
        epoch : int
            Number of the epoch.
        repeat : int
            Number of times that the sample came before in this epoch.
        """
        reads = []
        for joint in self._joint_draws(epoch):
            if joint.domain not in entry.domains:
                continue
            grid = entry.domains[joint.domain].grid
            if callable(self._num_points):
                self._check_counts(joint, sample_id, grid.n_points)
            plan_of_all = self._plan_joint(joint, grid, sample_id, epoch, repeat)
            candidates = [self._candidates(one, grid.n_points, sample_id, epoch, repeat) for one in joint.members]
            for read in joint.reads:
                plan, shares = plan_of_all.select(read.takers)
                takes = [candidates[number] for number in read.takers]
                planned = PlannedRead(sample_id, joint.domain, read.layouts, plan, are_candidates=any(takes))
                reads.append(DrawRead(planned, tuple(map(Share, read.names, shares, takes))))
        return reads

    def _plan_joint(self, joint: JointDraws, grid: Grid, sample_id: str, epoch: int, repeat: int) -> JointPlan:
        counts = [min(member.n_read(grid.n_points), grid.n_points) for member in joint.members]
        if joint.members[0].num_points is None:
            return JointPlan.whole(grid)
        key: tuple[int | str, ...] = (*joint.stream, sample_id)
        if repeat:  # a repeat is not a step of a sweep, which takes every point without it
            return JointPlan.of_draws(grid, counts, self._stream("repeat", repeat, epoch, *key), self._chunk_order)
        if joint.has_main and self._schedule == "sweep":
            sweep, step = divmod(epoch, sweep_length(grid, counts[0]))
            return JointPlan.of_sweep(grid, counts, step, self._stream("sweep", sweep, *key))
        return JointPlan.of_draws(grid, counts, self._stream("epoch", epoch, *key), self._chunk_order)

    def _candidates(self, member: Member, n_points: int, sample_id: str, epoch: int, repeat: int) -> Candidates | None:
        """Return the candidates of a weighted draw of a sample; None for any other draw."""
        if member.weighting is None or member.num_points is None:
            return None
        n_read, n_taken = (min(count, n_points) for count in (member.n_read(n_points), member.num_points))
        stream = self._stream("weight", repeat, epoch, member.weighting.draw, sample_id)
        where = f"sample {sample_id!r}, {member.title}"
        random_bytes = stream.getrandbits(8 * N_RANDOM_BYTES).to_bytes(N_RANDOM_BYTES, "little")
        return Candidates(where, member.weighting, n_read, n_taken, n_points / n_read, random_bytes)

    def _stream(self, *key: int | str) -> Choices:
        return random_stream(secrets.randbits(128)) if self.seed is None else random_stream(self.seed, *key)


def _refuse_weights_in_sweeps(joint_draws: Iterable[JointDraws]) -> None:
    """Raise `ArgumentError` if a weighted draw would be part of a sweep."""
    for joint in joint_draws:
        for member in joint.members if joint.has_main else ():
            if member.weighting is not None:
                raise ArgumentError(
                    f"schedule='sweep': {member.title} is weighted and disjoint, but a sweep takes all points in turn; "
                    "remove the weight, set disjoint=False, or use schedule='independent'"
                )


def _shown_count(member: Member, n_points: int) -> str:
    oversample = "" if member.weighting is None else f"{member.weighting.oversample} times "
    return f"{oversample}{member.num_points or n_points:,} for {member.title}"
