"""`lmpnet match`: the same part of several images, joined by lines."""

import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.discovery.match import match
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.errors import InputError, OutputError

OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}


@pytest.fixture
def files(birds):
    return sorted((birds / "images").rglob("*.jpg"))[:3]


def test_the_drawing_and_the_keypoints_of_every_image(files, named, tmp_path):
    result = match(files, checkpoint=named, out=tmp_path / "out", columns=2, **OPTIONS)
    assert len(result.keypoints) == 3 and result.names == ("head", "wing", "tail")
    drawing = np.asarray(Image.open(tmp_path / "out/match.png"))
    assert np.array_equal(drawing, result.drawing)
    for part in range(3):
        assert (drawing == keypoint_color(part)).all(2).sum() > 100  # in the legend at least


def test_errors_are_one_message(files, named, tmp_path):
    match(files[:2], checkpoint=named, out=tmp_path / "out", **OPTIONS)
    with pytest.raises(OutputError, match=r"already holds match\.png"):
        match(files, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    with pytest.raises(InputError, match="Only one image"):
        match(files[:1], checkpoint=named, **OPTIONS)
    many = tmp_path / "many"
    many.mkdir()
    for index in range(201):
        (many / f"{index}.jpg").symlink_to(files[0])
    with pytest.raises(InputError, match="201 images do not fit into one drawing of at most 200"):
        match(many, checkpoint=named, **OPTIONS)
