"""Pages with models in a headless Chromium, from a file and without network."""

import base64
import importlib.util
import io
import math
import re
import shutil

import numpy as np
import pytest
import trimesh
from PIL import Image
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.geometry.frame import normalise
from sdfkit.images.scenes.packing import Packed, pack_arrays
from sdfkit.images.turntable import draw_turntable
from sdfkit.report.gallery import draw_runs, read_runs
from sdfkit.report.viewer.appearance import Appearance
from sdfkit.rows import Row
from tests.commands.view_files import EVIL, write_store, write_trajectories

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# WebGL on the processor, so that the tests need no driver.
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL = """
    const original = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return kind.startsWith("webgl") ? null : original.call(this, kind, ...rest);
    };
"""
# Sets all controls to their first state.
FIRST_STATE = """() => {
    const pressed = { wires: false, "other side": false, "link cameras": true };
    document.querySelector("select[name=section]").value = "";
    document.querySelector("select[name=surface]").value = "distance";
    document.querySelector("input[type=range]").value = 0;
    for (const button of document.querySelectorAll("button[aria-pressed]"))
      if (button.getAttribute("aria-pressed") !== String(pressed[button.textContent])) {
        button.disabled = false;
        button.click();
      }
    for (const control of document.querySelectorAll("select")) control.dispatchEvent(new Event("change"));
    document.querySelector("button:not([aria-pressed], .enlarge)").click();
}"""


def bumpy(scale=1.0):
    """A closed shape without symmetry: two balls of different sizes, in one mesh."""
    one, other = trimesh.creation.icosphere(3), trimesh.creation.icosphere(2, radius=0.4)
    other.apply_translation([0.9, 0.8, 0.3])
    mesh = trimesh.util.concatenate([one, other])
    mesh.vertices *= scale
    return mesh


class Balls:
    """Meshes every second code, the first one too, as a ball; the others have no surface."""

    def __init__(self):
        self.codes = 0

    def check(self, store):
        pass

    def mesh(self, code):
        self.codes += 1
        return bumpy() if self.codes % 2 else None


