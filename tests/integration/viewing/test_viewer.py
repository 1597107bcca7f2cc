"""The page of the viewer, in a real browser with WebGL2."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Literal
from urllib.parse import quote

import numpy as np
import pytest
from matplotlib.image import imread
from playwright.sync_api import Browser, Page, Route

from noether.data.schemas import FileMap, Scalar
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.viewing import ViewServer, export_page
from support.ahmed import AHMED_FILEMAP, load_run
from support.s3_server import S3Server
from support.viewer import (
    SECONDS,
    keep_screenshot,
    missing,
    open_browser,
    picture,
    serving,
    shown,
    wait_for_points,
)

why_not = missing()
pytestmark = [pytest.mark.browser, pytest.mark.skipif(why_not is not None, reason=str(why_not))]

N_SURFACE = 2041
CHUNK = 256


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viewed") / "store"
    writer = ZarrStoreWriter(str(root), AHMED_FILEMAP, "ahmed", chunk_points=CHUNK)
    for run in ("run_1", "run_2"):
        writer.write_sample(run, load_run(run), attributes={"speed": 40.0})
    writer.manifest.splits["test"] = ["run_2"]
    writer.save_manifest()
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[ViewServer]:
    with serving(str(store)) as served:
        yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def points_file(root: Path, values: list[float], x_of: str = "index") -> None:
    """Write a store of a few points in a row along x, with these pressures."""
    n = len(values)
    x = np.arange(n, dtype=np.float32) if x_of == "index" else np.zeros(n, np.float32)
    position = np.stack([x, np.zeros(n, np.float32), np.zeros(n, np.float32)], axis=1)
    writer = ZarrStoreWriter(
        str(root), FileMap(surface_position="p", surface_pressure="v"), "points", values_dtype="float32"
    )
    writer.write_sample(
        "row", {"surface_position": position, "surface_pressure": np.array(values, np.float32)[:, None]}
    )
    writer.save_manifest()


def test_the_first_sample_is_shown_whole(server: ViewServer, page: Page) -> None:
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    assert page.locator("#notices").inner_text() == ""
    assert page.title() == "ahmed \N{EN DASH} store viewer"
    assert 0.02 < shown(page).mean() < 0.6
    keep_screenshot(page, "viewer-surface")


def test_pixels_come_with_each_chunk(server: ViewServer, page: Page) -> None:
    """One chunk is shown while the others are held back."""
    held: list[Route] = []
    passed: list[str] = []
    # The index of both shards, then the first chunk of both fields; later requests wait.
    n_passed = 4

    def hold(route: Route) -> None:
        if len(passed) >= n_passed:
            held.append(route)
        else:
            passed.append(route.request.url)
            route.continue_()

    page.route("**/store/**/c/**", hold)
    page.goto(server.url)
    wait_for_points(page, f"{CHUNK} of {N_SURFACE:,} points")
    first = shown(page).sum()
    assert first > 0
    n_passed = 1 << 30
    for route in held:
        route.continue_()
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    assert shown(page).sum() > 2 * first


def test_colours_are_those_of_the_values(tmp_path: Path, page: Page) -> None:
    """Viridis at its ends and in its middle, as Matplotlib has it."""
    points_file(tmp_path / "store", [0.0, 0.5, 1.0, 0.25, 0.75])
    with serving(str(tmp_path / "store")) as server:
        page.goto(f"{server.url}?layer=surface,surface_pressure,0,viridis,0~1&size=15")
        wait_for_points(page, "5 of 5 points")
        pixels = picture(page).reshape(-1, 3)
    for value, color in {0.0: (68, 1, 84), 0.5: (33, 145, 140), 1.0: (253, 231, 37)}.items():
        near = np.abs(pixels.astype(int) - color).max(axis=1) <= 3
        assert near.sum() > 50, value


def test_values_that_are_not_finite_stand_out(tmp_path: Path, page: Page) -> None:
    root = tmp_path / "store"
    writer = ZarrStoreWriter(
        str(root), FileMap(surface_position="p", surface_pressure="v"), "points", non_finite="allow"
    )
    position = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    writer.write_sample(
        "row", {"surface_position": position, "surface_pressure": np.array([[np.nan], [1.0]], np.float32)}
    )
    writer.save_manifest()
    with serving(str(root)) as server:
        page.goto(f"{server.url}?size=15")
        wait_for_points(page, "2 of 2 points")
        assert np.any(np.all(picture(page) == (255, 0, 255), axis=-1))


@pytest.mark.parametrize("place", [(0.5, 0.45), (0.42, 0.5), (0.56, 0.55)])
def test_a_picked_point_has_the_values_of_the_reader(
    server: ViewServer, store: Path, page: Page, place: tuple[float, float]
) -> None:
    page.goto(f"{server.url}?size=9")
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    box = page.locator("#first").bounding_box()
    assert box is not None
    page.locator("#first").click(position={"x": place[0] * box["width"], "y": place[1] * box["height"]})
    page.locator("#picked table").wait_for(timeout=1000 * SECONDS)
    rows = dict(text.split("\t") for text in page.locator("#picked tr").all_inner_texts())
    reader = ZarrChunkReader(store)
    stored = reader.read_arrays("run_1")
    row = int(rows["stored row"])
    assert int(rows["source row"]) == reader.permutation("run_1", "surface")[row]
    for field in reader.manifest.domains["surface"].arrays:
        numbers = re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", rows[field])[: stored[field][row].size]
        found = np.array(numbers).astype(np.float64).astype(np.float32)
        np.testing.assert_array_equal(found, np.atleast_1d(stored[field][row]), err_msg=field)


def test_a_link_shows_the_same_view(server: ViewServer, page: Page, browser: Browser) -> None:
    """Camera, fields, colours, clip box, mirror: the address has them all."""
    page.goto(
        f"{server.url}?sample=run_2&layer=surface,surface_friction,magnitude,inferno&size=5&mirror=y&clip-x=,-0.2"
    )
    wait_for_points(page, "points")
    box = page.locator("#first").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 420, box["y"] + 230, steps=4)
    page.mouse.up()
    page.wait_for_url("**camera=**")
    wait_for_points(page, "of")
    expected = picture(page)
    other = browser.new_page(viewport={"width": 1000, "height": 700})
    other.goto(page.url)
    total = page.locator(".count").first.inner_text()
    wait_for_points(other, total)
    difference = np.any(np.abs(picture(other).astype(int) - expected) > 8, axis=-1)
    other.close()
    assert difference.mean() < 0.002


def test_two_samples_share_one_camera(server: ViewServer, page: Page) -> None:
    page.goto(f"{server.url}?sample=run_1&beside=run_1")
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    page.get_by_role("button", name="Left", exact=True).click()
    page.wait_for_url("**camera=**")
    first, second = picture(page, "#first"), picture(page, "#second")
    width = min(first.shape[1], second.shape[1]) - 140  # beside the names
    assert np.abs(first[40:, :width].astype(int) - second[40:, :width]).mean() < 2
    keep_screenshot(page, "viewer-beside")


def test_the_list_of_samples_is_searched_and_split(server: ViewServer, page: Page) -> None:
    page.goto(server.url)
    options = page.locator("#samples [role=option]")
    options.first.wait_for(timeout=1000 * SECONDS)
    assert options.all_inner_texts() == ["run_1", "run_2"]
    page.get_by_label("Split").select_option("test")
    assert options.all_inner_texts() == ["run_2"]
    page.get_by_label("Split").select_option("")
    page.get_by_label("Search samples").fill("_1")
    assert options.all_inner_texts() == ["run_1"]
    page.get_by_label("Search samples").fill("")
    options.nth(1).click()
    page.wait_for_url("**sample=run_2**")
    assert page.locator("#info").get_by_role("heading").inner_text() == "run_2"
    assert "speed" in page.locator("#info").inner_text()


def test_a_damaged_chunk_names_itself_and_the_rest_stays(store: Path, tmp_path: Path, page: Page) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(store, damaged)
    shard = damaged / "run_1.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[3] ^= 0xFF  # in the first chunk
    shard.write_bytes(data)
    with serving(str(damaged)) as server:
        page.goto(server.url)
        wait_for_points(page, f"{N_SURFACE - CHUNK:,} of {N_SURFACE:,} points")
        notice = page.locator("#notices").inner_text()
    assert "run_1: surface_pressure: chunk 0: its checksum is" in notice


def test_a_missing_shard_is_named_and_not_shown_as_zeros(store: Path, tmp_path: Path, page: Page) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(store, damaged)
    (damaged / "run_1.zarr/surface/pressure/c/0/0").unlink()
    with serving(str(damaged)) as server:
        page.goto(server.url)
        page.locator("#notices p").first.wait_for(timeout=1000 * SECONDS)
        notice = page.locator("#notices").inner_text()
        count = page.locator(".count").first.inner_text()
    assert "run_1: surface_pressure: chunk 0: /store/run_1.zarr/surface/pressure/c/0/0 is missing" in notice
    assert count == f"0 of {N_SURFACE:,} points"


def test_a_busy_server_is_asked_again(server: ViewServer, page: Page) -> None:
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        url = f"{route.request.url} {route.request.headers.get('range')}"
        if url in refused:
            route.continue_()
        else:
            refused.append(url)
            route.fulfill(status=503, body="slow down")

    page.route("**/store/**", refuse_once)
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    assert len(refused) > 4
    assert page.locator("#notices").inner_text() == ""


def test_a_place_without_a_store_is_named(tmp_path: Path, page: Page) -> None:
    export_page(tmp_path / "view")
    with web_space(tmp_path) as url:
        page.goto(f"{url}view/index.html")
        page.locator("#notices p").wait_for(timeout=1000 * SECONDS)
        assert f"{url} holds no manifest.json: it is no store" in page.locator("#notices").inner_text()


class _Ranges(SimpleHTTPRequestHandler):
    """Files with byte ranges, as a web space serves them."""

    allows: str | None = None

    def end_headers(self) -> None:
        if self.allows:
            self.send_header("Access-Control-Allow-Origin", self.allows)
            self.send_header("Access-Control-Allow-Headers", "range")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        begin = int(first) if first else max(len(data) - int(last), 0)
        part = data[begin : int(last) + 1 if first and last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class web_space:  # noqa: N801  # used as a context manager
    """Serve a directory on another origin than the command does."""

    def __init__(self, directory: Path, allows: str | None = None) -> None:
        handler = type("Handler", (_Ranges,), {"allows": allows})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))

    def __enter__(self) -> str:
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_an_exported_page_opens_the_store_that_it_lies_beside(store: Path, tmp_path: Path, page: Page) -> None:
    (tmp_path / "space").symlink_to(store)
    export_page(tmp_path / "space" / "view")
    with web_space(tmp_path / "space") as url:
        page.goto(f"{url}view/index.html")
        wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_store_elsewhere_is_read_where_it_may_be(server: ViewServer, store: Path, page: Page, allowed: bool) -> None:
    """Without leave (CORS), the message has the rule to set."""
    with web_space(store, allows="*" if allowed else None) as url:
        page.goto(f"{server.url}?store={quote(url)}")
        if allowed:
            wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
            return
        page.locator("#notices p").wait_for(timeout=1000 * SECONDS)
        notice = page.locator("#notices span").inner_text()
    rule = json.loads(notice[notice.index("{") :])["CORSRules"][0]
    assert rule["AllowedOrigins"] == [server.url.rstrip("/")]
    assert rule["AllowedMethods"] == ["GET", "HEAD"]


def test_a_public_store_is_read_by_the_browser_itself(store: Path, page: Page) -> None:
    """The command serves the page; without leave to read the store, it serves the store as well."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for allowed in ("*", None):
        asked.clear()
        with web_space(store, allows=allowed) as url, serving(url) as server:
            page.goto(server.url)
            wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
        chunks = [one for one in asked if "/c/" in one]
        assert chunks
        assert all(one.startswith(url if allowed else f"{server.url}store/") for one in chunks)


