"""Parameters of draws, names of their fields, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.sampling.planner import DrawPlanner
from support.planned_draws import DOMAINS, GRID, plan_rows, query, sample

WHOLE: dict[str, int | None] = {"surface": None, "volume": None}
SURFACE_ONLY = SampleEntry("s.zarr", {"surface": sample().domains["surface"]})


def test_fields_of_named_draws_follow_the_main_fields_under_their_names() -> None:
    planner = DrawPlanner(
        DOMAINS,
        {"surface": 5, "volume": 5},
        ["surface_pressure", "volume_position"],
        {"geometry": Draw("surface", 4, ["surface_position"]), "query": query(6)},
    )
    assert planner.names == (
        "surface_pressure",
        "volume_position",
        "query_position",
        "query_pressure",
        "query_velocity",
        "geometry_position",
    )


def test_a_field_that_no_draw_asks_for_is_not_read() -> None:
    planner = DrawPlanner(DOMAINS, {"volume": 5}, ["volume_position"], {"query": query(6, ["volume_velocity"])})
    reads = {
        layout.field: one.planned.plan.n_points
        for one in planner.plan("s", sample(), 0)
        for layout in one.planned.layouts
    }
    assert reads == {"volume_position": 5, "volume_velocity": 6}


def test_a_field_that_joint_draws_share_is_read_once() -> None:
    planner = DrawPlanner(DOMAINS, {"volume": 100}, ["volume_position"], {"query": query(200)})
    reads = {one.planned.layouts[0].field: one.planned.plan for one in planner.plan("s", sample(), 0)}
    assert {field: plan.n_points for field, plan in reads.items()} == {"volume_position": 300, "volume_pressure": 200}
    assert len(reads["volume_position"].parts) <= 6


def test_draws_may_go_without_a_main_one() -> None:
    rows = plan_rows(fields=["surface_pressure"], num_points={"surface": 7}, draws={"a": query(400), "b": query(600)})
    assert sorted(rows["a_position"] + rows["b_position"]) == list(range(GRID.n_points))


def test_num_points_none_takes_whole_domains_in_main_and_named_draws() -> None:
    rows = plan_rows(num_points={"surface": None, "volume": None}, draws={"all": Draw("volume", None)})
    assert all(found == list(range(GRID.n_points)) for found in rows.values())


def test_a_sample_may_lack_a_domain_where_all_fields_are_taken() -> None:
    planner = DrawPlanner(DOMAINS, {"volume": 5, "surface": 5})
    planner.check("s", SURFACE_ONLY)
    assert [one.planned.domain for one in planner.plan("s", SURFACE_ONLY, 0)] == ["surface"]


@pytest.mark.parametrize(
    ("wanted", "title"),
    [
        pytest.param({"fields": ["volume_pressure"]}, "the main draw", id="field"),
        pytest.param({"draws": {"query": query(5)}}, "the draw 'query'", id="disjoint draw"),
        pytest.param({"draws": {"free": Draw("volume", 5)}}, "the draw 'free'", id="independent draw"),
    ],
)
def test_a_sample_without_a_requested_domain_is_refused(wanted: dict[str, Any], title: str) -> None:
    expected = f"^sample 's' has no domain 'volume' for {title}: it has only surface; leave"
    with pytest.raises(UnknownNameError, match=expected):
        DrawPlanner(DOMAINS, **wanted).check("s", SURFACE_ONLY)


def test_disjoint_draws_beyond_the_domain_are_refused_with_counts() -> None:
    planner = DrawPlanner(DOMAINS, {"surface": 1, "volume": 600}, draws={"query": query(400), "more": query(1)})
    expected = (
        r"^sample 's', domain 'volume': disjoint draws need 1,001 points \(600 for the main draw and 400 for the draw "
        r"'query' and 1 for the draw 'more'\); the domain has 1,000; draw fewer points$"
    )
    with pytest.raises(ArgumentError, match=expected):
        planner.check("s", sample())
    DrawPlanner(DOMAINS, {"surface": 1, "volume": 600}, draws={"query": query(400)}).check("s", sample())


def test_a_whole_main_draw_leaves_no_points_for_a_disjoint_draw() -> None:
    with pytest.raises(
        ArgumentError, match=r"need 1,001 points \(1,000 for the main draw and 1 for the draw 'query'\)"
    ):
        DrawPlanner(DOMAINS, draws={"query": query(1)}).check("s", sample())


@pytest.mark.parametrize(
    "wanted",
    [
        {"num_points": WHOLE | {"volume": 1001}},
        {"num_points": WHOLE | {"volume": 1}, "draws": {"d": Draw("volume", 1001)}},
    ],
    ids=["main", "named"],
)
def test_a_sample_with_too_few_points_is_refused_only_on_request(wanted: dict[str, Any]) -> None:
    DrawPlanner(DOMAINS, **wanted).check("s", sample())
    expected = r"^sample 's', domain 'volume': the .* needs 1,001 points; the domain has 1,000; .*if_short='all'$"
    with pytest.raises(ArgumentError, match=expected):
        DrawPlanner(DOMAINS, **wanted, if_short="error").check("s", sample())
    DrawPlanner(DOMAINS, WHOLE | {"volume": 1000}, if_short="error").check("s", sample())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            {"num_points": {"volumes": 3}}, "domain 'volumes' is not in the store; did you mean 'volume'", id="domain"
        ),
        pytest.param({"fields": ["volume_p"]}, "field 'volume_p' is not in the store; did you mean", id="field"),
        pytest.param(
            {"draws": {"q": Draw("volum", 3)}},
            "domain 'volum' is not in the store; did you mean",
            id="domain of a draw",
        ),
        pytest.param(
            {"draws": {"q": Draw("volume", 3, ["volume_u"])}},
            "field 'volume_u' is not in the store",
            id="field of a draw",
        ),
        pytest.param(
            {"draws": {"q": Draw("volume", 3, ["surface_position"])}},
            r"draws\['q'\]: domain 'volume' has no field 'surface_position'; there are|did you mean",
            id="field of another domain",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        DrawPlanner(DOMAINS, **wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"num_points": {"volume": 0}}, r"num_points\['volume'\]: expected a whole number of at least 1, got 0"),
        ({"num_points": 100}, r"num_points: expected a mapping such as \{'volume': 16384\}, got 100"),
        ({"fields": "volume_pressure"}, r"fields: expected a list of names, got the str 'volume_pressure'"),
        ({"fields": []}, "fields: expected at least one field or draw, got neither; pass fields or draws"),
        ({"draws": [Draw("volume", 3)]}, "draws: expected a mapping such as"),
        ({"draws": {"q": 300}}, r"draws: expected a mapping such as \{'query': Draw\('volume', 16384\)\}, got"),
        ({"draws": {"a b": Draw("volume", 3)}}, "draws: expected a name such as 'query' or 'geometry', got 'a b'"),
        (
            {"draws": {"volume": Draw("volume", 3)}},
            "two fields of the item have the name 'volume_position'; rename one",
        ),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 1.0}, "seed: expected a whole number of at least 0, got 1.0"),
        ({"seed": None, "schedule": "sweep"}, "schedule='sweep': expected a seed, which all epochs"),
        ({"schedule": "sweeps"}, "schedule: expected one of independent, sweep, got 'sweeps'"),
        ({"if_short": "pad"}, "if_short: expected one of all, error, got 'pad'"),
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        DrawPlanner(DOMAINS, **wanted)


@pytest.mark.parametrize("num_points", [0, -3, 2.5, True, "5"], ids=repr)
def test_a_draw_refuses_a_number_of_points_when_it_is_made(num_points: Any) -> None:
    with pytest.raises(ArgumentError, match="Draw of 'volume': num_points: expected a whole number of at least 1, got"):
        Draw("volume", num_points)


@pytest.mark.parametrize("fields", ["volume_position", [], ()], ids=repr)
def test_draw_refuses_fields_that_are_not_names(fields: Any) -> None:
    with pytest.raises(ArgumentError, match=r"fields: expected names such as \['volume_position'\], got"):
        Draw("volume", 5, fields)


def test_a_disjoint_draw_needs_a_number_of_points() -> None:
    with pytest.raises(ArgumentError, match="a disjoint draw needs num_points, got None, which takes all points; pass"):
        Draw("volume", None, disjoint=True)


def test_numbers_of_numpy_are_numbers_of_points_and_seeds() -> None:
    numpy = plan_rows(num_points=WHOLE | {"volume": np.int64(50)}, seed=np.uint32(7), draws={"q": query(np.int32(9))})  # type: ignore[arg-type]  # they are no int
    assert numpy == plan_rows(num_points=WHOLE | {"volume": 50}, seed=7, draws={"q": query(9)})
