"""For any names of files, ``inspect`` proposes valid patterns that match them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.sources.inspection.file_kinds import find_kinds
from noether.data.zarr_store.sources.inspection.naming import files_of_first_sample
from noether.data.zarr_store.sources.patterns import PathPattern

DIRECTORIES = (
    "run_1",
    "run_2",
    "run_-3",
    "0.1",
    "1e-05",
    "bus",
    "car",
    "train",
    "test",
    "surface",
    "inlet",
    "a{b}",
    "2²",
)
STEMS = ("v", "v_1", "v_2", "v_1_x", "bus", "surface", "inlet", "train_1", "test_1", "0.5", "x*", "E_S_1", "N_W_2")
SUFFIXES = (".vtu", ".VTU", ".vtp", ".npy", ".case", ".encas", ".vtm")

names = st.tuples(
    st.lists(st.sampled_from(DIRECTORIES), max_size=3), st.sampled_from(STEMS), st.sampled_from(SUFFIXES)
).map(lambda parts: "/".join([*parts[0], parts[1] + parts[2]]))
trees = st.lists(names, min_size=1, max_size=12, unique=True)


@given(trees)
def test_proposed_patterns_match_their_files(keys: list[str]) -> None:
    """Each pattern has the placeholders of the id."""
    found = files_of_first_sample(keys)
    wanted = set(PathPattern.parse(found.id).names)
    assert "*" not in found.id
    assert found.patterns, "a sample has a file"
    ids = set()
    for key, text in found.patterns.items():
        pattern = PathPattern.parse(text)
        assert set(pattern.names) == wanted
        assert key in found.same_kind[key]
        for other in found.same_kind[key]:
            values = pattern.match(other) or pattern.match(
                other.removesuffix(other[other.rfind(".") :]) + text[text.rfind(".") :]
            )
            assert values is not None, f"{other} is no {text}"
            ids.add(PathPattern.parse(found.id).fill(values))
    assert len(ids) == found.n_samples


@given(trees)
def test_each_file_has_one_kind(keys: list[str]) -> None:
    kinds = find_kinds(keys)
    assert sorted(key for kind in kinds for key in kind.rows) == sorted(keys)
    for kind in kinds:
        # Only suffixes of one format can have several spellings in one kind.
        assert len({(key[key.rfind(".") :], row) for key, row in kind.rows.items()}) == len(kind.rows)