@pytest.fixture(scope="module")
def browser():
    """Start the browser once for all tests of this file."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("this machine has no Chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages of two shapes with predictions that are too large and too small, of samples, views and trajectories."""
    folder = tmp_path_factory.mktemp("pages")
    for place, scales in (("truth", (1, 1)), ("predicted", (1.05, 0.95))):
        (folder / place).mkdir()
        for name, scale in zip("ab", scales, strict=True):
            bumpy(scale).export(folder / place / f"{name}.ply")
    rows = [Row(0, "a"), Row(1, "b")]
    point = np.random.default_rng(0).uniform(-1, 1, (2, 4000, 3)).astype(np.float32)
    distance = np.linalg.norm(point, axis=-1) - np.float32(0.6)
    arrays = {"point": (("shape", "sample", "xyz"), point), "distance": (("shape", "sample"), distance)}
    write_store(folder / "samples.zarr", "samples", rows, arrays)
    rgb = np.full((2, 3, 16, 16, 3), 90, np.uint8)
    cameras = np.tile(np.eye(4, dtype=np.float32), (2, 3, 1, 1))
    cameras[:, :, 2, 3] = 2.5
    write_store(folder / "views.zarr", "views", rows, {
        "rgb": (("shape", "view", "row", "column", "channel"), rgb),
        "camera_to_world": (("shape", "view", "to", "from"), cameras),
        "yfov": (("shape", "view"), np.full((2, 3), math.radians(55), np.float32)),
    })  # fmt: skip
    write_trajectories(folder / "scaled.zarr")
    write_trajectories(folder / "unit.zarr", noise="unit", steps=2)
    runs = read_runs([str(folder / "scaled.zarr"), str(folder / "unit.zarr")], 9, manifest=None)
    drawing = draw_runs(runs, Appearance(["runs"], True, None, 64, None, 9), Balls())
    (folder / "trajectories.html").write_bytes(drawing.content)
    for name, words in {
        "compared": ["view", "--views", "3", "predicted", "--truth", "truth"],
        "samples": ["view", "--views", "3", "samples.zarr", "--truth", "truth"],
        "views": ["view", "--views", "3", "views.zarr", "--truth", "truth"],
        "scored": ["compare", "--points", "1000", "predicted", "truth"],
    }.items():
        line = [str(folder / word) if (folder / word).exists() else word for word in words]
        done = CliRunner().invoke(
            app, [*line, "-o", str(folder / f"{name}.html"), "--jobs", "1"], catch_exceptions=False
        )
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def visit(browser, files):
    """Open a page without network, and check at the end that the browser had nothing to complain about."""
    contexts, complaints = [], []

    def visit(name, *, address="", script="", ready="main[data-models]"):
        context = browser.new_context(offline=True, viewport={"width": 640, "height": 1200})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda sent: complaints.append(sent.url) if sent.url.startswith("http") else None)
        if script:
            page.add_init_script(script)
        page.goto((files / f"{name}.html").as_uri() + address)
        page.wait_for_selector(ready, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def opened(visit):
    return visit("compared")


@pytest.fixture
def page(opened):
    """The page of truths and predictions, with all controls as they are at first."""
    opened.evaluate(FIRST_STATE)
    return opened


def canvases(page):
    """Return the pictures of all models, after those that are still to be drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    texts = page.evaluate(
        "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL().split(',')[1])"
    )
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA")).astype(int)
        for text in texts
    ]


def differ(before, after):
    """Return which pictures changed."""
    return [bool(np.abs(one - other).max() > 8) for one, other in zip(before, after, strict=True)]


def eventually(condition):
    """Return whether a condition holds after some of the pictures that the browser draws next."""
    return any(condition() for _ in range(100))


def covered(picture):
    return picture[..., 3] > 127


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_models_are_drawn_as_the_stills_show_them(page, scheme):
    page.emulate_media(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) > 128) == (scheme == "light")
    pictures = canvases(page)
    assert len(pictures) == 4
    size = pictures[0].shape[0]
    unit, _ = normalise(bumpy())
    expected = draw_turntable(unit, views=1, size=size)[0, ..., 3] > 127
    seen = covered(pictures[0])
    assert (seen & expected).sum() / (seen | expected).sum() > 0.97
    # The first prediction is larger than the truth, the second one smaller.
    assert covered(pictures[1]).sum() > 1.05 * seen.sum()
    assert covered(pictures[3]).sum() < 0.95 * seen.sum()


def test_distances_outside_are_orange_and_inside_blue(page):
    misses, larger, lost, smaller = (picture[covered(picture)].mean(axis=0) for picture in canvases(page))
    # The truth is coloured by the same scale: what lies outside of its prediction is orange.
    assert min(larger[0] - larger[2], lost[0] - lost[2]) > 40
    assert min(smaller[2] - smaller[0], misses[2] - misses[0]) > 40
    assert re.search(r"−0\.\d+ inside\s+\+0\.\d+ outside", page.inner_text(".scale"))
    before = canvases(page)
    page.select_option("select[name=surface]", "plain")
    assert differ(before, canvases(page)) == [True] * 4
    assert not page.is_visible(".scale")


def test_dragging_turns_linked_models_together(page):
    before = canvases(page)
    page.locator("canvas").nth(1).hover()
    page.mouse.down()
    page.mouse.move(600, 420, steps=3)
    page.mouse.up()
    turned = canvases(page)
    assert differ(before, turned) == [True] * 4
    page.keyboard.press("0")
    assert differ(before, canvases(page)) == [False] * 4
    # Without the link, only the models of the same shape turn together.
    page.click("text=link cameras")
    page.locator("canvas").nth(2).focus()
    page.keyboard.press("ArrowLeft")
    assert differ(before, canvases(page)) == [False, False, True, True]


def test_keys_turn_move_and_zoom(page):
    page.locator("canvas").first.focus()
    before = canvases(page)[0]
    count = covered(before).sum()
    for key in ("+", "+", "+"):
        page.keyboard.press(key)
    assert covered(canvases(page)[0]).sum() > 1.2 * count
    page.keyboard.press("0")
    page.keyboard.press("Shift+ArrowRight")
    moved = canvases(page)[0]
    columns = [np.nonzero(covered(picture))[1].mean() for picture in (before, moved)]
    assert columns[1] > columns[0] + 2
    page.locator("canvas").first.hover()
    page.mouse.wheel(0, -300)
    assert eventually(lambda: covered(canvases(page)[0]).sum() > 1.1 * count)


def test_a_section_cuts_the_models_and_fills_the_cut(page):
    page.select_option("select[name=surface]", "plain")
    before = canvases(page)
    page.keyboard.press("x")
    cut = canvases(page)
    for whole, part in zip(before, cut, strict=True):
        assert 0.3 < covered(part).sum() / covered(whole).sum() < 0.95
        purple = (np.abs(part[..., :3] - [0x7D, 0x5B, 0xA6]).max(axis=-1) < 4).sum()
        assert purple > 0.2 * covered(part).sum()
    page.locator("input[type=range]").first.fill("-1")
    gone = canvases(page)
    assert covered(gone[0]).sum() == 0
    page.click("text=other side")
    assert np.array_equal(covered(canvases(page)[0]), covered(before[0]))


def test_wires_and_normals_are_drawn(page):
    plain = canvases(page)
    page.keyboard.press("w")
    wires = canvases(page)
    assert differ(plain, wires) == [True] * 4
    page.keyboard.press("w")
    page.select_option("select[name=surface]", "normals")
    normals = canvases(page)[0]
    # Normals that point up are green, those that point to the camera blue.
    half = normals.shape[0] // 2
    assert normals[half, half, 2] > 200
    page.click(".enlarge >> nth=0")
    assert eventually(lambda: canvases(page)[0].shape[0] > normals.shape[0])


def test_without_webgl_stills_turn(visit):
    page = visit("compared", script=WITHOUT_WEBGL, ready="text=no WebGL")
    assert page.locator("canvas").count() == 0
    still = page.locator(".film").first
    before = still.evaluate("(element) => element.style.backgroundPosition")
    page.locator("input[type=range]").fill("1")
    assert still.evaluate("(element) => element.style.backgroundPosition") != before


def test_without_webgl_the_stills_of_a_table_turn(visit):
    page = visit("scored", script=WITHOUT_WEBGL, ready="text=no WebGL")
    assert page.locator("canvas").count() == 0
    stills = page.locator(".film")
    script = "(elements) => elements.map((element) => element.style.backgroundPosition)"
    before = stills.evaluate_all(script)
    stills.nth(1).press("ArrowRight")
    # Those of the same pair turn together.
    assert [one != other for one, other in zip(before, stills.evaluate_all(script), strict=True)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_pairs_of_a_table_turn_together_and_can_be_sorted(visit):
    page = visit("scored", ready="canvas")
    page.evaluate("document.querySelector('.bar').scrollIntoView()")
    page.locator(".drawn").nth(3).wait_for()

    def read():
        names = "(elements) => elements.map((element) => element.getAttribute('aria-label').split(', in')[0])"
        return dict(zip(page.locator("canvas").evaluate_all(names), canvases(page), strict=True))

    first = read()
    worst = [name.split(",")[0] for name in first][::2]
    assert list(first) == [f"{uid}, {name}" for uid in worst for name in ("truth", "prediction")]
    larger, smaller = (
        first[f"{uid}, prediction"][covered(first[f"{uid}, prediction"])].mean(axis=0) for uid in "ab"
    )
    assert larger[0] > larger[2] + 40
    assert smaller[2] > smaller[0] + 40
    page.locator("canvas").nth(1).press("ArrowLeft")
    turned = read()
    assert differ(first.values(), turned.values()) == [True] * 4
    for order in ("ba", "ab"):
        page.click("th >> text=shape")
        ordered = read()
        assert [name[0] for name in ordered] == [uid for uid in order for _ in range(2)]
        assert differ(turned.values(), [ordered[name] for name in turned]) == [False] * 4
    page.locator("canvas").first.press("ArrowRight")
    assert differ(first.values(), [read()[name] for name in first]) == [False] * 4


def test_the_address_of_a_page_of_trajectories_selects_what_it_shows(visit):
    page = visit("trajectories", ready="dd", address="#shape=1&step=9&noise=1")
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    wanted = {"step": "2 of 2", "noise": "unit noise", "IoU with the truth": "1.000"}
    assert {name: facts[name] for name in wanted} == wanted
    assert page.locator("option").nth(1).inner_text() == f"{EVIL} – </script>$x_$"
    # The mesh of the step is shown: the scaled run has 15 codes, so that code 21 is the last of this shape.
    page.wait_for_selector("main[data-models]", state="attached")
    assert covered(canvases(page)[0]).sum() > 500
    assert page.inner_text(".models h2") == "decoded mesh"
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(".models h2") == "decoded mesh: no surface"
    assert covered(canvases(page)[0]).sum() == 0


def test_samples_are_points_of_a_slice(visit):
    page = visit("samples")
    truth, picture = canvases(page)[:2]
    blue = covered(picture) & (picture[..., 2] > picture[..., 0] + 30)
    orange = covered(picture) & (picture[..., 0] > picture[..., 2] + 30)
    assert min(blue.sum(), orange.sum()) > 100
    # Inside is in the middle.
    far = [np.abs(np.argwhere(mask) - picture.shape[0] / 2).mean() for mask in (blue, orange)]
    assert far[0] < far[1]
    page.select_option("select[name=slice]", "")
    whole, cloud = canvases(page)[:2]
    assert covered(cloud).sum() > 1.5 * covered(picture).sum()
    # The mesh is cut where the slice is, but keeps one side.
    assert 0.3 < covered(truth).sum() / covered(whole).sum() < 0.98
    # Only the samples have distances.
    assert page.locator("select[name=surface] option").all_inner_texts() == ["plain", "normals"]
    page.select_option("select[name=surface]", "normals")
    assert page.is_visible(".scale")
    page.click("button:text('in 3-D')")
    assert page.locator("canvas").first.is_hidden()


def test_views_are_pictures_and_cameras_around_the_mesh(visit):
    page = visit("views", ready="text=in 3-D")
    assert page.locator("canvas").first.is_hidden()
    page.click("text=in 3-D")
    page.wait_for_selector("main[data-models]", state="attached")
    picture = canvases(page)[0]
    grey = covered(picture) & (np.abs(picture[..., :3] - 90).max(axis=-1) < 12)
    bright = covered(picture) & (picture[..., 2] > 150)
    assert grey.sum() > 50
    assert bright.sum() > 50


def test_the_page_unpacks_what_was_packed(opened):
    rng = np.random.default_rng(0)
    faces = np.concatenate([np.arange(300).reshape(-1, 3), rng.integers(0, 300, (200, 3))])
    arrays = [
        Packed(f"{coding} {kind}", rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (50, 3)).astype(kind), coding)
        for kind in ("u1", "u2", "i2")
        for coding in ("plain", "differences")
    ]  # fmt: skip
    arrays += [Packed(f"faces {kind}", faces.astype(kind), "faces") for kind in ("u2", "u4")]
    script = (
        "async (packed) => Object.entries(await unpack(packed)).map(([name, array]) => [name, [...array]])"
    )
    assert opened.evaluate(script, pack_arrays(arrays)) == [
        [array.name, array.values.reshape(-1).tolist()] for array in arrays
    ]
