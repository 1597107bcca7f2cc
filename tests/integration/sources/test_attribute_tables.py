"""Attributes in CSV files: a file per sample, or a table of all samples, which each process reads once."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.places import Place, make_place
from support.trees import call

MAPPING = """
name = "tables"
id = "run_{n}"
[attributes]
coefficients = ATTRIBUTE
[domains.volume.fields]
position = { file = "run_{n}/x.npy" }
"""
TABLE = '{ file = "all.csv", id = "run" }'
OWN = '{ file = "run_{n}/own.csv" }'
EXPECTED = {"run_1": {"Cd": 0.31, "Cl": 1.0, "wheels": "no"}, "run_20": {"Cd": 0.29, "Cl": 0.5}}


@pytest.fixture(params=["local", "memory", pytest.param("s3-s3fs", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def save_samples(root: Path, *numbers: str) -> None:
    for number in numbers:
        (root / f"run_{number}").mkdir(parents=True)
        np.save(root / f"run_{number}" / "x.npy", np.zeros((4, 3)))


def source_of(root: Any, attribute: str = TABLE, options: dict[str, Any] | None = None) -> MappedSource:
    return MappedSource(root, parse_mapping(MAPPING.replace("ATTRIBUTE", attribute), "mapping"), options)


def attributes_of(source: MappedSource) -> dict[str, Any]:
    return {one: source.load(one).attributes["coefficients"] for one in source.sample_ids()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_samples(tmp_path / "source", "1", "20")
    return tmp_path / "source"


@pytest.mark.parametrize(
    "text",
    [
        "run,Cd,Cl,wheels\n1,0.31,1,no\n20,0.29,0.5,\n",
        "Cd;Cl;run;wheels;\r\n0.29;0.5;run_20;;\r\n0.31;1;run_1;no;\r\n",
        "run\tCd\tCl\twheels\nrun_300\t9\t9\tyes\nrun_1\t0.31\t1\tno\n20\t0.29\t0.5\t\n",
        '\ufeff run , "Cd", Cl , wheels \n 1 , 0.31 , 1 , no \n 20 , 0.29 , 0.5 , ',
    ],
)
def test_each_sample_gets_its_row_of_a_table(root: Path, text: str) -> None:
    """The column holds ids of samples, or values of the placeholder."""
    (root / "all.csv").write_text(text, encoding="utf-8")
    assert attributes_of(source_of(root)) == EXPECTED


def test_a_table_is_read_from_the_root_of_the_samples(place: Place, root: Path) -> None:
    (root / "all.csv").write_text("run;Cd;Cl;wheels\n1;0.31;1;no\n20;0.29;0.5;\n")
    for file in filter(Path.is_file, root.rglob("*")):
        key = file.relative_to(root).as_posix()
        place.fs.makedirs(f"{place.path}/{key}".rpartition("/")[0], exist_ok=True)
        place.replace(key, file.read_bytes())
    assert attributes_of(source_of(place.root, options=place.options)) == EXPECTED


def test_a_table_may_be_one_of_several(tmp_path: Path) -> None:
    """The file name has some placeholders, and the column holds the values of the remaining one."""
    for kind in "EF":
        (tmp_path / kind / "7").mkdir(parents=True)
        np.save(tmp_path / kind / "7" / "x.npy", np.zeros((4, 3)))
        (tmp_path / kind / "all.tsv").write_text(f"number\tkind, lower\n7\t{kind.lower()}\n")
    mapping = MAPPING.replace("ATTRIBUTE", '{ file = "{type}/all.tsv", id = "number" }').replace(
        "run_{n}/", "{type}/{n}/"
    )
    source = MappedSource(tmp_path, parse_mapping(mapping.replace("run_{n}", "{type}_{n}"), "mapping"))
    assert attributes_of(source) == {"E_7": {"kind, lower": "e"}, "F_7": {"kind, lower": "f"}}


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a sample that is missing": (
        "run,Cd\n1,0.3\n",
        "expected one row with 'run_20' or '20' in the column 'run', got none; add the row; there are: 1",
    ),
    "a sample under two names": (
        "run,Cd\n1,0.3\n20,0.1\nrun_20,0.2\n",
        "expected one row with 'run_20' or '20' in the column 'run', got rows for both: lines 4, 3; remove one",
    ),
    "an id twice": (
        "run,Cd\n1,0.3\n20,0.1\n1,0.1\n",
        "line 4: expected a different sample id in each row, got '1' again",
    ),
    "no id": ("run,Cd\n1,0.3\n20,0.1\n,0.2\n", "line 4: expected a different sample id in each row, got ''"),
    "no such column": ("runs,Cd\n1,0.3\n20,0.1\n", " has no column 'run'; did you mean 'runs'?"),
    "a decimal comma": ("run;Cd\n1;0.3\n20;0,1\n", "line 3, column 'Cd': expected a number with a decimal point"),
    "a value that is not finite": ("run,Cd\n1,0.3\n20,nan\n", "line 3, column 'Cd': expected a finite number or text"),
    "a value without a name": ("run,\n1,0.3\n20,0.1\n", "expected a header with a different name for each column"),
    "another code": (
        "run,Länge\n1,2\n20,3\n".encode("cp1252"),
        "expected UTF-8 text, got an invalid byte at offset 5; save the file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_without_a_clear_row_fails_the_sample(root: Path, name: str) -> None:
    text, message = REFUSED[name]
    (root / "all.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError, match=rf"^sample 'run_20', coefficients: all\.csv.*{re.escape(message)}"):
        source_of(root).load("run_20")


def test_only_the_sample_of_a_wrong_row_fails(root: Path) -> None:
    (root / "all.csv").write_text("run;Cd\n1;0.3\n20;nan\n")
    assert source_of(root).load("run_1").attributes == {"coefficients": {"Cd": 0.3}}


def test_a_decimal_comma_in_one_row_makes_others_ambiguous(root: Path) -> None:
    """If a table has 0,1 for a tenth, its 1.234 can be 1234."""
    (root / "all.csv").write_text("run;Cd;cells\n1;1;1.234\n20;0,1;5\n")
    with pytest.raises(
        SourceError, match=r"^sample 'run_1', .* \(line 3, column 'Cd': expected a number with a decimal po"
    ):
        source_of(root).load("run_1")


def test_a_table_that_is_missing_is_named(root: Path) -> None:
    with pytest.raises(SourceError, match=r"^sample 'run_1', coefficients: the file all\.csv is missing; add it"):
        source_of(root).load("run_1")


def test_a_table_is_read_once_by_a_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "all.csv").write_text("run,Cd\n1,0.3\n20,0.1\n")
    source = source_of(root)
    reads: list[str] = []
    storage = source._storage()
    monkeypatch.setattr(type(storage), "open_file", counted(type(storage).open_file, reads))
    for _ in range(2):
        assert attributes_of(source) == {"run_1": {"Cd": 0.3}, "run_20": {"Cd": 0.1}}
    assert reads.count("all.csv") == 1
    another = pickle.loads(pickle.dumps(source))
    assert attributes_of(another) == attributes_of(source)
    assert reads.count("all.csv") == 2


def counted(fn: Callable[..., Any], keys: list[str]) -> Callable[..., Any]:
    def open_file(storage: Any, key: str) -> Any:
        keys.append(key)
        return fn(storage, key)

    return open_file


def test_a_changed_table_changes_all_its_samples(root: Path) -> None:
    (root / "all.csv").write_text("run,Cd\n1,0.3\n20,0.1\n")
    before = {one: source_of(root).fingerprint(one) for one in ("run_1", "run_20")}
    (root / "all.csv").write_text("run,Cd\n1,0.3\n20,0.15\n")
    after = {one: source_of(root).fingerprint(one) for one in ("run_1", "run_20")}
    assert all(before[one] != after[one] for one in before)


@pytest.mark.parametrize(
    "text", ["Cd\tCl\n0.31\t1\n", "Cd;Cl;\n0.31;1;\n", "\ufeffCd, Cl,\n0.31, 1.0,\n", "Cd,Cl\n.31,1\n"]
)
def test_own_files_have_the_separators_of_tables(root: Path, text: str) -> None:
    for one in ("run_1", "run_20"):
        (root / one / "own.csv").write_text(text, encoding="utf-8")
    read = attributes_of(source_of(root, OWN))
    assert [read["run_1"], read["run_20"]] == [{"Cd": 0.31, "Cl": 1.0}] * 2
    assert isinstance(read["run_1"]["Cl"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Cd;Cl\n0,31;1\n", "line 2, column 'Cd': expected a number with a decimal point"),
        ("Cd,Cd\n1,2\n", "expected a header with a different name for each column"),
        ("0.3,0.1\n0.2,0.1\n", "expected a line of names, got 0.3, 0.1; write the names above the values"),
        ("Cd,Cl\n", "expected a line of names and a line of values, got 1 lines"),
        ("", "expected a line of names and a line of values, got 0 lines"),
        (
            "Cd\n1\n2\n",
            "expected a line of names and a line of values, got 3 lines; if the table has a row per sample, name the "
            "column of the ids in the mapping: { file = ..., id = COLUMN }",
        ),
    ],
)
def test_an_ambiguous_file_of_a_sample_is_refused(root: Path, text: str, message: str) -> None:
    (root / "run_1" / "own.csv").write_text(text)
    message = f"sample 'run_1', coefficients: run_1/own.csv cannot be read ({message}"
    with pytest.raises(SourceError, match=f"^{re.escape(message)}"):
        source_of(root, OWN).load("run_1")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (
            '{ file = "all.csv" }',
            "attribute 'coefficients': file 'all.csv': expected the placeholders of the id: {n}; for a ta",
        ),
        (
            '{ file = "all_{m}.csv", id = "run" }',
            "attribute 'coefficients': file 'all_{m}.csv': expected the placeholders",
        ),
        (
            '{ file = "all.npy", id = "run" }',
            "attribute 'coefficients': 'all.npy' has an unknown format; use one of .csv",
        ),
        ('{ file = "all.csv", ids = "run" }', "attributes.coefficients.ids: no such key; did you mean 'id'"),
    ],
)
def test_a_mapping_that_names_a_table_wrongly_is_refused(root: Path, attribute: str, message: str) -> None:
    (root / "all.csv").write_text("run,Cd\n1,0.3\n20,0.1\n")
    with pytest.raises(ArgumentError, match=f"^mapping: {re.escape(message)}"):
        source_of(root, attribute)


@pytest.mark.slow
def test_a_conversion_stores_the_rows_and_names_the_sample_without_one(root: Path, tmp_path: Path) -> None:
    (root / "all.csv").write_text("run;Cd [-]\n1;0.3\n")
    (tmp_path / "m.toml").write_text(MAPPING.replace("ATTRIBUTE", TABLE))
    ran = call("convert", root, tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", "1")
    assert ran.code == 3
    assert "coefficients: all.csv: expected one row with 'run_20' or '20'" in ran.output
    assert ZarrChunkReader(tmp_path / "store").attributes("run_1") == {"coefficients": {"Cd [-]": 0.3}}
