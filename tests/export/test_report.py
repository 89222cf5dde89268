"""The report: what it contains, and that it works in a browser, from disk, without a connection."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.errors import DatasetError, InputError, OptionError, OutputError
from lmpnet_cli.export.report.report import report
from lmpnet_cli.export.report.thumbnails import thumbnail_side
from lmpnet_cli.io.bundled import bundled_classes
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints, keypoint_names
from lmpnet_cli.progress import Progress

EVIL = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>.png'
NAMES = ("beak", "<b>tail</b>")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """130 images with keypoints; the name of one contains markup."""
    folder = tmp_path_factory.mktemp("found")
    photos = folder / "photos"
    photos.mkdir()
    generator = np.random.default_rng(0)
    results = []
    for index in range(130):
        name = f"{index:03d}.png"
        Image.new("RGB", (60, 40), tuple(generator.integers(60, 200, 3).tolist())).save(photos / name)
        xy = generator.uniform(0, 39, (2, 2))
        scores = np.array([index / 130, 0.5])
        if index % 10 == 3:
            xy[1], scores[1] = np.nan, np.nan
        label = "heron" if index % 2 else "egret </option>"
        results.append(Keypoints(name, 60, 40, xy, scores, class_name=label, class_score=0.75))
    results[0] = Keypoints(EVIL, 60, 40, results[0].xy, results[0].scores, class_name="heron", class_score=0.5)
    info = {"method": "lmpnet", "lmpnet_version": "1"}
    write_json(folder / "out" / "keypoints.json", to_coco(results, info, NAMES, [("<i>broken.jpg", "not an <image>")]))
    run = {"command": "discover", "options": {"images": [str(photos)], "k": 2}, "versions": {"torch": "2"}}
    write_json(folder / "out" / "run.json", run)
    return folder / "out"


class Warnings(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_everything_is_inside_one_file(found, tmp_path):
    progress = Warnings()
    made = report(found, out=tmp_path / "page.html", progress=progress)
    text = made.path.read_text()
    assert made.sections == ["Gallery", "Keypoints", "Settings", "Skipped (1)"] and made.images == 130
    assert text.count('type="text/plain" id="p') == 129  # the first image does not exist
    assert progress.warnings == [
        "1 of 130 images cannot be found; the report shows only their keypoints. "
        "Pass the folder that contains them: --images FOLDER."
    ]
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', text)
    assert not outside and "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text
    assert "<i>broken" not in text and "&lt;i&gt;broken.jpg" in text and "not an &lt;image&gt;" in text
    assert "window.hacked=1</script>" not in text


def test_classes_of_the_bundled_model_are_shown_only_where_asked(found, tmp_path):
    document = json.loads((found / "keypoints.json").read_text())
    photos = found.parent / "photos"
    for name, classes, options, shown in (
        ("own", ["heron", "egret"], {}, True),
        ("bundled", bundled_classes(), {}, False),  # also a copy of it with landmarks
        ("asked", bundled_classes(), {"classes": True}, True),
    ):
        document["info"]["classes"] = classes
        write_json(tmp_path / name / "keypoints.json", document)
        text = report(tmp_path / name, images=photos, **options).path.read_text()
        data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
        assert (data["gallery"]["images"][1]["label"] == "heron") is shown


def test_an_existing_report_is_not_replaced(found, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputError, match="already holds"):
        report(found, out=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"


def test_a_report_does_not_replace_a_result(found, tmp_path):
    shutil.copy(found / "keypoints.json", tmp_path)
    for name in ("keypoints.json", "run.json"):
        with pytest.raises(OptionError, match=rf"{name} is one of the results that are read"):
            report(tmp_path, out=tmp_path / name, images=found.parent / "photos", overwrite=True)
    assert (tmp_path / "keypoints.json").read_bytes() == (found / "keypoints.json").read_bytes()


def test_images_beyond_the_limit_are_chosen_evenly(found, tmp_path):
    text = report(found, out=tmp_path / "page.html", limit=10).path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [image["file"] for image in data["gallery"]["images"]][1:] == [
        f"{i:03d}.png" for i in (14, 29, 43, 57, 72, 86, 100, 115, 129)
    ]
    assert "shows 10 of 130 images" in text


def test_a_limit_keeps_all_objects_of_an_image(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "0.png")
    xy, window = np.full((1, 2), 20.0), (10.0, 5.0, 30.0, 20.0)
    results = [Keypoints(f"{i}.png", 60, 40, xy, np.ones(1), window=window) for i in range(5) for _ in range(3)]
    write_json(tmp_path / "keypoints.json", to_coco(results, {"method": "parts", "objects": "all"}, ["beak"]))
    text = report(tmp_path, images=tmp_path, limit=2).path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [image["file"] for image in data["gallery"]["images"]] == ["0.png"] * 3 + ["4.png"] * 3
    assert "shows 2 of 5 images" in text


def test_a_report_without_any_image_is_not_written(found, tmp_path):
    shutil.copy(found / "keypoints.json", tmp_path)
    with pytest.raises(InputError, match=r"does not record where its images are.* --images"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert report(tmp_path / "keypoints.json", images=found.parent / "photos").images == 130
    with pytest.raises(InputError, match=r"Folder .* not found"):
        report(tmp_path / "nowhere")


def test_folders_without_results_and_damaged_ones(tmp_path):
    with pytest.raises(InputError, match="contains none of"):
        report(tmp_path)
    (tmp_path / "keypoints.json").write_text("{")
    with pytest.raises(DatasetError, match="is damaged"):
        report(tmp_path)
    write_json(tmp_path / "keypoints.json", {"images": []})
    with pytest.raises(DatasetError, match="is not a COCO"):
        report(tmp_path)
    (tmp_path / "keypoints.json").unlink()
    for name in ("metrics.json", "filters.json"):
        write_json(tmp_path / name, {"dataset": "x"})
        with pytest.raises((DatasetError, InputError)):
            report(tmp_path)
        (tmp_path / name).unlink()


def test_thumbnails_are_smaller_in_a_large_report():
    assert [thumbnail_side(count) for count in (10, 501, 10_000, 99_999)] == [560, 360, 160, 160]


def test_three_commands_write_their_report(birds, checkpoint, tmp_path):
    shared = ["-c", str(checkpoint), "--device", "cpu", "--workers", "0", "--report", "--json"]
    images = str(birds / "images" / sorted(path.name for path in (birds / "images").iterdir())[0])
    for arguments, words in (
        (["discover", images, "--method", "lmpnet"], ("Gallery", "kp5")),
        (["viz-filters", images, "--columns", "3", "--rows", "2"], ("Filter atlas", "votes")),
        (["eval", str(birds)], ("Scores", "image centre")),
    ):
        out = tmp_path / arguments[0]
        result = CliRunner().invoke(app, [*arguments, "--out", str(out), *shared])
        assert result.exit_code == 0, result.stderr
        text = (out / "report.html").read_text()
        assert all(word in text for word in words)
        again = CliRunner().invoke(app, [*arguments, "--out", str(out), *shared[:-2], "--overwrite", "--json"])
        assert again.exit_code == 0 and not (out / "report.html").exists()  # it described the earlier run
    with pytest.raises(OptionError, match="need an output folder: pass --out"):
        DiscoverConfig(images=("x",), report=True)


def test_a_table_of_many_keypoints_shows_the_first_ten(birds, checkpoint, tmp_path):
    few_points = ["--method", "saliency", "--nms-radius", "3", "--coarse-weight", "0"]
    shared = ["-c", str(checkpoint), "--device", "cpu", "--workers", "0", "--report", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["eval", str(birds), *few_points, *shared])
    assert result.exit_code == 0, result.stderr
    k = json.loads((tmp_path / "metrics.json").read_text())["k"]
    note = f"The first 10 of {k} keypoints are shown; the means are over all."
    assert k > 10
    for text in (result.stderr, (tmp_path / "report.html").read_text()):
        assert "KP 10" in text and "KP 11" not in text and note in text
        assert "found keypoints only" in text


# ---------------------------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def gallery_page(found, tmp_path_factory) -> Path:
    return report(found, out=tmp_path_factory.mktemp("page") / "page.html").path


def follow(page, link):
    """Click a link of the navigation and wait for its section: the address changes first, the page later."""
    found = page.get_by_role("link", name=link)
    found.click()
    page.locator(f"#section-{found.get_attribute('href').removeprefix('#')}").wait_for()


def cards(page):
    return page.locator("#cards .card > span:not(.quiet)").all_inner_texts()


def test_gallery_pages_sorts_filters_and_toggles(gallery_page, visit):
    page = visit(gallery_page)
    assert page.locator("#cards .card").count() == 48 and cards(page)[0] == EVIL
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("PageDown")
    assert cards(page)[0] == "048.png" and "49 to 96 of 130" in page.locator(".paging").first.inner_text()
    page.locator(".paging").first.get_by_title("Last page").click()
    assert len(cards(page)) == 34
    page.select_option("#sort", "low")
    scores = [float(re.search(r"score ([0-9.]+)", text)[1]) for text in page.locator("#cards .card").all_inner_texts()]
    assert scores == sorted(scores) and len(scores) == 48
    page.select_option("#sort", "few")
    assert "1 of 2" in page.locator("#cards .card").first.inner_text()
    page.select_option("#class", index=1)
    assert "of 64" in page.locator(".paging").first.inner_text()
    page.select_option("#class", index=0)
    page.fill("#find", "12")
    assert {"012.png", "112.png", "129.png"} <= set(cards(page)) and len(cards(page)) == 12
    page.fill("#find", "")
    before = page.locator("#cards .point").count()
    page.get_by_title("Show or hide (2)").click()
    assert page.locator('#cards .point[data-keypoint="1"]').count() == 0
    page.locator("h1").click()
    page.keyboard.press("2")
    assert page.locator("#cards .point").count() == before
    tip = page.locator("#cards .point title").first.text_content()
    assert re.fullmatch(r"(beak|<b>tail</b>): score [01]\.\d\d, x [0-9.]+, y [0-9.]+", tip)


def test_the_windows_of_objects_can_be_hidden(tmp_path, gallery_page, visit):
    windows = ((10.0, 5.0, 30.0, 20.0), (0.0, 0.0, 60.0, 40.0))  # the second one is the whole image
    xy, scores = np.full((1, 2), 20.0), np.ones(1)
    results = [Keypoints(f"{i}.png", 60, 40, xy, scores, window=window) for i, window in enumerate(windows)]
    for result in results:
        Image.new("RGB", (60, 40)).save(tmp_path / result.file_name)
    write_json(tmp_path / "keypoints.json", to_coco(results, {"method": "parts", "objects": "one"}, ["beak"]))
    page = visit(report(tmp_path, images=tmp_path).path)
    first, second = page.locator("#cards .card").all()
    assert second.locator(".window").count() == 0
    drawn = first.locator(".window").first
    assert [float(drawn.get_attribute(key)) for key in ("x", "y", "width", "height")] == list(windows[0])
    page.get_by_role("button", name="Windows").click()
    assert page.locator(".window").count() == 0
    page.locator("h1").click()
    page.keyboard.press("w")
    assert page.locator(".window").count() == 2  # a dark and a light line
    assert visit(gallery_page).get_by_role("button", name="Windows").count() == 0


def test_the_skeleton_joins_the_keypoints_that_are_found_and_shown(tmp_path, visit):
    xy = np.array([[[10.0, 10], [20, 30], [50, 20]], [[10.0, 10], [np.nan, np.nan], [50, 20]]])
    results = [Keypoints(f"{i}.png", 60, 40, points, points[:, 0] * 0 + 1) for i, points in enumerate(xy)]
    for result in results:
        Image.new("RGB", (60, 40)).save(tmp_path / result.file_name)
    document = to_coco(results, {"method": "parts"}, ["beak", "crown", "wing"])
    write_json(tmp_path / "keypoints.json", document)
    page = visit(report(tmp_path, images=tmp_path, skeleton="beak-crown,1-3", out=tmp_path / "page.html").path)
    first, second = (card.locator(".edge") for card in page.locator("#cards .card").all())
    assert (first.count(), second.count()) == (4, 2)  # a dark and a light line each
    assert [float(first.first.get_attribute(key)) for key in ("x1", "y1", "x2", "y2")] == [10.5, 10.5, 20.5, 30.5]
    assert first.first.bounding_box()["width"] > 20
    assert page.locator("#cards .point ~ .edge").count() == 0  # lines are below the points
    page.get_by_title("Show or hide (2)").click()
    assert (first.count(), second.count()) == (2, 2)
    follow(page, "Keypoints")
    assert page.locator("#patches .point").count() and page.locator("#patches .edge").count() == 0

    document["categories"][0]["skeleton"] = [[2, 3]]
    write_json(tmp_path / "keypoints.json", document)
    assert visit(report(tmp_path, images=tmp_path).path).locator("#cards .edge").count() == 2


def test_many_keypoints_are_dots_without_numbers(tmp_path, visit):
    xy = np.random.default_rng(1).uniform(0, 39, (60, 2))
    results = [Keypoints(f"{count}.png", 60, 40, xy[:count], np.linspace(1, 0.5, count)) for count in (60, 20)]
    for result in results:
        Image.new("RGB", (60, 40)).save(tmp_path / result.file_name)
    write_json(tmp_path / "keypoints.json", to_coco(results, {"method": "saliency", "k": None}, keypoint_names(60)))
    page = visit(report(tmp_path, images=tmp_path).path)
    many, few = page.locator("#cards .card").all()
    assert (many.locator("circle").count(), many.locator("svg text").count()) == (60, 0)
    assert (few.locator("circle").count(), few.locator("svg text").count()) == (20, 20)
    sizes = [float(card.locator("circle").first.get_attribute("r")) for card in (many, few)]
    assert sizes[0] < sizes[1] / 2
    assert "20 of 60 keypoints" in few.inner_text()
    page.get_by_title("Show or hide (60)").click()
    assert many.locator("circle").count() == 59
    follow(page, "Keypoints")
    page.locator("#tabs button").nth(59).click()
    page.locator("#statistics", has_text="1 of 2 images").wait_for()


def test_the_viewer_goes_through_images_by_keys(gallery_page, visit):
    page = visit(gallery_page)
    page.locator("#cards .card").nth(3).click()
    assert (
        page.locator("#viewer h2").inner_text() == "003.png"
        and "not found" in page.locator("#viewer table").inner_text()
    )
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer h2").inner_text() == "004.png"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#viewer h2").inner_text() == "002.png"
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_each_keypoint_has_a_page_of_patches_best_first(gallery_page, visit):
    page = visit(gallery_page)
    follow(page, "Keypoints")
    assert page.locator("#patches .card").count() == 96
    values = [float(text) for text in page.locator("#patches .card > span").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    page.locator("#tabs button").nth(1).click()
    page.locator("#statistics", has_text="117 of 130 images").wait_for()
    assert page.url.endswith("#keypoints/2")
    assert page.locator('#patches .point[data-keypoint="0"]').count() == 0
    page.go_back()
    page.locator("#statistics", has_text="130 of 130 images").wait_for()
    assert page.url.endswith("#keypoints")
    assert "by rank in each image" in page.locator("#section-keypoints .note").inner_text()
    page.locator("#patches .card").first.click()
    assert page.locator("#viewer h2").inner_text() == "129.png"


def test_the_viewer_stays_in_the_list_that_it_was_opened_from(gallery_page, visit):
    page = visit(gallery_page)
    page.fill("#find", "nothing has this name")
    assert page.locator("#cards .card").count() == 0
    page.goto(f"{gallery_page.as_uri()}#keypoints/2")
    page.locator("#patches .card").nth(4).click()
    name = page.locator("#viewer h2").inner_text()
    page.keyboard.press("1")
    assert page.locator("#viewer h2").inner_text() == name
    assert page.locator('#viewer .point[data-keypoint="0"]').count() == 0
    page.go_back()
    page.locator("#viewer").wait_for(state="hidden")


def test_odd_addresses_and_keys_do_no_harm(gallery_page, visit):
    page = visit(gallery_page)
    for part in ("%", "100%", "keypoints/1.5", "keypoints/x", "keypoints/99", "none/3"):
        page.goto(f"{gallery_page.as_uri()}#{part}")
        assert page.locator("main > section:not([hidden])").count() == 1
    page.goto(f"{gallery_page.as_uri()}#keypoints/1.5")
    page.locator("#section-keypoints").wait_for()
    assert page.locator("#patches .card").count() == 96
    follow(page, "Settings")
    page.keyboard.press("PageDown")
    follow(page, "Gallery")
    assert "1 to 48" in page.locator(".paging").first.inner_text()


def test_settings_skipped_images_and_both_themes(gallery_page, visit):
    page = visit(gallery_page)
    follow(page, "Settings")
    assert "k\t2" in page.locator("#section-settings").inner_text()
    follow(page, "Skipped (1)")
    assert "not an <image>" in page.locator("#section-skipped").inner_text()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate(ground) != light
    assert visit(gallery_page, scheme="dark").evaluate(ground) == page.evaluate(ground)


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_screen(gallery_page, visit, width):
    page = visit(gallery_page, width)
    for section in ("gallery", "keypoints", "settings", "skipped"):
        page.goto(f"{gallery_page.as_uri()}#{section}")
        page.locator(f"#section-{section}").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_visualisation_larger_than_webp_allows_is_shown_smaller(birds, checkpoint, tmp_path):
    from lmpnet_cli.filters.visualize import visualize_filters

    images = sorted((birds / "images").rglob("*.jpg"))[:4]
    options = {"checkpoint": checkpoint, "columns": 40, "rows": 1, "tile": 224, "workers": 0, "device": "cpu"}
    visualize_filters(images, out=tmp_path, report=True, **options)
    text = (tmp_path / "report.html").read_text()
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])["filters"]["width"] > 16383


def test_the_filter_atlas_zooms_and_shows_the_details_of_a_filter(birds, checkpoint, tmp_path, visit):
    from lmpnet_cli.filters.visualize import visualize_filters

    result = visualize_filters(
        birds / "images", checkpoint=checkpoint, columns=4, rows=3, out=tmp_path, workers=0, device="cpu", report=True
    )
    page = visit(tmp_path / "report.html")
    assert page.locator("#sheet button").count() == 4
    wide = page.locator("#sheet").bounding_box()["width"]
    page.get_by_title("Zoom in (+)").click()
    assert page.locator("#sheet").bounding_box()["width"] == pytest.approx(1.5 * wide, rel=0.01)
    page.get_by_title("Fit to width (0)").click()
    page.locator("#sheet button").nth(1).click()
    view = result.filters[1]
    page.locator("#filter", has_text=f"Filter {view.filter}").wait_for()
    text = page.locator("#filter").inner_text()
    assert f"Filter {view.filter}" in text and f"#{view.rank + 1} by maximum activation" in text
    assert (
        view.tiles[0]["files"][0] in text
        and "Votes for keypoints" in text
        and "Predicted classes of its strongest images" in text
    )
    assert page.locator("#filter .tiles svg").count() == 3
    page.keyboard.press("ArrowRight")
    page.locator("#filter", has_text=f"Filter {result.filters[2].filter}").wait_for()
    narrow = visit(tmp_path / "report.html", 400)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 400
