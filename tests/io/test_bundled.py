"""What a wheel must carry: the bundled model and the example images."""

import zipfile

import pytest

from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.io.bundled import bundled_checkpoint, bundled_examples
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header


def test_the_bundled_model_is_whole_and_says_where_it_comes_from():
    header = read_header(bundled_checkpoint())
    model = load_checkpoint()
    assert model.replica is not None
    assert model.spec.backbone.stride_in_1x1
    assert "Caffe" in header["initial_weights"]
    assert bundled_checkpoint().stat().st_size < 40_000_000


def test_the_examples_are_drawn_images_with_parts():
    annotations = read_annotations(bundled_examples(), "all")
    assert len(annotations.images) == 24
    assert len(annotations.landmark_names) == 15
    assert all(len(image.visible) >= 4 for image in annotations.images)


def test_the_wheel_holds_weights_and_examples(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    built = next(builder.WheelBuilder(str(bundled_checkpoint().parent.parent)).build(directory=str(tmp_path)))
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
    assert "lmpnet_cli/bundled/weights/lmpnet-birds.safetensors" in names
    assert sum(name.startswith("lmpnet_cli/bundled/examples/birds/images/") for name in names) == 24
