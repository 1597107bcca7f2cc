"""The parameters that a draw of an item depends on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.sampling.planner import DrawPlanner
from support.planned_draws import DOMAINS, GRID, drawn_rows, plan_rows, query, sample

SEEDS = st.integers(0, 2**70)
EPOCHS = st.integers(0, 10_000)
SCHEDULES = st.sampled_from(["independent", "sweep"])
SAMPLE_IDS = st.sampled_from(["run_1", "run_2", "part/run_1"])

MAIN = {"surface": 100, "volume": 150}
DRAWS = {
    "geometry": Draw("surface", 90, ["surface_position"]),
    "anchor": Draw("volume", 60),
    "query": query(200, ["volume_position", "volume_velocity"]),
}


@given(SEEDS, EPOCHS, SCHEDULES, SAMPLE_IDS)
def test_another_planner_gives_the_same_draws(seed: int, epoch: int, schedule: Any, sample_id: str) -> None:
    first, second = (
        plan_rows(epoch=epoch, sample_id=sample_id, num_points=MAIN, draws=DRAWS, seed=seed, schedule=schedule)
        for _ in range(2)
    )
    assert first == second


@given(SEEDS, EPOCHS, SCHEDULES)
def test_a_draw_does_not_depend_on_other_draws_or_fields(seed: int, epoch: int, schedule: Any) -> None:
    def rows(**wanted: Any) -> dict[str, list[int]]:
        return plan_rows(epoch=epoch, num_points=MAIN, seed=seed, schedule=schedule, **wanted)

    every = rows(draws=DRAWS)
    for wanted in (
        rows(draws={"query": query(200)}, fields=["volume_pressure", "surface_position"]),
        rows(draws=dict(reversed(DRAWS.items()))),
        rows(draws={"anchor": Draw("volume", 60, ["volume_velocity"])}, fields=["surface_pressure"]),
    ):
        common = every.keys() & wanted.keys()
        assert common
        assert {name: wanted[name] for name in common} == {name: every[name] for name in common}


@given(SEEDS, EPOCHS, SCHEDULES)
def test_all_fields_of_a_draw_give_the_same_points(seed: int, epoch: int, schedule: Any) -> None:
    rows = plan_rows(epoch=epoch, num_points=MAIN, draws=DRAWS, seed=seed, schedule=schedule)
    for draw, count in {"surface": 100, "volume": 150, "geometry": 90, "anchor": 60, "query": 200}.items():
        found = [one for name, one in rows.items() if name.startswith(f"{draw}_")]
        assert found
        assert all(one == found[0] for one in found)
        assert len(set(found[0])) == count


@given(SEEDS, EPOCHS, SCHEDULES)
def test_a_disjoint_draw_shares_no_point_with_the_main_one(seed: int, epoch: int, schedule: Any) -> None:
    """An independent draw may have points of the main draw."""
    wanted = {"one": query(300), "two": query(450, ["volume_velocity"]), "free": Draw("volume", 900)}
    rows = plan_rows(
        epoch=epoch, num_points={"surface": None, "volume": 250}, draws=wanted, seed=seed, schedule=schedule
    )
    parts = [rows["volume_position"], rows["one_position"], rows["two_velocity"]]
    assert sorted(row for part in parts for row in part) == list(range(GRID.n_points))
    assert set(rows["free_position"]) & set(rows["volume_position"])


@given(SEEDS, st.integers(20, 700), st.integers(0, 5), st.sampled_from([{}, {"query": query(300)}]))
def test_over_the_epochs_of_a_sweep_every_point_is_drawn_once_or_twice(
    seed: int, count: int, sweep: int, draws: dict[str, Draw]
) -> None:
    planner = DrawPlanner(DOMAINS, {"volume": count}, ["volume_pressure"], draws, seed=seed, schedule="sweep")
    length = -(-GRID.n_points // count)
    epochs = range(sweep * length, (sweep + 1) * length)
    times = Counter(row for epoch in epochs for row in drawn_rows(planner, sample(), epoch)["volume_pressure"])
    assert times.keys() == set(range(GRID.n_points))
    assert set(times.values()) <= {1, 2}
    assert times.total() == length * count


@pytest.mark.parametrize("schedule", ["independent", "sweep"])
def test_draws_differ_between_seeds_samples_epochs_domains_and_names(schedule: Any) -> None:
    draws = {"one": Draw("volume", 50, ["volume_pressure"]), "two": Draw("volume", 50, ["volume_pressure"])}
    fields = ["surface_pressure", "volume_pressure"]
    found = [
        tuple(rows)
        for seed in (0, 1, 2**64)
        for sample_id in ("a", "b", "a/b")
        for epoch in range(3)
        for rows in plan_rows(
            epoch=epoch,
            sample_id=sample_id,
            seed=seed,
            schedule=schedule,
            num_points={"surface": 50, "volume": 50},
            fields=fields,
            draws=draws,
        ).values()
    ]
    assert len(found) == 3 * 3 * 3 * 4
    # Two of these draws are sometimes the same by chance: an independent draw starts at one of 960 rows.
    assert len(set(found)) > 0.9 * len(found)


def test_300_epochs_of_few_chunks_have_almost_300_different_draws() -> None:
    """Whole chunks would allow 34 draws, one of them dozens of times: there are 14 full chunks and a short one."""
    planner = DrawPlanner(DOMAINS, {"volume": 4096}, ["volume_pressure"])
    entry = sample(Grid.fit(61_052, 4096))
    drawn = Counter(tuple(drawn_rows(planner, entry, epoch)["volume_pressure"]) for epoch in range(300))
    assert len(drawn) > 295
    assert max(drawn.values()) <= 2


def test_each_sweep_goes_through_the_points_in_another_order() -> None:
    planner = DrawPlanner(DOMAINS, {"volume": 100}, ["volume_pressure"], schedule="sweep")
    starts = [drawn_rows(planner, sample(), epoch)["volume_pressure"][0] for epoch in range(10 * 10)]
    sweeps = [starts[i : i + 10] for i in range(0, 100, 10)]
    assert len({tuple(sorted(sweep)) for sweep in sweeps}) > 8  # another first row
    orders = {tuple(sorted(range(10), key=sweep.__getitem__)) for sweep in sweeps}
    assert len(orders) > 8  # another order of the windows


def test_without_a_seed_every_draw_is_another_one() -> None:
    planner = DrawPlanner(DOMAINS, {"volume": 100}, ["volume_pressure"], seed=None)
    assert len({tuple(drawn_rows(planner, sample())["volume_pressure"]) for _ in range(30)}) > 20


@given(st.integers(1, 300), st.integers(1, 300), SEEDS)
def test_a_draw_of_more_points_than_there_are_takes_them_all(n_points: int, more: int, seed: int) -> None:
    entry = sample(Grid.fit(n_points, 64))
    for schedule in ("independent", "sweep"):
        wanted: dict[str, Any] = {
            "num_points": {"surface": None, "volume": n_points + more},
            "schedule": schedule,
            "seed": seed,
        }
        rows = plan_rows(entry, epoch=3, draws={"free": Draw("volume", n_points + more)}, **wanted)
        assert rows["volume_pressure"] == rows["free_pressure"] == list(range(n_points))
