"""The command `demo`: its directory, the lines that it prints, and what it leaves behind after an error."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.demo import MESHES, SIMULATIONS, directory
from support.trees import Ran, call, visible_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """An empty working directory with a demo directory, and the output of the command."""
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return root, call("demo")


def printed_after(ran: Ran, title: str) -> list[str]:
    """Return the lines of the paragraph after a title that is a paragraph of its own."""
    paragraphs = ran.stdout.split("\n\n")
    [place] = [place for place, paragraph in enumerate(paragraphs) if paragraph == title]
    return paragraphs[place + 1].splitlines()


def output_of(lines: list[str]) -> str:
    """Run lines of Python, and return what they print."""
    with redirect_stdout(StringIO()) as printed:
        exec("\n".join(lines), {})
    return printed.getvalue().strip()


def test_the_directory_has_simulations_meshes_and_a_store(made: tuple[Path, Ran]) -> None:
    root, ran = made
    assert (ran.code, ran.stderr) == (0, "")
    assert [path.name for path in root.iterdir()] == ["noether-demo"]
    demo = root / "noether-demo"
    assert sorted(path.name for path in demo.iterdir()) == ["simulations", "store", "vtk"]
    assert visible_files(demo / "simulations") == visible_files(SIMULATIONS)
    assert visible_files(demo / "vtk") == visible_files(MESHES)
    assert call("verify", demo / "store", "--source", demo / "simulations").code == 0


def test_the_store_is_the_one_that_convert_writes(made: tuple[Path, Ran], tmp_path: Path) -> None:
    simulations = made[0] / "noether-demo" / "simulations"
    splits = [f"--split-file={name}={simulations / name}.txt" for name in ("train", "test")]
    settings = ["--preset", "ahmedml", "--chunk-points", "256", "--workers", "0"]
    assert call("convert", simulations, tmp_path / "store", *settings, *splits).code == 0
    assert visible_files(tmp_path / "store") == visible_files(made[0] / "noether-demo" / "store")


def test_the_report_of_the_store_names_its_final_place(made: tuple[Path, Ran]) -> None:
    store = made[0] / "noether-demo" / "store"
    [run] = json.loads((store / "conversion.json").read_bytes())["runs"]
    assert run["settings"]["store_root"] == str(store)


def test_a_conversion_into_the_store_finds_all_samples_complete(made: tuple[Path, Ran], tmp_path: Path) -> None:
    demo = shutil.copytree(made[0] / "noether-demo", tmp_path / "demo")
    ran = call("convert", demo / "simulations", demo / "store", "--preset", "ahmedml", "--workers", "0")
    assert "0 converted, 6 complete before, 0 failed" in ran.stdout


def test_the_printed_commands_run(made: tuple[Path, Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    root, ran = made
    monkeypatch.chdir(root)
    commands = [shlex.split(line) for line in printed_after(ran, "To try:")]
    assert [words[:2] for words in commands] == [["noether-zarr", name] for name in ("info", "plot", "inspect", "view")]
    for _, *arguments in commands[:-1]:  # `view` serves the page until Ctrl-C
        assert call(*arguments).code == 0, arguments
    picture = root / "pressure.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()


def test_the_printed_python_draws_the_first_batch(made: tuple[Path, Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    root, ran = made
    monkeypatch.chdir(root)
    assert output_of(printed_after(ran, "The first batch, in Python:")) == "torch.Size([2, 2048, 3])"


def test_without_torch_the_python_draws_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command then names the packages that are missing, and the way to install them."""
    monkeypatch.chdir(tmp_path)
    for library in ("torch", "matplotlib"):
        monkeypatch.setitem(sys.modules, library, None)
    ran = call("demo", "a 'b' \"c\"")
    assert ran.code == 0
    assert output_of(printed_after(ran, "A draw of 2,048 points, in Python:")) == "(2048, 3)"
    install = printed_after(ran, "More packages are needed for plot, training:")
    assert install == ["pip install 'noether-zarr-store[plot,torch]'"]
    named = {shlex.split(line)[2] for line in printed_after(ran, "To try:")}
    assert named == {"a 'b' \"c\"/store", "a 'b' \"c\"/vtk"}


def test_an_empty_directory_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("demo", ".").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulations", "store", "vtk"]
    assert Path("store").is_dir()  # the working directory is still the same


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full", "full: it exists and is not an empty directory; name another directory"),
        ("full/file", "full/file: it exists and is not an empty directory; name another directory"),
        ("link", "link: it exists and is not an empty directory; name another directory"),
        ("s3://a/b", "DIRECTORY: expected a local directory, got the URL s3://a/b; name a local directory"),
    ],
)
def test_a_directory_that_cannot_be_filled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere")
    ran = call("demo", name)
    assert (ran.code, ran.stdout, ran.stderr) == (2, "", f"error: {message}\n")
    assert visible_files(tmp_path) == {"full/file": b"kept"}


def test_paths_of_a_file_url_are_printed_as_paths(tmp_path: Path) -> None:
    ran = call("demo", f"{tmp_path.as_uri()}/a%20b")
    assert ran.code == 0
    assert shlex.split(printed_after(ran, "To try:")[0]) == ["noether-zarr", "info", f"{tmp_path}/a b/store"]


@pytest.mark.parametrize("name", ["a" * 300, "a/" + "b" * 240], ids=["itself", "while it is staged"])
def test_a_name_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    ran = call("demo", name)
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr == f"error: {name}: cannot be written (File name too long); name another directory\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (OSError(28, "No space left on device"), 1, "a/demo: cannot be written (No space left on device)"),
    ],
    ids=["interrupted", "full disk"],
)
def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, message: str, exists: bool
) -> None:
    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directory, "save_splits", fail)  # the last step that writes into the store
    if exists:
        (tmp_path / "a" / "demo").mkdir(parents=True)
    ran = call("demo", "a/demo")
    assert (ran.code, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert [path.name for path in tmp_path.rglob("*")] == (["a", "demo"] if exists else [])


def test_an_interruption_between_the_renames_leaves_an_empty_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "vtk":  # the last of the three directories
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    assert call("demo", tmp_path).code == 130
    assert list(tmp_path.iterdir()) == []


def test_a_simulation_that_cannot_be_converted_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = shutil.copytree(SIMULATIONS, tmp_path / "installed")
    (installed / "run_3" / "surface_pressure.npy").write_bytes(b"damaged")
    monkeypatch.setattr(directory, "SIMULATIONS", installed)
    ran = call("demo", tmp_path / "demo")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: the demo cannot be written: ")
    assert [path.name for path in tmp_path.iterdir()] == ["installed"]


def test_copies_of_a_read_only_installation_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = shutil.copytree(SIMULATIONS, tmp_path / "installed")
    for path in [*installed.rglob("*"), installed]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(directory, "SIMULATIONS", installed)
    try:
        assert call("demo", tmp_path / "demo").code == 0
    finally:
        for path in [installed, *installed.iterdir()]:
            path.chmod(0o755)
    assert [path for path in (tmp_path / "demo").rglob("*") if not path.stat().st_mode & 0o200] == []
