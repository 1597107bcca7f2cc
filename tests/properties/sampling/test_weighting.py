"""The chances of rows in a weighted draw, and the rows that are taken."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.sampling.weighting import (
    MAX_WEIGHT,
    N_RANDOM_BYTES,
    N_STRETCHES,
    Line,
    random_stretches,
)

# Weights of all magnitudes, many of them equal.
WEIGHTS = st.lists(
    st.one_of(st.floats(0, MAX_WEIGHT), st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-300, 5e-324, MAX_WEIGHT])),
    min_size=1,
    max_size=60,
)
PLAIN_WEIGHTS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=60)


@st.composite
def stretches_of(draw: st.DrawFn, n_rows: int) -> list[slice]:
    """Draw stretches that cut rows anywhere, in any order."""
    cuts = sorted(draw(st.lists(st.integers(0, n_rows), max_size=5)))
    return draw(st.permutations([slice(*bounds) for bounds in pairwise((0, *cuts, n_rows))]))


def capped(weights: NDArray[np.float64], n_taken: int) -> NDArray[np.float64]:
    """Return probabilities min(1, c w), computed by trying numbers of certain rows, from the heaviest row on."""
    heaviest_first = np.sort(weights)[::-1]
    for n_certain in range(n_taken):
        c = (n_taken - n_certain) / heaviest_first[n_certain:].sum()
        if c * heaviest_first[n_certain] <= 1:
            chances: NDArray[np.float64] = np.minimum(1, c * weights)
            return chances
    return (weights > 0).astype(np.float64)


def chances_of(line: Line) -> NDArray[np.float64]:
    """Return the probabilities of all rows."""
    chances: NDArray[np.float64] = line.lengths / 2.0**64
    chances[line.certain] = 1
    return chances


def lines(data: st.DataObject) -> tuple[Line, NDArray[np.float64], int]:
    """Draw a line, its weights, and the number of rows to take."""
    weights = np.array(data.draw(WEIGHTS))
    n_above = int((weights > 0).sum())
    assume(n_above)
    n_taken = data.draw(st.integers(1, n_above))
    return Line.of_weights(weights.copy(), n_taken), weights, n_taken


@given(st.data())
def test_the_line_is_exactly_as_long_as_rows_are_taken(data: st.DataObject) -> None:
    line, weights, n_taken = lines(data)
    assert sum(line.lengths.tolist()) == (n_taken - len(line.certain)) << 64
    assert len(set(line.certain.tolist())) == len(line.certain)
    assert not line.lengths[line.certain].any()
    assert not chances_of(line)[weights == 0].any()
    if len(line.certain) < n_taken:
        assert chances_of(line)[weights / weights.max() > 2**-40].all()


@given(PLAIN_WEIGHTS, st.data())
def test_chances_are_proportional_to_weights_up_to_certainty(weights: list[float], data: st.DataObject) -> None:
    """A row within 2**-24 of certain is certain, so the other rows may have that much less."""
    n_taken = data.draw(st.integers(1, len(weights)))
    line = Line.of_weights(np.array(weights), n_taken)
    np.testing.assert_allclose(chances_of(line), capped(np.array(weights), n_taken), rtol=2**-22, atol=2**-18)


@given(st.lists(st.floats(0.9, 1.1), min_size=40, max_size=60), st.integers(1, 20))
def test_without_near_certain_rows_chances_have_twelve_digits(weights: list[float], n_taken: int) -> None:
    line = Line.of_weights(np.array(weights), n_taken)
    assert not len(line.certain)
    expected = n_taken * np.array(weights) / np.sum(weights)
    np.testing.assert_allclose(chances_of(line), expected, rtol=1e-12)
    np.testing.assert_array_equal(line.probabilities(np.arange(len(weights))), chances_of(line))


@given(st.data())
def test_the_number_of_taken_rows_does_not_depend_on_the_start(data: st.DataObject) -> None:
    line, weights, n_taken = lines(data)
    stretches = data.draw(stretches_of(len(weights)))
    for start in (0, 2**64 - 1, data.draw(st.integers(0, 2**64 - 1))):
        rows = line.systematic_rows(start, stretches)
        assert len(rows) == n_taken
        assert sorted(set(rows.tolist())) == rows.tolist()
        assert set(line.certain.tolist()) <= set(rows.tolist())
        assert line.probabilities(rows).all()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=12), st.integers(0, 2), st.data())
def test_a_row_is_taken_from_starts_in_proportion_to_its_piece(
    lengths: list[int], n_certain: int, data: st.DataObject
) -> None:
    """Lengths are sixteenths, and so the starts of a sixteenth of all lengths stand for all others between them."""
    pieces = [*lengths, *(-sum(lengths) % 16 // 2 + odd for odd in (0, -sum(lengths) % 2)), *[0] * n_certain]
    assert sum(pieces) % 16 == 0
    certain = np.arange(len(pieces) - n_certain, len(pieces))
    line = Line(np.array(pieces, np.uint64) << np.uint64(60), certain)
    stretches, offset = data.draw(stretches_of(len(pieces))), data.draw(st.integers(0, 2**60 - 1))
    starts = [(sixteenth << 60) + offset for sixteenth in range(16)]
    times = Counter(row for start in starts for row in line.systematic_rows(start, stretches).tolist())
    assert [times[row] for row in range(len(pieces))] == [*pieces[: len(pieces) - n_certain], *[16] * n_certain]


def test_a_million_rows_of_all_magnitudes_make_exact_lines() -> None:
    rng = np.random.default_rng(0)
    weights = np.exp(rng.normal(0, 5, 1_000_000))
    for n_taken in (1, 250_000, 999_999, 1_000_000):
        line = Line.of_weights(weights.copy(), n_taken)
        assert sum(line.lengths.tolist()) == (n_taken - len(line.certain)) << 64
        assert len(line.random_rows(rng.bytes(N_RANDOM_BYTES))) == n_taken


@given(st.integers(1, 1000), st.binary(min_size=N_RANDOM_BYTES, max_size=N_RANDOM_BYTES))
def test_stretches_have_each_row_once(n_rows: int, random_bytes: bytes) -> None:
    stretches = random_stretches(n_rows, np.frombuffer(random_bytes[8:], "<u4"))
    assert len(stretches) == N_STRETCHES
    assert sorted(row for one in stretches for row in range(one.start, one.stop)) == list(range(n_rows))


def test_equal_weights_of_the_same_candidates_give_another_draw_each_time() -> None:
    """In one order, the pieces of 400 rows begin at four places between whole numbers, and make four draws."""
    line, rng = Line.of_weights(np.ones(400), 100), np.random.default_rng(0)
    starts = rng.integers(2**64, size=300, dtype=np.uint64).tolist()
    assert len({tuple(line.systematic_rows(start, [slice(0, 400)])) for start in starts}) == 4
    assert len({tuple(line.random_rows(rng.bytes(N_RANDOM_BYTES))) for _ in range(300)}) == 300
