"""README and docs/ are tested: Python blocks run, commands are commands, every option that they name exists."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.data.annotations import read_annotations

ROOT = Path(__file__).parent.parent


def blocks(path):
    return re.findall(r"```(\w+)\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.S)


PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [
    line.strip()
    for page in PAGES
    for kind, text in blocks(page)
    if kind == "sh"
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip().startswith("lmpnet ")
]
PYTHON = [(page, text) for page in ("README.md", "docs/python.md") for kind, text in blocks(page) if kind == "python"]


def test_there_are_blocks():
    assert len(COMMANDS) >= 4
    assert {page for page, _ in PYTHON} == {"README.md", "docs/python.md"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_options_exist(command):
    name, *arguments = shlex.split(command, comments=True)[1:]
    text = CliRunner().invoke(app, [name, "--help"]).stdout
    assert "Usage" in text
    for option in (argument for argument in arguments if argument.startswith("-")):
        assert re.search(rf"{option}\b", text), option


def write_annotations(birds, folder, path):
    """Write the landmarks of the images of one folder of the drawn birds as COCO keypoints."""
    annotations = read_annotations(birds)
    images, objects = [], []
    for image in annotations.images:
        if image.name.startswith(f"{folder}/"):
            images.append({"id": len(images), "file_name": image.name.partition("/")[2]})
            visible = image.landmarks.tolist()
            points = [value for x, y in visible for value in ((x, y, 2) if x == x else (0, 0, 0))]  # NaN is hidden
            objects.append({"image_id": images[-1]["id"], "category_id": 1, "keypoints": points})
    category = {"id": 1, "name": "bird", "keypoints": list(annotations.landmark_names)}
    path.write_text(json.dumps({"images": images, "annotations": objects, "categories": [category]}))


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_python_blocks_run(page, code, tmp_path, monkeypatch, birds):
    monkeypatch.chdir(tmp_path)
    folder = next((birds / "images").iterdir())
    (tmp_path / "photos").symlink_to(folder)
    write_annotations(birds, folder.name, tmp_path / "annotations.json")
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


def test_the_annotations_that_the_documentation_shows_are_read(tmp_path):
    (text,) = (text for kind, text in blocks("docs/evaluation.md") if kind == "json")
    (tmp_path / "annotations.json").write_text(text)
    (image,) = read_annotations(tmp_path / "annotations.json").images
    assert image.visible.tolist() == [[131, 92], [325, 214]]
    assert image.size == (500, 335) and image.bbox == (120, 60, 210, 180)
