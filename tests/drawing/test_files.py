"""Image files are complete or absent."""

import resource
import signal
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lmpnet_cli.drawing.files import save_jpeg, save_png
from lmpnet_cli.errors import OutputError


def test_saved_files_can_be_read_back(tmp_path):
    astronaut = skimage.data.astronaut()
    save_png(tmp_path / "sub" / "a.png", astronaut)
    save_jpeg(tmp_path / "sub" / "b.PNG.jpg", astronaut)
    with Image.open(tmp_path / "sub" / "a.png") as png, Image.open(tmp_path / "sub" / "b.PNG.jpg") as jpeg:
        np.testing.assert_array_equal(np.asarray(png), astronaut)
        assert jpeg.format == "JPEG" and np.abs(np.asarray(jpeg).astype(int) - astronaut).mean() < 6
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["a.png", "b.PNG.jpg"]


@pytest.mark.parametrize("save", [save_jpeg, save_png])
def test_a_path_that_cannot_be_written_is_an_error_for_the_user(tmp_path, save):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        save(tmp_path / "file" / "a.jpg", np.zeros((4, 4, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("save", [save_jpeg, save_png])
def test_an_image_that_does_not_fit_on_the_disk_is_an_error(save, tmp_path):
    """Pillow alone leaves an incomplete file, and reports nothing, when a write stops in the middle."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    save(tmp_path / "whole", noise)
    limit = (tmp_path / "whole").stat().st_size - 20
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
        with pytest.raises(OutputError, match="Cannot write"):
            save(tmp_path / "a", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)
    assert [*tmp_path.iterdir()] == [tmp_path / "whole"]
