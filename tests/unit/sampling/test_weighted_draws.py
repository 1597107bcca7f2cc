"""Weighted draws among other draws: their reads, their names, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.sampling import Candidates, Draw, DrawPlanner, Falloff, PlannedRead, Weight
from support.planned_draws import DOMAINS, plan_rows, sample

SPEED = Weight(len, ["volume_velocity", "volume_pressure"])
ONLY: dict[str, Any] = {"fields": [], "num_points": {}}


def weighted(num_points: int = 20, **options: Any) -> Draw:
    """Return a weighted draw of positions of the volume."""
    return Draw("volume", num_points, ["volume_position"], **{"weight": "volume_pressure"} | options)


def candidates_of(planner: DrawPlanner, draw: str = "q", *, sample_id: str = "s", **when: int) -> Candidates:
    """Return the candidates of a draw of a sample."""
    reads = planner.plan(sample_id, sample(), when.get("epoch", 0), when.get("repeat", 0))
    shares = [share.candidates for one in reads for share in one.shares if share.candidates is not None]
    [found] = {id(one): one for one in shares if one.weighting.draw == draw}.values()
    return found


def reads_of(**wanted: Any) -> list[PlannedRead]:
    return [one.planned for one in DrawPlanner(DOMAINS, **wanted).plan("s", sample(), 0)]


def test_fields_that_only_the_weight_reads_are_not_in_the_item() -> None:
    planner = DrawPlanner(DOMAINS, **ONLY, draws={"q": weighted(weight=SPEED, with_inverse=True)})
    assert planner.names == ("q_position", "q_weight")
    assert planner.stored_fields == {"volume_position"}
    [one] = planner.plan("s", sample(), 0)
    assert [layout.field for layout in one.planned.layouts] == ["volume_position", "volume_pressure", "volume_velocity"]
    assert [share.names for share in one.shares] == [("q_position", None, None)]


def test_a_weighted_draw_costs_like_a_uniform_draw_of_its_candidates() -> None:
    """The candidates of a draw of T points are the draw of `oversample` T points, with the same requests."""
    [candidates] = reads_of(**ONLY, draws={"q": weighted(20, oversample=7)})
    [uniform] = reads_of(**ONLY, draws={"q": Draw("volume", 140)})
    assert candidates.plan == uniform.plan
    assert (candidates.are_candidates, uniform.are_candidates) == (True, False)


@pytest.mark.parametrize(("num_points", "n_read", "n_taken"), [(20, 80, 20), (300, 1000, 300), (2000, 1000, 1000)])
def test_no_more_candidates_are_read_than_there_are_points(num_points: int, n_read: int, n_taken: int) -> None:
    found = candidates_of(DrawPlanner(DOMAINS, **ONLY, draws={"q": weighted(num_points)}))
    assert (found.n_points, found.n_taken, found.factor) == (n_read, n_taken, 1000 / n_read)


def test_disjoint_draws_share_no_candidate() -> None:
    draws = {"q": weighted(50, disjoint=True), "r": weighted(30, disjoint=True, oversample=20)}
    rows = plan_rows(fields=["volume_position"], num_points={"volume": 200}, draws=draws)
    assert {name: len(found) for name, found in rows.items()} == {
        "volume_position": 200,
        "q_position": 200,
        "r_position": 600,
    }
    assert sorted(row for found in rows.values() for row in found) == list(range(1000))


def test_a_draw_depends_only_on_seed_epoch_sample_repeat_and_name() -> None:
    def bits(seed: int = 0, *, others: bool = False, **when: Any) -> bytes:
        draws = {"r": weighted(weight=SPEED), "q": weighted(disjoint=True)} if others else {"q": weighted()}
        return candidates_of(DrawPlanner(DOMAINS, **ONLY, draws=draws, seed=seed), **when).random_bytes

    first = bits()
    assert first == bits() == bits(others=True)
    other = [bits(1), bits(epoch=1), bits(repeat=1), bits(sample_id="t"), bits(others=True, draw="r")]
    assert len({first, *other}) == 6


def test_a_sweep_does_not_change_independent_weighted_draws() -> None:
    draws = {"q": weighted(disjoint=False)}
    by_schedule = [
        candidates_of(DrawPlanner(DOMAINS, {"volume": 100}, ["volume_position"], draws, schedule=schedule))
        for schedule in ("independent", "sweep")
    ]
    assert by_schedule[0] == by_schedule[1]


@pytest.mark.parametrize(
    ("draw", "kind", "message"),
    [
        (
            weighted(weight="surface_pressure"),
            UnknownNameError,
            "weight: domain 'volume' has no field 'surface_pressure'",
        ),
        (weighted(weight=Falloff("volume_pressur", 1)), UnknownNameError, "did you mean 'volume_pressure'"),
        (weighted(weight="volume_velocity"), ArgumentError, r"expected a field with one.* 3 components; .*Weight\("),
        (weighted(weight=Weight(len, ["volume_nu"])), UnknownNameError, "domain 'volume' has no field 'volume_nu'"),
    ],
    ids=["of another domain", "misspelt", "a vector", "of a function"],
)
def test_a_field_that_is_no_weight_is_refused_at_once(draw: Draw, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^draws\['q'\]: .*{message}"):
        DrawPlanner(DOMAINS, **ONLY, draws={"q": draw})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 3}, r"weight: expected a field such as 'volume_area', Falloff\(.*or Weight\(.*got 3"),
        ({"num_points": None}, "a weighted draw needs num_points, got None"),
        ({"oversample": 0}, "oversample: expected a whole number of at least 1, got 0"),
        ({"weight": None, "oversample": 2}, "oversample and with_inverse apply only to weighted draws; pass a weight"),
        ({"weight": None, "with_inverse": True}, "oversample and with_inverse apply only to weighted draws; pass a w"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^Draw of 'volume': {message}"):
        weighted(**options)


def test_candidates_that_share_no_point_are_counted_before_anything_is_read() -> None:
    draws = {"q": weighted(200, disjoint=True), "r": weighted(30, weight=None, disjoint=True)}
    planner = DrawPlanner(DOMAINS, **ONLY, draws=draws)
    planner.check("s", sample(Grid.fit(830, 64)))
    message = (
        r"sample 's', domain 'volume': disjoint draws need 830 points \(4 times 200 for the draw 'q' and 30 for the "
        r"draw 'r'\); the domain has 829; draw fewer points or lower oversample$"
    )
    with pytest.raises(ArgumentError, match=message):
        planner.check("s", sample(Grid.fit(829, 64)))


def test_if_short_counts_taken_points_and_not_candidates() -> None:
    planner = DrawPlanner(DOMAINS, **ONLY, draws={"q": weighted(200)}, if_short="error")
    planner.check("s", sample(Grid.fit(200, 64)))
    with pytest.raises(ArgumentError, match="the draw 'q' needs 200 points; the domain has 199;"):
        planner.check("s", sample(Grid.fit(199, 64)))


def test_a_weighted_draw_takes_no_turn_in_a_sweep() -> None:
    with pytest.raises(ArgumentError, match=r"schedule='sweep': the draw 'q' is weighted and disjoint.*disjoint=False"):
        DrawPlanner(DOMAINS, {"volume": 100}, ["volume_position"], {"q": weighted(disjoint=True)}, schedule="sweep")


def test_inverse_probabilities_do_not_take_the_name_of_a_field() -> None:
    field = ArrayLayout("volume/weight", "volume_weight", "float16", 1)
    volume = DomainLayout("volume_position", DOMAINS["volume"].arrays | {field.field: field})
    draws = {"q": Draw("volume", 5, weight="volume_weight", with_inverse=True)}
    with pytest.raises(ArgumentError, match="two fields of the item have the name 'q_weight'; rename one of the draws"):
        DrawPlanner({"volume": volume}, **ONLY, draws=draws)
