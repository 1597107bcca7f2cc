"""The draws of an item, and the joint draws among them, which share no point. Pure."""

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
    """A named draw, in addition to the main draws of a dataset.

    Attributes
    ----------
    domain : str
        Domain to draw from.
    num_points : int or None
        Number of points to draw; None takes all points.
    fields : iterable of str, optional
        Canonical names of the fields to read; by default all fields of the domain.
    disjoint : bool
        Whether the draw shares no point with the main draw of the domain, nor with its other disjoint draws.
    weight : str, Falloff or Weight, optional
        The weight of each point: a field of the domain with one component, such as ``surface_area``; a `Falloff`,
        which is highest where such a field is 0; or a `Weight`, any function of fields. Without it, all points are
        equally likely. The fields of the weight are read, but are in the item only if `fields` names them.
    oversample : int
        Factor for a weighted draw: it reads ``oversample * num_points`` points, and takes `num_points` of them.
    with_inverse : bool
        Whether the item has the inverse probabilities of a weighted draw, as ``query_weight`` for the draw ``query``.

    Raises
    ------
    ArgumentError
        `num_points` or `oversample` is not a whole number of at least 1; `num_points` is None for a disjoint or
        weighted draw; `fields` is a str, or empty; `weight` has another type; or `oversample` or `with_inverse` is
        set without a weight.

    Notes
    -----
    A weighted draw of T of N points has two steps. First, R = min(N, `oversample` T) points are drawn uniformly: the
    candidates. Each point is a candidate with probability R/N, exactly. Then T candidates are taken, candidate i with
    probability ``p_i = min(1, c w_i)``, where w_i is its weight, and c makes the probabilities of all candidates add
    up to T. Candidates whose ``c w_i`` exceeds 1 are always taken. The method is systematic sampling (Madow 1949) from
    one uniform start. For it, the rows are in stored order, which is random because of the shuffle. They are cut into
    16 stretches at random places, and the stretches are put in random order, so neighbours are seldom taken together.

    The inverse probability of a point is ``N / (R p_i)``. So the sum of ``query_weight * f`` over the draw is an
    unbiased estimate of the sum of f over the domain (Horvitz and Thompson 1952), if all weights are above 0. Points of
    weight 0 are never taken, and are missing from the estimate. With a larger `oversample`, draws follow the weights
    more closely, up to the cap of 1: no point comes twice, however large its weight is. If T >= N, all points are
    taken.
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
            raise ArgumentError(
                f"{where}: a disjoint draw needs num_points, got None, which takes all points; pass num_points"
            )
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
                raise ArgumentError(
                    f"{where}: oversample and with_inverse apply only to weighted draws; pass a weight, or leave out "
                    "both"
                )
        elif not isinstance(self.weight, AnyWeight):
            raise ArgumentError(
                f"{where}: weight: expected a field such as '{self.domain}_area', Falloff(field, distance) or "
                f"Weight(function, reads=[...]), got {self.weight!r}"
            )
        elif self.num_points is None:
            raise ArgumentError(
                f"{where}: a weighted draw needs num_points, got None, which takes all points; pass num_points"
            )


@dataclass(frozen=True, slots=True)
class Member:
    """One draw among joint draws.

    Attributes
    ----------
    title : str
        Name of the draw in messages.
    num_points : int or None
        Number of points to draw; None takes all points.
    names : dict of str to str
        Name in the item of each field of the draw, by canonical name.
    weighting : Weighting or None
        Settings of a weighted draw; None if all points are equally likely.
    """

    title: str
    num_points: int | None
    names: dict[str, str]
    weighting: Weighting | None = None

    @property
    def stored_fields(self) -> frozenset[str]:
        """Canonical names of the fields that are read for the draw."""
        return frozenset(self.names).union(() if self.weighting is None else self.weighting.weight.reads)

    @property
    def item_names(self) -> tuple[str, ...]:
        """Names of the draw's fields in the item."""
        inverse = None if self.weighting is None else self.weighting.inverse_name
        return (*self.names.values(), *(() if inverse is None else (inverse,)))

    def n_read(self, n_points: int) -> int:
        """Return the number of points to read of a domain with `n_points` points; it can be greater than `n_points`."""
        oversample = 1 if self.weighting is None else self.weighting.oversample
        return n_points if self.num_points is None else self.num_points * oversample


