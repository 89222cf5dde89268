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
MODES = {"grey": "L", "cmyk": "CMYK"}


def jpeg(kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"optimize": True} if kind == "optimized" else KINDS.get(kind, {})
    PHOTOGRAPH.convert(MODES.get(kind, "RGB")).save(buffer, "JPEG", quality=90, **options)
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


END = b"\xff\xd9"


def damaged(kind: str, how: str, share: float) -> bytes:
    """Return a JPEG file whose pixels end early without an error of the decoder."""
    data = jpeg(kind)
    start = data.index(b"\xff\xda")
    cut = start + int(share * (len(data) - start))
    return {
        "end marker": data[:cut] + END,
        "zeros at the end": data[:cut] + bytes(len(data) - cut),
        "zeros and end marker": data[:cut] + bytes(len(data) - cut - 2) + END,
        "zeros in the middle": data[: cut - 4096] + bytes(4096) + data[cut:],
    }[how]


HOWS = ("end marker", "zeros at the end", "zeros and end marker", "zeros in the middle")


@pytest.mark.parametrize("at_least", [None, 100])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", [*KINDS, "cmyk", "optimized"])
def test_data_that_run_out_before_the_end_of_the_file_are_noticed(tmp_path, kind, how, at_least):
    path = tmp_path / "a.jpg"
    path.write_bytes(damaged(kind, how, 0.5))
    what = "the file ends early" if how == "end marker" else "the file contains zeros in place of data"
    with pytest.raises(UnreadableImage, match=rf"{what}: only \d+% of its rows are there"):
        read_image(path, at_least=at_least)


@pytest.mark.parametrize("how", HOWS[:3])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "progressive"])
def test_nearly_all_rows_are_read_with_a_note(tmp_path, kind, how):
    (tmp_path / "a.jpg").write_bytes(damaged(kind, how, 0.97))
    (tmp_path / "whole.jpg").write_bytes(jpeg(kind))
    decoded, whole = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "whole.jpg")
    assert decoded.notes == (NOTE,)
    assert (decoded.rgb == whole.rgb).all(axis=2).mean() > LEAST


def drawing(colour: object) -> Image.Image:
    image = Image.new("RGB", (2000, 2400), colour)
    image.paste(PHOTOGRAPH, (0, 0))
    return image


@pytest.mark.parametrize("at_least", [None, 100])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 9}])
@pytest.mark.parametrize("colour", ["white", "black", (128, 128, 128), (90, 30, 200)])
@pytest.mark.parametrize("make", [drawing, lambda colour: Image.new("RGB", (2001, 2401), colour)])
def test_areas_of_one_colour_are_whole(tmp_path, make, colour, options, at_least):
    """Optimized files store them as thousands of zeros, and grey ones look like missing rows."""
    make(colour).save(tmp_path / "a.jpg", **options)
    decoded = read_image(tmp_path / "a.jpg", at_least=at_least)
    assert decoded.notes == ()
    if at_least is None:
        with Image.open(tmp_path / "a.jpg") as image:
            np.testing.assert_array_equal(decoded.rgb, np.asarray(image))


def test_zeros_before_the_end_marker_are_padding(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg("baseline")[:-2] + bytes(3000) + END)
    assert read_image(tmp_path / "a.jpg").notes == ()


def test_a_progressive_file_without_its_last_scans_is_whole_but_coarse(tmp_path):
    data = jpeg("progressive")
    (tmp_path / "a.jpg").write_bytes(data[: data.rindex(b"\xff\xda")] + END)
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


@pytest.mark.parametrize("kind", [1, 4])
def test_smaller_copies_and_masks_of_a_page_are_no_pages(tmp_path, kind):
    small = PHOTOGRAPH.resize((64, 64))
    small.encoderinfo = {"tiffinfo": {254: kind}}
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