def test_a_saved_picture_is_the_one_on_the_screen(server: ViewServer, page: Page) -> None:
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save a picture").click()
    assert download.value.suggested_filename == "run_1.png"
    saved = np.round(255 * imread(download.value.path())[..., :3])
    on_screen = picture(page)
    height, width = min(saved.shape[0], on_screen.shape[0]), min(saved.shape[1], on_screen.shape[1])
    difference = np.abs(saved[40 : height - 3, :width] - on_screen[40 : height - 3, :width]).max(axis=-1)
    assert (difference > 8).mean() < 0.01


def test_an_orthographic_view_keeps_parallel_lines(tmp_path: Path, page: Page) -> None:
    """Two rows of points, one far behind the other, are as long as each other."""
    position = np.array([[x, y, z] for y, z in ((0, 0), (20, 1)) for x in (0, 5)], np.float32)
    writer = ZarrStoreWriter(str(tmp_path / "store"), FileMap(surface_position="p", surface_pressure="v"), "rows")
    writer.write_sample(
        "rows", {"surface_position": position, "surface_pressure": np.arange(4, dtype=np.float32)[:, None]}
    )
    writer.save_manifest()
    lengths = {}
    with serving(str(tmp_path / "store")) as server:
        for projection in ("perspective", "orthographic"):
            page.goto(f"{server.url}?projection={projection}&size=9&layer=surface,surface_pressure,0,gray")
            wait_for_points(page, "4 of 4 points")
            page.get_by_role("button", name="Left", exact=True).click()
            page.wait_for_url("**camera=**")
            columns = np.unique(np.nonzero(shown(page))[1])
            rows = np.nonzero(shown(page).any(axis=1))[0]
            upper, lower = (np.nonzero(row)[0] for row in (shown(page)[rows[4]], shown(page)[rows[-5]]))
            lengths[projection] = np.ptp(lower) - np.ptp(upper)
            assert columns.size
    assert lengths["perspective"] > 20
    assert abs(lengths["orthographic"]) <= 3


