"""Which draws are wanted, and which of them share no point. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from noether.data.zarr_store.core import positive_int
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout, require_domain, require_fields
from noether.data.zarr_store.sampling.candidates import Weighting
from noether.data.zarr_store.sampling.plan import check_num_points
from noether.data.zarr_store.sampling.weighting import DEFAULT_OVERSAMPLE
from noether.data.zarr_store.sampling.weights import AnyWeight, Weight, as_weight

__all__ = ["Draw", "JointDraws", "JointRead", "Member", "join_draws"]


@dataclass(frozen=True, slots=True)
class Draw:
    """A draw of its own, beside the main draws of a dataset.

    Attributes
    ----------
    domain : str
        What it draws from.
    num_points : int or None
        Points to draw; None takes them all.
    fields : iterable of str, optional
        Canonical names of what to read of them; without it, all fields of the domain.
    disjoint : bool
        Whether it shares no point with the main draw of the domain, nor with its other disjoint draws.
    weight : str, Falloff or Weight, optional
        The weight of each point: a field of the domain with one component, such as ``surface_area``; a `Falloff` from
        where such a field is 0; or a `Weight`, any function of fields. Without it, all points are equally likely. The
        fields of the weight are read, and not in the item unless `fields` asks for them.
    oversample : int
        A weighted draw reads this many times `num_points` points, and takes `num_points` of them.
    with_inverse : bool
        Whether the item has the inverse probabilities of a weighted draw: ``query_weight`` of the draw ``query``.

    Raises
    ------
    ArgumentError
        `num_points` or `oversample` is not a whole number of at least 1; `num_points` is None for a disjoint or
        weighted draw; `fields` is a str, or empty; `weight` is none of these; or `oversample` or `with_inverse` is
        given without it.

    Notes
    -----
    The law of a weighted draw of T of N points: R = min(N, `oversample` T) points, the candidates, are drawn uniformly,
    so that each point is one of them with probability R/N, exactly. T of these are taken, candidate i with probability
    ``p_i = min(1, c w_i)``, where w_i is its weight, and c makes the probabilities of all candidates add up to T: those
    that would exceed 1 are taken for certain. They are taken by systematic sampling (Madow 1949) from one uniform
    start. The rows come in the stored order, which is the random one of the shuffle, cut into 16 stretches at random
    places, and these in random order: neighbours are seldom taken together.

    The inverse probability of a point is ``N / (R p_i)``. So the sum of ``query_weight * f`` over the draw is an
    unbiased estimate of the sum of f over the domain (Horvitz and Thompson 1952), where all weights are above 0; points
    of weight 0 are never taken, and not in the estimate. Draws follow the weights more closely with a larger
    `oversample`, up to the cap: no point comes twice, however large its weight is. Where T >= N, all points are taken.
    """

    domain: str
    num_points: int | None
    fields: Iterable[str] | None = None
    disjoint: bool = False
    _: KW_ONLY
    weight: AnyWeight | None = None
    oversample: int = DEFAULT_OVERSAMPLE
    with_inverse: bool = False

    def __post_init__(self) -> None:
        where = f"Draw of {self.domain!r}"
        if self.num_points is not None:
            object.__setattr__(self, "num_points", positive_int(self.num_points, f"{where}: num_points"))
        elif self.disjoint:
            raise ArgumentError(f"{where}: a disjoint draw needs num_points, got None, which takes all points")
        if self.fields is not None:
            fields = () if isinstance(self.fields, str) else tuple(self.fields)
            if not fields:
                example = f"['{self.domain}_position']"
                raise ArgumentError(f"{where}: fields: expected names such as {example}, got {self.fields!r}")
            object.__setattr__(self, "fields", fields)
        self._check_weight(where)

    def _check_weight(self, where: str) -> None:
        object.__setattr__(self, "oversample", positive_int(self.oversample, f"{where}: oversample"))
        if self.weight is None:
            if self.with_inverse or self.oversample != DEFAULT_OVERSAMPLE:
                raise ArgumentError(f"{where}: oversample and with_inverse are of weighted draws; give a weight")
        elif not isinstance(self.weight, AnyWeight):
            raise ArgumentError(
                f"{where}: weight: expected a field such as '{self.domain}_area', Falloff(field, distance) or "
                f"Weight(function, reads=[...]), got {self.weight!r}"
            )
        elif self.num_points is None:
            raise ArgumentError(f"{where}: a weighted draw needs num_points, got None, which takes all points")


@dataclass(frozen=True, slots=True)
class Member:
    """One draw of a group.

    Attributes
    ----------
    title : str
        What messages call it.
    num_points : int or None
        Points to draw; None takes them all.
    names : dict of str to str
        By canonical name of each field that it gives, what this is called in the item.
    weighting : Weighting or None
        How it takes its points; None where all are equally likely.
    """

    title: str
    num_points: int | None
    names: dict[str, str]
    weighting: Weighting | None = None

    @property
    def stored_fields(self) -> frozenset[str]:
        """Canonical names of the fields that are read for it."""
        return frozenset(self.names).union(() if self.weighting is None else self.weighting.weight.reads)

    @property
    def item_names(self) -> tuple[str, ...]:
        """What it gives, as the item calls it."""
        inverse = None if self.weighting is None else self.weighting.inverse_name
        return (*self.names.values(), *(() if inverse is None else (inverse,)))

    def n_read(self, n_points: int) -> int:
        """Return the points that it reads of a domain, whether or not this has as many."""
        oversample = 1 if self.weighting is None else self.weighting.oversample
        return n_points if self.num_points is None else self.num_points * oversample


@dataclass(frozen=True, slots=True)
class JointRead:
    """Fields that the same draws of a group give, so that one read serves them.

    Attributes
    ----------
    layouts : tuple of ArrayLayout
        The fields.
    takers : tuple of int
        Numbers of the members.
    names : tuple of tuple of str or None
        For each taker, what it calls the fields in the item; None for a field that only its weight reads.
    """

    layouts: tuple[ArrayLayout, ...]
    takers: tuple[int, ...]
    names: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class JointDraws:
    """Draws of one domain that share no point; most are alone in theirs.

    Attributes
    ----------
    domain : str
        The domain.
    members : tuple of Member
        The draws; the main draw of the domain, where it is there, comes first.
    reads : tuple of JointRead
        What to read for them.
    has_main : bool
        Whether the main draw is there.
    optional : bool
        Whether a sample may lack the domain.
    stream : tuple of str
        Tells its random choices from those of other groups.
    """

    domain: str
    members: tuple[Member, ...]
    reads: tuple[JointRead, ...]
    has_main: bool
    optional: bool
    stream: tuple[str, ...]


def join_draws(
    domains: Mapping[str, DomainLayout],
    num_points: Mapping[str, int | None] | None,
    fields: Iterable[str] | None,
    draws: Mapping[str, Draw] | None,
) -> tuple[JointDraws, ...]:
    """Group the draws of an item: those of the main draws first, in the order of the store's domains.

    Parameters and errors are those of `DrawPlanner`.
    """
    mains = _main_draws(domains, check_num_points(num_points, domains), fields)
    if num_points is not None:
        _require_named(num_points, mains)
    named = _named_draws(domains, {} if draws is None else draws)
    alone: list[JointDraws] = []
    disjoint: dict[str, list[Member]] = {}
    for name, (draw, member) in named.items():
        if draw.disjoint:
            disjoint.setdefault(draw.domain, []).append(member)
        else:
            reads = tuple(_reads(domains[draw.domain], (member,)))
            alone.append(JointDraws(draw.domain, (member,), reads, False, False, ("draw", name)))
    groups = []
    for domain, layout in domains.items():
        has_main, others = domain in mains, disjoint.get(domain, [])
        members = (mains[domain], *others) if has_main else tuple(others)
        if members:
            optional = has_main and fields is None and not others
            reads = tuple(_reads(layout, members))
            groups.append(JointDraws(domain, members, reads, has_main, optional, ("domain", domain)))
    return (*groups, *alone)


def _main_draws(
    domains: Mapping[str, DomainLayout], counts: Mapping[str, int | None], fields: Iterable[str] | None
) -> dict[str, Member]:
    """Return the main draw of each domain of which a field is wanted."""
    asked = None if fields is None else require_fields(fields, domains)
    mains = {}
    for domain, layout in domains.items():
        names = {field: field for field in layout.arrays if asked is None or field in asked}
        if names:
            mains[domain] = Member("the main draw", counts.get(domain), names)
    return mains


def _require_named(num_points: Mapping[str, int | None], mains: Iterable[str]) -> None:
    """Refuse to read a domain whole because it was forgotten: it may have a thousand times as many points."""
    missing = [domain for domain in mains if domain not in num_points]
    if missing:
        complete = dict(num_points) | dict.fromkeys(missing)
        raise ArgumentError(
            f"num_points: expected every domain of which fields are read, and {', '.join(missing)} is missing; to read "
            f"it whole, write num_points={complete}, or name the fields to read without it: fields=[...]"
        )


def _named_draws(domains: Mapping[str, DomainLayout], draws: Any) -> dict[str, tuple[Draw, Member]]:
    if not isinstance(draws, Mapping) or not all(isinstance(draw, Draw) for draw in draws.values()):
        raise ArgumentError(f"draws: expected a mapping such as {{'query': Draw('volume', 16384)}}, got {draws!r}")
    named = {}
    for name, draw in draws.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ArgumentError(f"draws: expected a name such as 'query' or 'geometry', got {name!r}")
        require_domain(draw.domain, domains)
        arrays = domains[draw.domain].arrays
        asked = frozenset(arrays) if draw.fields is None else require_fields(draw.fields, domains)
        for field in sorted(asked - arrays.keys()):
            near = nearest_names(field, arrays)
            raise UnknownNameError(f"draws[{name!r}]: domain {draw.domain!r} has no field {field!r}; {near}")
        prefix = f"{draw.domain}_"
        names = {field: f"{name}_{field.removeprefix(prefix)}" for field in arrays if field in asked}
        weighting = None if draw.weight is None else _weighting(name, draw, draw.weight, arrays)
        named[name] = draw, Member(f"the draw {name!r}", draw.num_points, names, weighting)
    return named


def _weighting(name: str, draw: Draw, weight: AnyWeight, arrays: Mapping[str, ArrayLayout]) -> Weighting:
    """Return how a draw takes its points by a weight, if the domain has the fields for it."""
    where, function = f"draws[{name!r}]: weight", as_weight(weight)
    for field in function.reads:
        if field not in arrays:
            near = nearest_names(field, arrays)
            raise UnknownNameError(f"{where}: domain {draw.domain!r} has no field {field!r}; {near}")
        if arrays[field].dim > 1 and not isinstance(weight, Weight):
            raise ArgumentError(
                f"{where}: {field} has {arrays[field].dim} components; expected a field with one, or a function that "
                "makes one number of them: Weight(function, reads=[...])"
            )
    return Weighting(function, draw.oversample, name, f"{name}_weight" if draw.with_inverse else None)


def _reads(layout: DomainLayout, members: tuple[Member, ...]) -> Iterator[JointRead]:
    """Put the fields together that are read for the same members."""
    together: dict[tuple[int, ...], list[ArrayLayout]] = {}
    for field, array in layout.arrays.items():
        takers = tuple(number for number, member in enumerate(members) if field in member.stored_fields)
        if takers:
            together.setdefault(takers, []).append(array)
    for takers, arrays in together.items():
        names = (tuple(members[number].names.get(array.field) for array in arrays) for number in takers)
        yield JointRead(tuple(arrays), takers, tuple(names))
