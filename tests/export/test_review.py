"""Which images are worth correcting: worked by hand, on drawn layouts, through the command and in the report."""

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import OptionError
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.report.report import report
from lmpnet_cli.export.review import (
    ALIKE,
    FALL,
    FARTHEST,
    ONE_SIDED,
    apart,
    fits,
    images_to_review,
    in_order,
    layout_of,
    mirrored,
    reason,
    write_review,
)
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints

NAMES = ("beak", "left eye", "right eye", "tail")
SWAPPED = [0, 2, 1, 3]
POSE = np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.2], [0.9, 0.7]])
GONE = [np.nan, np.nan]


def bird(name: str, layout=POSE, scores=0.9, window=(100.0, 50.0, 200.0, 100.0)) -> Keypoints:
    xy = np.array(layout) * window[2:] + window[:2] - 0.5
    return Keypoints(name, 400, 300, xy, np.where(np.isnan(xy[:, 0]), np.nan, scores), window=window)


def changed(index: int, place) -> np.ndarray:
    layout = POSE.copy()
    layout[index] = place
    return layout


def document(results) -> Document:
    return Document(results, NAMES, "bird", (), [*range(1, len(results) + 1)], 1, "lmpnet", "landmarks")


def test_a_layout_is_measured_in_the_window_or_in_the_whole_image():
    np.testing.assert_allclose(layout_of(bird("a.jpg")), POSE)
    alone = Keypoints("a.jpg", 20, 10, np.array([[9.5, 4.5]]), np.ones(1))
    assert layout_of(alone).tolist() == [[0.5, 0.5]]


def test_a_mirrored_layout_has_left_and_right_exchanged():
    expected = [[0.9, 0.3], [0.7, 0.2], [0.8, 0.2], [0.1, 0.7]]
    np.testing.assert_allclose(mirrored(POSE, SWAPPED), expected)


def test_distances_of_points_that_both_one_or_no_layout_has():
    layout = np.array([[0.0, 0.0], [0.0, 0.0], GONE, GONE, [0.0, 0.0]])
    other = np.array([[0.06, 0.08], [0.0, 0.9], GONE, [0.0, 0.0], GONE])
    np.testing.assert_allclose(apart(layout, other[None]), [[0.1, FARTHEST, 0.0, ONE_SIDED, ONE_SIDED]])


def test_the_fit_falls_with_the_distance_from_the_place_in_similar_layouts():
    astray = changed(3, [0.8, 0.7])  # 0.1 from where it is in the five most similar layouts
    layouts = np.stack([*[POSE] * 5, astray])
    fitting = fits(layouts, SWAPPED)
    np.testing.assert_allclose(fitting[5], [1, 1, 1, np.exp(-0.1 / FALL)])
    # of the others each has four equal layouts and the one astray among its five
    np.testing.assert_allclose(fitting[0], [1, 1, 1, np.exp(-0.1 / 5 / FALL)])


def test_an_animal_that_faces_the_other_way_is_not_unusual():
    layouts = np.stack([*[POSE] * 6, mirrored(POSE, SWAPPED)])
    np.testing.assert_allclose(fits(layouts, SWAPPED), 1)


def test_a_single_layout_fits():
    assert fits(POSE[None], SWAPPED).tolist() == [[1.0] * 4]


def test_alike_layouts_follow_later():
    far = changed(3, [0.1, 0.9])  # one of four points is far: 0.3 / 4 on average
    layouts = np.stack([POSE, POSE, far, mirrored(POSE, SWAPPED)])
    values = np.array([2.0, 1.9, 1.5, 1.8])
    assert in_order(values, layouts, SWAPPED, list("abcd"), 2) == [0, 2]
    np.testing.assert_allclose(apart(POSE, layouts).mean(1)[:3], [0, 0, FARTHEST / 4])
    assert FARTHEST / 4 < ALIKE  # so that the third one counts less as well, but more than the two equal ones
    assert sorted(in_order(values, layouts, SWAPPED, list("abcd"), 9)) == [0, 1, 2, 3]


def test_an_image_is_chosen_once_for_all_of_its_objects():
    layouts = np.stack([POSE, changed(3, [0.1, 0.9]), changed(0, [0.9, 0.9])])
    assert in_order(np.array([2.0, 1.9, 1.0]), layouts, SWAPPED, ["a", "a", "b"], 3) == [0, 2]


@pytest.mark.parametrize(
    ("result", "fitting", "words"),
    [
        (bird("a", scores=[0.9, 0.9, 0.9, 0.8]), [1, 1, 0.8, 0.2], "tail and right eye in an unusual place; beak with a low score"),
        (bird("a", changed(0, GONE), [0, 0.9, 0.2, 0.3]), [1] * 4, "right eye, tail and left eye with a low score; 1 of 4 points not found"),
        (bird("a", [GONE] * 4), [1] * 4, "4 of 4 points not found"),
        (bird("a", [GONE] * 4, window=NO_OBJECT), [1] * 4, "no object found"),
    ],
)  # fmt: skip
def test_the_reason_names_the_points_that_are_trusted_least(result, fitting, words):
    assert reason(result, np.array(fitting), NAMES) == words