def test_a_finger_turns_the_view(server: ViewServer, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    before = picture(page)
    session = context.new_cdp_session(page)
    for kind, places in (("touchStart", [(150, 200)]), ("touchMove", [(250, 220)]), ("touchEnd", [])):
        points = [{"x": x, "y": y} for x, y in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_url("**camera=**")
    assert np.any(picture(page) != before, axis=-1).mean() > 0.01
    context.close()


def test_keys_turn_and_zoom(server: ViewServer, page: Page) -> None:
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    page.locator("#first").focus()
    pictures = [picture(page)]
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
        pictures.append(picture(page))
    for before, after in pairwise(pictures):
        assert np.any(before != after, axis=-1).mean() > 0.01


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_narrow_page_fits_its_screen(server: ViewServer, browser: Browser, scheme: Literal["dark", "light"]) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    keep_screenshot(page, f"viewer-phone-{scheme}")
    context.close()


def test_the_first_load_is_small(server: ViewServer, page: Page) -> None:
    """All that the page loads until a picture is there, compressed as a web space sends it."""
    loaded: dict[str, int] = {}

    def count(response) -> None:  # type: ignore[no-untyped-def]
        if "/store/" not in response.url and response.ok:
            loaded[response.url] = len(gzip.compress(response.body()))

    page.on("response", count)
    page.goto(server.url)
    wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
    assert 100_000 < sum(loaded.values()) <= 600_000


@pytest.mark.parametrize(
    ("comparison", "color"),
    [("truth", (68, 1, 84)), ("prediction", (33, 145, 140)), ("difference", (253, 231, 37))],
)
def test_truth_prediction_and_difference_are_shown(
    tmp_path: Path, page: Page, comparison: str, color: tuple[int, int, int]
) -> None:
    """The truth is 0 and the prediction 0.5, so the difference is 0.5; each is coloured in a range of its own."""

    class WithPrediction(FileMap):
        surface_predicted: Scalar = None

    fields = WithPrediction(surface_position="p", surface_pressure="v", surface_predicted="w")
    writer = ZarrStoreWriter(str(tmp_path / "store"), fields, "points")
    zeros = np.zeros((2, 1), np.float32)
    position = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    writer.write_sample(
        "row", {"surface_position": position, "surface_pressure": zeros, "surface_predicted": zeros + 0.5}
    )
    writer.save_manifest()
    limits = "0~0.5" if comparison == "difference" else "0~1"
    layer = f"surface,surface_pressure,0,viridis,{limits},surface_predicted,{comparison}"
    with serving(str(tmp_path / "store")) as server:
        page.goto(f"{server.url}?layer={layer}&size=15")
        wait_for_points(page, "2 of 2 points")
        near = np.abs(picture(page).astype(int) - color).max(axis=-1) <= 3
        caption = page.locator("figcaption").inner_text()
    assert near.sum() > 100
    expected = {"truth": "surface_pressure", "prediction": "surface_predicted"}
    assert caption == expected.get(comparison, "surface_predicted \N{MINUS SIGN} surface_pressure")


def test_a_slice_shows_the_points_across_an_axis(tmp_path: Path, page: Page) -> None:
    points_file(tmp_path / "store", [0.0] * 50 + [1.0] + [0.0] * 50)
    with serving(str(tmp_path / "store")) as server:
        page.goto(f"{server.url}?layer=surface,surface_pressure,0,viridis,0~1&size=9")
        wait_for_points(page, "101 of 101 points")
        whole = shown(page).sum()
        page.locator("label", has_text="Slice").locator("select").select_option("across x")
        page.wait_for_url("**clip-x=**")
        sliced = picture(page)
        # The middle one alone, and its neighbours at most.
        assert 0 < shown(page).sum() < whole / 20
    assert np.any(np.abs(sliced.astype(int) - (253, 231, 37)).max(axis=-1) <= 3)


@pytest.mark.parametrize(
    ("script", "lacking"),
    [
        ("HTMLCanvasElement.prototype.getContext = () => null", "no WebGL2"),
        ("delete globalThis.Float16Array", "no Float16Array"),
    ],
)
def test_a_browser_that_cannot_show_it_is_told_which_can(
    server: ViewServer, page: Page, script: str, lacking: str
) -> None:
    page.add_init_script(script)
    page.goto(server.url)
    page.locator("#notices p").wait_for(timeout=1000 * SECONDS)
    notice = page.locator("#notices").inner_text()
    assert lacking in notice
    assert "Firefox 129" in notice


def test_points_that_do_not_fit_in_memory_are_refused(server: ViewServer, page: Page) -> None:
    """The message says so, and can be dismissed; a smaller number of points is shown."""
    page.add_init_script(
        """globalThis.Float32Array = new Proxy(Float32Array, { construct(target, [size, ...rest]) {
            if (size > 6000) throw new RangeError("Array buffer allocation failed");
            return Reflect.construct(target, [size, ...rest]);
        } })"""
    )
    page.goto(server.url)
    page.locator("#notices p").wait_for(timeout=1000 * SECONDS)
    message = "run_1: 2,041 points do not fit in the memory of this browser; choose fewer points"
    assert message in page.locator("#notices").inner_text()
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator("#notices p").count() == 0
    page.locator("label", has_text="Points").locator("select").first.select_option("one chunk")
    wait_for_points(page, f"{CHUNK} of {N_SURFACE:,} points")


@pytest.mark.s3
def test_a_bucket_is_read_through_the_command(s3_server: S3Server, s3_root: str, page: Page) -> None:
    writer = ZarrStoreWriter(
        s3_root, AHMED_FILEMAP, "ahmed", chunk_points=CHUNK, storage_options=s3_server.obstore_options
    )
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    with serving(s3_root, storage_options=s3_server.obstore_options) as server:
        page.goto(server.url)
        wait_for_points(page, f"{N_SURFACE:,} of {N_SURFACE:,} points")
        assert page.locator("#notices").inner_text() == ""