@dataclass(frozen=True, slots=True)
class JointRead:
    """Fields that the same members of joint draws take, so that one read serves them.

    Attributes
    ----------
    layouts : tuple of ArrayLayout
        The fields.
    takers : tuple of int
        Indices of the members that take the fields.
    names : tuple of tuple of str or None
        For each taker, the names of the fields in the item; None for a field that only its weight reads.
    """

    layouts: tuple[ArrayLayout, ...]
    takers: tuple[int, ...]
    names: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class JointDraws:
    """Draws of one domain that share no point. Most joint draws have a single member.

    Attributes
    ----------
    domain : str
        Name of the domain.
    members : tuple of Member
        The draws. The main draw of the domain, if it is among them, comes first.
    reads : tuple of JointRead
        The reads that serve the members.
    has_main : bool
        Whether the main draw is a member.
    optional : bool
        Whether a sample may lack the domain.
    stream : tuple of str
        Key of the random choices of the draws, different from the keys of all other joint draws.
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
    """Return the joint draws of an item.

    First come the main and disjoint draws, in the order of the store's domains, then all other draws. Parameters and
    errors are those of `DrawPlanner`.
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
    joint = []
    for domain, layout in domains.items():
        has_main, others = domain in mains, disjoint.get(domain, [])
        members = (mains[domain], *others) if has_main else tuple(others)
        if members:
            optional = has_main and fields is None and not others
            reads = tuple(_reads(layout, members))
            joint.append(JointDraws(domain, members, reads, has_main, optional, ("domain", domain)))
    return (*joint, *alone)


def _main_draws(
    domains: Mapping[str, DomainLayout], counts: Mapping[str, int | None], fields: Iterable[str] | None
) -> dict[str, Member]:
    """Return the main draw of each domain with a requested field."""
    asked = None if fields is None else require_fields(fields, domains)
    mains = {}
    for domain, layout in domains.items():
        names = {field: field for field in layout.arrays if asked is None or field in asked}
        if names:
            mains[domain] = Member("the main draw", counts.get(domain), names)
    return mains


def _require_named(num_points: Mapping[str, int | None], mains: Iterable[str]) -> None:
    """Raise `ArgumentError` for a domain that `num_points` lacks.

    To read it whole by mistake would be costly: it may have a thousand times as many points as a draw.
    """
    missing = [domain for domain in mains if domain not in num_points]
    if missing:
        complete = dict(num_points) | dict.fromkeys(missing)
        raise ArgumentError(
            f"num_points: expected a number for each domain whose fields are read, got none for {', '.join(missing)}; "
            f"pass num_points={complete} to read all points, or fields=[...] to read only fields of other domains"
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
    """Return the settings of a weighted draw, after checking that the domain has the fields of its weight."""
    where, function = f"draws[{name!r}]: weight", as_weight(weight)
    for field in function.reads:
        if field not in arrays:
            near = nearest_names(field, arrays)
            raise UnknownNameError(f"{where}: domain {draw.domain!r} has no field {field!r}; {near}")
        if arrays[field].dim > 1 and not isinstance(weight, Weight):
            raise ArgumentError(
                f"{where}: expected a field with one component, got {field} with {arrays[field].dim} components; "
                "compute one number from them with Weight(function, reads=[...])"
            )
    return Weighting(function, draw.oversample, name, f"{name}_weight" if draw.with_inverse else None)


def _reads(layout: DomainLayout, members: tuple[Member, ...]) -> Iterator[JointRead]:
    """Yield one read for all fields that the same members take."""
    together: dict[tuple[int, ...], list[ArrayLayout]] = {}
    for field, array in layout.arrays.items():
        takers = tuple(number for number, member in enumerate(members) if field in member.stored_fields)
        if takers:
            together.setdefault(takers, []).append(array)
    for takers, arrays in together.items():
        names = (tuple(members[number].names.get(array.field) for array in arrays) for number in takers)
        yield JointRead(tuple(arrays), takers, tuple(names))
