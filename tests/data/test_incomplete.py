"""JPEG files that end early are read where nearly all rows are there; pages and frames that are left out are named."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lmpnet_cli.data.images import read_image
from lmpnet_cli.data.incomplete import LEAST, NOTE
from lmpnet_cli.data.listing import UnreadableImage, list_images
from lmpnet_cli.data.loader import ImageLoader
from lmpnet_cli.io.runtime import resolve_device
from lmpnet_cli.progress import Progress

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "rotated": {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    "grey": {},
}


def jpeg(kind: str) -> bytes:
    buffer = io.BytesIO()
    (PHOTOGRAPH.convert("L") if kind == "grey" else PHOTOGRAPH).save(buffer, "JPEG", quality=90, **KINDS[kind])
    return buffer.getvalue()


@pytest.mark.parametrize("at_least", [None, 100])
@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_marker_costs_no_pixel(tmp_path, kind, cut, at_least):
    data = jpeg(kind)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:-cut])
    whole, read = (read_image(tmp_path / name, at_least=at_least) for name in ("whole.jpg", "cut.jpg"))
    np.testing.assert_array_equal(read.rgb, whole.rgb)
    assert whole.notes == () and (kind == "grey" or read.notes == (NOTE,))  # of grey the decoder misses nothing


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_with_nearly_all_rows_are_read(tmp_path, kind):
    data = jpeg(kind)
    (tmp_path / "whole.jpg").write_bytes(data)
    whole = read_image(tmp_path / "whole.jpg").rgb.astype(int)
    outcomes = []
    for share in (0.3, 0.5, 0.8, 0.97, 0.995):
        (tmp_path / "cut.jpg").write_bytes(data[: int(share * len(data))])
        try:
            rgb = read_image(tmp_path / "cut.jpg").rgb
        except UnreadableImage as error:
            assert "of its rows are there" in str(error)
            outcomes.append(False)
            continue
        outcomes.append(True)
        right = (np.abs(rgb - whole) <= 40).all(axis=2)
        assert right.mean() > LEAST - 0.02
    assert outcomes[:2] == [False, False] and outcomes[-1] and outcomes == sorted(outcomes)


def test_bytes_behind_the_end_do_no_harm(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg("baseline") + bytes(64))
    assert read_image(tmp_path / "a.jpg").notes == ()


def test_pages_and_frames_that_are_not_read_are_named(tmp_path):
    pages = [PHOTOGRAPH.resize((64, 48 + n)) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "one.tif")
    for suffix in ("gif", "png", "webp"):
        pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=[pages[0].rotate(90)])
        pages[0].save(tmp_path / f"one.{suffix}")
    assert read_image(tmp_path / "a.tif").notes == ("a file of 3 pages, of which only the first is read",)
    for suffix in ("gif", "png", "webp"):
        assert read_image(tmp_path / f"a.{suffix}").notes == ("an animation, of which only the first frame is read",)
    assert all(read_image(tmp_path / f"one.{suffix}").notes == () for suffix in ("tif", "gif", "png", "webp"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").rgb, np.asarray(pages[0]))


def test_smaller_copies_of_a_page_are_no_pages(tmp_path):
    small = PHOTOGRAPH.resize((64, 64))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    PHOTOGRAPH.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert read_image(tmp_path / "a.tif").notes == ()


def test_a_note_is_told_for_the_first_image_and_then_counted(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg("baseline")[:-2])
    told: list[str] = []
    progress = Progress()
    progress.warn = told.append
    loader = ImageLoader(64, resolve_device("cpu"), batch_size=2, workers=0)
    assert sum(len(loaded) for loaded, _ in loader.batches(list_images([tmp_path]), progress)) == 5
    assert told == [f"0.jpg: {NOTE}.", f"The same is true of 4 more images: {NOTE}."]
    assert loader.skipped == []