def drawn_run() -> list[Keypoints]:
    """Return eight good images, and four that are wrong in a way of their own."""
    generator = np.random.default_rng(0)
    good = [bird(f"good {i}.jpg", POSE + generator.normal(0, 0.01, POSE.shape)) for i in range(8)]
    wrong = [
        bird("astray.jpg", changed(3, [0.1, 0.9])),
        bird("unsure.jpg", scores=[0.9, 0.2, 0.2, 0.9]),
        bird("=cut.jpg", changed(3, GONE)),
        bird("nothing.jpg", [GONE] * 4, window=NO_OBJECT),
    ]
    return [*good[:4], *wrong, *good[4:]]


def test_wrong_images_come_first():
    run = document(drawn_run())
    found = images_to_review(run, 4)
    names = [run.results[each.index].file_name for each in found]
    assert names[0] == "nothing.jpg" and found[0].value == 4
    assert {"astray.jpg", "=cut.jpg"} < set(names)
    assert "tail" in found[names.index("astray.jpg")].reason


def test_no_file_name_is_a_formula(tmp_path):
    run = document(drawn_run())
    write_review(tmp_path / "review.csv", run, images_to_review(run, 4))
    rows = list(csv.DictReader((tmp_path / "review.csv").read_text().splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0] == {"rank": "1", "file_name": "nothing.jpg", "value": "4.0", "reason": "no object found"}
    assert "'=cut.jpg" in [row["file_name"] for row in rows]


def test_the_command_writes_the_list_and_the_section(named, birds, tmp_path):
    out = tmp_path / "out"
    shared = [str(birds / "images"), "-c", str(named), "--device", "cpu", "--workers", "0", "--out", str(out)]
    asked = [*shared, "--method", "parts", "--review", "3", "--report"]
    result = CliRunner().invoke(app, ["discover", *asked])
    assert result.exit_code == 0, result.stderr
    assert "review.csv" in result.stderr and "Review" in (out / "report.html").read_text()
    rows = list(csv.DictReader((out / "review.csv").read_text().splitlines()))
    files = {image["file_name"] for image in json.loads((out / "keypoints.json").read_text())["images"]}
    assert len(rows) == 3 and {row["file_name"] for row in rows} < files and all(row["reason"] for row in rows)

    again = CliRunner().invoke(app, ["discover", *shared, "--method", "parts", "--overwrite"])
    assert again.exit_code == 0 and not (out / "review.csv").exists()  # it described the earlier run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "lmpnet"}, "--review needs keypoints that are the same in every image"),
        ({"method": "saliency"}, "--review needs keypoints that are the same in every image"),
        ({"method": "parts", "shard": "1/2"}, "--shard cannot be combined with --review"),
        ({"method": "parts", "backend": "ray"}, "--review cannot be combined with --backend ray"),
        ({"method": "parts", "images": "clip.mp4"}, "--review cannot be combined with a video"),
        ({"method": "parts", "out": None}, "--review needs an output folder"),
        ({"method": "parts", "review": 0}, "--review 0 is out of range"),
    ],
)
def test_where_there_is_no_review(options, words, tmp_path):
    options = {"images": "photos", "out": tmp_path / "out", "review": 5} | options
    with pytest.raises(OptionError, match=words):
        discover(options.pop("images"), **options)


@pytest.fixture
def reviewed(tmp_path):
    """A folder of results whose run was asked for four images to review."""
    run = drawn_run()
    for result in run:
        Image.new("RGB", (400, 300)).save(tmp_path / result.file_name)
    write_json(tmp_path / "keypoints.json", to_coco(run, {"method": "landmarks", "objects": "one"}, NAMES))
    write_json(tmp_path / "run.json", {"command": "discover", "options": {"images": [str(tmp_path)], "review": 4}})
    return tmp_path


def test_a_report_shows_the_images_to_review_whatever_its_limit(reviewed):
    text = report(reviewed, limit=1).path.read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["gallery"]["images"]) == 5 and len(data["review"]) == 4


def test_images_to_review_are_large_among_small_ones(reviewed):
    text = report(reviewed, side=100).path.read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    shown = {each["position"] for each in data["review"]}
    for position in range(5):
        encoded = re.search(f'id="p{position}"[^>]*>([^<]+)<', text)[1]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            assert max(image.size) == (400 if position in shown else 100)


@pytest.mark.parametrize("count", [None, "4", 0, [4]])
def test_a_run_that_was_not_asked_has_no_review(reviewed, count):
    write_json(reviewed / "run.json", {"options": {"images": [str(reviewed)], "review": count}})
    assert "Review" not in report(reviewed).sections


def test_the_section_lists_them_in_order_and_opens_the_viewer(reviewed, visit):
    page = visit(report(reviewed).path)
    page.get_by_role("link", name="Review").click()
    cards = page.locator("#review .card")
    cards.nth(3).wait_for()  # the section is drawn after the address has changed
    assert cards.count() == 4
    assert cards.first.inner_text().splitlines() == ["nothing.jpg", "no object found."]
    second = cards.nth(1).locator("span").first.inner_text()
    cards.first.click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer h2").inner_text() == second
    page.keyboard.press("Escape")
    assert "1 to 4 of 4" in page.locator("#section-review .paging").first.inner_text()
