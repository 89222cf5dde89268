"""Corrections in a report: points, states and filters, with the mouse and the keyboard, and the file that is saved."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli import __version__
from lmpnet_cli.cli import app
from lmpnet_cli.export.report.report import report
from lmpnet_cli.io.coco import parse_coco, to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints

NAMES = ("beak", "<b>tail</b>")
NAN = float("nan")
WINDOW = (10.0, 5.0, 150.0, 100.0)


def write_results(folder: Path, results, info) -> Path:
    for name in {result.file_name for result in results}:
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 120), "#7a8").save(folder / "photos" / name)
    write_json(folder / "keypoints.json", to_coco(results, {"method": "parts", **info}, NAMES))
    return report(folder, images=folder / "photos", overwrite=True).path


@pytest.fixture
def page_file(tmp_path) -> Path:
    """The report of four images in two folders; on `b/3.png` the second keypoint is missing."""
    xy = np.array([[50.0, 40.0], [120.0, 80.0]])
    results = [
        Keypoints(name, 200, 120, xy, np.array([0.9, 0.5]), window=WINDOW)
        for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    ]
    results[2] = Keypoints("b/3.png", 200, 120, np.array([[50, 40], [NAN, NAN]]), np.array([0.9, NAN]), window=WINDOW)
    return write_results(tmp_path, results, {"objects": "one"})


def open_image(page, name):
    page.locator("#cards .card", has_text=name).click()
    page.locator("#viewer h2", has_text=name).wait_for()


def close(page, key=None):
    """Close the viewer by its button or a key, and wait until the section behind it is drawn again."""
    page.evaluate(
        "() => { window.whenClosed = new Promise((done) => byId('viewer').addEventListener('close', () => done(), { once: true })) }"
    )
    if key:
        page.keyboard.press(key)
    else:
        page.get_by_role("button", name="Close").click()
    page.evaluate("window.whenClosed")


def point(page, index):
    return page.locator(f'#viewer .point[data-keypoint="{index}"]')


def row(page, index):
    return page.locator("#viewer tbody tr").nth(index)


def position(page, index):
    """The position of a point as its row shows it."""
    return [float(value) for value in row(page, index).locator("td").nth(1).inner_text().split(",")]


def on_screen(page, x, y):
    """Where a pixel of the image is on the screen, and how large it is there."""
    box = page.locator("#viewer svg").bounding_box()
    scale = min(box["width"] / 200, box["height"] / 120)
    left = box["x"] + (box["width"] - 200 * scale) / 2
    top = box["y"] + (box["height"] - 120 * scale) / 2
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def drag(page, start, end):
    page.mouse.move(*on_screen(page, *start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, *end), steps=4)
    page.mouse.up()


def state(page):
    return page.locator("#viewer .state").all_inner_texts()


def badges(page):
    return {
        card.locator("span").first.inner_text(): card.locator(".state").inner_text()
        for card in page.locator("#cards .card").all()
        if card.locator(".state").count()
    }


def names(page):
    return page.locator("#cards .card > span:not(.quiet)").all_inner_texts()


def saved(page) -> dict:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save corrections").click()
    assert download.value.suggested_filename == "corrections.json"
    return json.loads(Path(download.value.path()).read_text("utf-8"))


def test_a_point_is_dragged_and_reset(page_file, visit):
    page = visit(page_file)
    open_image(page, "a/1.png")
    drag(page, (50, 40), (70, 25))
    assert position(page, 0) == pytest.approx([70, 25], abs=0.5) and "moved" in row(page, 0).inner_text()
    assert position(page, 1) == [120, 80] and state(page) == ["corrected"]

    drag(page, (70, 25), (-40, 25))  # a point stays inside the image
    assert position(page, 0) == pytest.approx([0, 25], abs=0.5)
    page.keyboard.press("ArrowRight")  # the point that was dragged does not keep the focus
    assert page.locator("#viewer h2").inner_text() == "a/2.png"
    page.keyboard.press("ArrowLeft")

    row(page, 0).get_by_role("button", name="Reset").click()
    assert position(page, 0) == [50, 40] and "0.90" in row(page, 0).inner_text() and state(page) == []
    close(page)
    assert badges(page) == {} and page.locator("#save").is_disabled()


def test_a_point_is_dragged_by_touch(page_file, visit):
    page = visit(page_file, 400)
    open_image(page, "a/1.png")
    touch = page.context.new_cdp_session(page)
    for kind, places in (
        ("touchStart", [(50, 40)]),
        ("touchMove", [(65, 50)]),
        ("touchMove", [(90, 60)]),
        ("touchEnd", []),
    ):
        points = [dict(zip("xy", on_screen(page, *place), strict=True)) for place in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert position(page, 0) == pytest.approx([90, 60], abs=0.5)


def test_a_point_is_moved_and_hidden_by_keys(page_file, visit):
    page = visit(page_file)
    open_image(page, "a/1.png")
    page.mouse.click(*on_screen(page, 50, 40))
    assert state(page) == []  # a click alone moves nothing
    for pressed in ("ArrowRight", "ArrowUp", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(pressed)
    assert position(page, 0) == [61, 48]
    page.keyboard.press("Escape")  # leaves the point, not the viewer
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer h2").inner_text() == "a/2.png"

    point(page, 1).focus()
    page.keyboard.press("Delete")
    assert point(page, 1).count() == 0 and "hidden" in row(page, 1).inner_text() and state(page) == ["corrected"]
    page.keyboard.press("PageUp")
    assert page.locator("#viewer h2").inner_text() == "a/1.png"
    close(page, "Escape")
    assert not page.locator("#viewer").is_visible()
    assert badges(page) == {"a/1.png": "corrected", "a/2.png": "corrected"}
    assert "1 of 2" in page.locator("#cards .card", has_text="a/2.png").inner_text()


def test_a_point_is_hidden_and_added_with_the_table(page_file, visit):
    page = visit(page_file)
    open_image(page, "b/3.png")
    row(page, 1).get_by_role("button", name="Add").click()
    assert "Click on the image to place <b>tail</b>" in page.locator("#viewer").inner_text()
    page.keyboard.press("Escape")
    page.mouse.click(*on_screen(page, 150, 90))
    assert point(page, 1).count() == 0 and state(page) == []

    row(page, 1).get_by_role("button", name="Add").click()
    page.mouse.click(*on_screen(page, 52, 41))  # above the other point
    assert position(page, 1) == pytest.approx([52, 41], abs=0.5) and position(page, 0) == [50, 40]
    assert "added" in row(page, 1).inner_text() and point(page, 1).locator("title").text_content().startswith(NAMES[1])

    row(page, 1).get_by_role("button", name="Hide").click()
    assert "not found" in row(page, 1).inner_text() and state(page) == []
    row(page, 1).get_by_role("button", name="Add").press("Enter")  # without a mouse, from the middle of the window
    page.keyboard.press("ArrowLeft")
    assert position(page, 1) == [84, 55]


def test_images_are_good_or_bad(page_file, visit):
    page = visit(page_file)
    open_image(page, "a/1.png")
    page.keyboard.press("g")
    assert state(page) == ["good"]
    page.keyboard.press("g")
    assert state(page) == []
    page.get_by_role("button", name="Bad").click()
    assert state(page) == ["bad"]
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Good").click()
    close(page)
    assert badges(page) == {"a/1.png": "bad", "a/2.png": "good"}
    assert page.locator("#save").inner_text() == "Save corrections (2)"


def test_the_gallery_is_filtered_by_folder_and_state(page_file, visit):
    page = visit(page_file)
    page.select_option("#folder", label="b")
    assert names(page) == ["b/3.png", "b/4.png"]
    open_image(page, "b/4.png")
    page.keyboard.press("g")
    close(page)
    page.select_option("#state", "done")
    assert names(page) == ["b/4.png"]
    page.select_option("#folder", "")
    page.select_option("#state", "open")
    assert names(page) == ["a/1.png", "a/2.png", "b/3.png"]
    open_image(page, "a/2.png")
    page.keyboard.press("b")
    close(page)
    assert names(page) == ["a/1.png", "b/3.png"]
    page.select_option("#state", "bad")
    assert names(page) == ["a/2.png"]


def test_one_folder_needs_no_filter(tmp_path, visit):
    result = Keypoints("1.png", 200, 120, np.full((2, 2), 20.0), np.ones(2))
    page = visit(write_results(tmp_path, [result], {}))
    assert not page.locator("#folder").is_visible() and page.locator("#state").is_visible()


def test_corrections_survive_a_reload_and_closing_warns(page_file, visit):
    page = visit(page_file)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
    open_image(page, "a/1.png")
    point(page, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    point(page, 1).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    page.reload()
    page.locator("#cards .state").nth(1).wait_for()
    assert dialogs == ["beforeunload"]
    assert badges(page) == {"a/1.png": "corrected", "a/2.png": "bad"}
    open_image(page, "a/1.png")
    assert "hidden" in row(page, 0).inner_text() and position(page, 1) == [120, 81]
    close(page)

    saved(page)
    page.reload()
    page.locator("#cards .state").nth(1).wait_for()
    assert dialogs == ["beforeunload"] and len(badges(page)) == 2


def test_without_storage_corrections_last_until_the_page_is_closed(page_file, visit):
    page = visit(page_file)
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })")
    page.reload()
    open_image(page, "a/1.png")
    page.keyboard.press("g")
    close(page)
    assert badges(page) == {"a/1.png": "good"}
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    assert badges(page) == {}


def test_the_saved_file_is_coco_and_eval_reads_it(page_file, visit, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    page = visit(page_file)
    open_image(page, "a/1.png")
    drag(page, (50, 40), (-40, -40))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    close(page)
    document = saved(page)

    assert document["info"]["description"] == f"corrections made in the report of lmpnet {__version__}"
    assert document["info"]["date_created"].startswith("20")
    assert document["bad"] == ["b/3.png"]
    assert document["categories"] == [{"id": 1, "name": "object", "keypoints": list(NAMES), "skeleton": []}]
    assert document["images"] == [
        {"id": 1, "file_name": "a/1.png", "width": 200, "height": 120, "lmpnet": {"state": "corrected"}},
        {"id": 2, "file_name": "a/2.png", "width": 200, "height": 120, "lmpnet": {"state": "good"}},
    ]
    first, second = document["annotations"]
    assert first["keypoints"] == [0.01, 0, 2, 120, 80, 2]  # the corner is not "not labelled"
    assert second["keypoints"] == [50, 40, 2, 120, 80, 2] and second["num_keypoints"] == 2
    assert first["bbox"] == list(WINDOW) and [each.window for each in parse_coco(document)] == [WINDOW, WINDOW]

    path = tmp_path / "corrections.json"
    path.write_text(json.dumps(document))
    assert len(coco.COCO(str(path)).loadAnns([1, 2])) == 2
    options = ["--images", str(tmp_path / "photos"), "-p", str(tmp_path / "keypoints.json")]
    result = CliRunner().invoke(app, ["eval", str(path), *options, "--out", str(tmp_path / "scores"), "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 2


def test_every_object_of_a_corrected_image_is_saved(tmp_path, visit):
    def one(name, x, window=None):
        xy = np.full((2, 2), x)
        return Keypoints(name, 200, 120, xy, np.ones(2) if x == x else np.full(2, NAN), window=window)

    left, right, none = (0.0, 0.0, 50.0, 50.0), (90.0, 40.0, 60.0, 60.0), (0.0,) * 4
    results = [one("1.png", 20.0, left), one("1.png", 100.0, right), one("2.png", NAN, none), one("3.png", NAN, none)]
    page = visit(write_results(tmp_path, results, {"objects": "all"}))
    page.locator("#cards .card").nth(1).click()
    row(page, 0).get_by_role("button", name="Hide").click()
    close(page)
    assert page.locator("#cards .state").count() == 2  # the image is corrected, and it has two cards
    open_image(page, "2.png")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    row(page, 0).get_by_role("button", name="Add").click()
    page.mouse.click(*on_screen(page, 30, 30))
    close(page)

    annotations = saved(page)["annotations"]
    assert [each["image_id"] for each in annotations] == [1, 1, 3]
    assert [each["keypoints"] for each in annotations[:2]] == [[20, 20, 2, 20, 20, 2], [0, 0, 0, 100, 100, 2]]
    assert [each["bbox"] for each in annotations[:2]] == [list(left), list(right)]
    x, y, width, height = annotations[2]["bbox"]  # a window, although only one point is known
    assert annotations[2]["num_keypoints"] == 1 and x < 30 < x + width and y < 30 < y + height


@pytest.mark.parametrize("width", [400, 1400])
def test_the_viewer_fits_the_screen(page_file, visit, width):
    page = visit(page_file, width)
    open_image(page, "b/3.png")
    page.keyboard.press("g")
    drag(page, (50, 40), (70, 25))
    row(page, 1).get_by_role("button", name="Add").click()
    viewer = page.locator("#viewer")
    assert viewer.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
    for button in viewer.get_by_role("button").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
