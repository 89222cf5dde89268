import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from lmpnet_cli.data.images import image_size, read_image, to_input
from lmpnet_cli.data.listing import UnreadableImage, list_images
from lmpnet_cli.errors import InputError

RANDOM = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ORIENTED = {  # EXIF value: what a viewer makes of the stored pixels
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def save(path, pixels, mode=None, orientation=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def names(*inputs):
    return [image.name for image in list_images(inputs)]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.PNG", "B/c.jpeg", "a/ä ö.webp", "a/10.tif", "a/9.bmp", ".hidden.jpg", ".git/x.jpg", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_a_folder_is_listed_in_depth_in_sorted_order_without_hidden_files(folder):
    assert names(folder) == ["B/c.jpeg", "a/10.tif", "a/9.bmp", "a/ä ö.webp", "b.PNG"]
    assert all(image.path == folder / image.name for image in list_images([folder]))


def test_several_inputs_are_named_from_the_folder_that_holds_them_all(folder):
    assert names(folder / "a", folder / "b.PNG") == ["a/10.tif", "a/9.bmp", "a/ä ö.webp", "b.PNG"]
    assert names(folder / "a", folder) == names(folder)
    assert names(folder / "b.PNG", folder / "b.PNG") == ["b.PNG"]


def test_names_never_lead_out_of_the_results(folder, monkeypatch):
    monkeypatch.chdir(folder / "a")
    assert names("../B", ".") == ["B/c.jpeg", "a/10.tif", "a/9.bmp", "a/ä ö.webp"]
    assert names("..") == names(folder)
    assert names("../a/9.bmp") == names("9.bmp") == ["9.bmp"]
    assert all(image.path.exists() for image in list_images(["../B", "."]))


def test_a_single_file_is_taken_whatever_its_extension(folder):
    assert names(folder / "notes.txt") == ["notes.txt"]
    assert names(folder / ".hidden.jpg") == [".hidden.jpg"]


def test_a_missing_input_and_a_folder_without_images_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"Image or folder .*none not found"):
        list_images([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"No images in .*empty .*\.jpg"):
        list_images([tmp_path / "empty"])


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_is_applied(tmp_path, orientation, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", RANDOM, orientation=orientation, **options)
    decoded, expected = read_image(path), ORIENTED[orientation](RANDOM)
    np.testing.assert_array_equal(decoded.rgb, expected)
    assert (decoded.height, decoded.width) == expected.shape[:2]
    assert image_size(path) == (decoded.width, decoded.height)


@pytest.mark.parametrize("at_least", [400, 100])  # by the decoder alone, and by whole steps after it
@pytest.mark.parametrize("orientation", ORIENTED)
def test_reduced_decoding_keeps_size_and_orientation(tmp_path, orientation, at_least):
    stored = np.zeros((2000, 3000, 3), np.uint8)
    stored[:1000, :1500], stored[:1000, 1500:], stored[1000:, :1500] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = save(tmp_path / "a.jpg", stored, orientation=orientation)
    decoded, expected = read_image(path, at_least=at_least), ORIENTED[orientation](stored)
    assert (decoded.height, decoded.width) == expected.shape[:2]
    assert image_size(path) == (decoded.width, decoded.height)
    height, width = decoded.rgb.shape[:2]
    assert at_least <= min(height, width) < 2 * at_least
    assert width / height == pytest.approx(decoded.width / decoded.height, rel=0.01)
    for y, x in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        full = expected[int(y * decoded.height), int(x * decoded.width)]
        np.testing.assert_allclose(decoded.rgb[int(y * height), int(x * width)], full, atol=8)


@pytest.mark.parametrize(("at_least", "longer"), [(16, 30), (11, 30), (10, 15), (7, 15), (4, 6), (1, 2)])
def test_files_of_other_formats_are_reduced_by_whole_steps(tmp_path, at_least, longer):
    decoded = read_image(save(tmp_path / "a.png", RANDOM), at_least=at_least)
    assert (decoded.width, decoded.height) == (30, 20)
    assert max(decoded.rgb.shape[:2]) == longer


RAMP = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
GREY = np.repeat(RAMP[..., None], 3, axis=2)
HALF_RED = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 0, 0, 128]]], np.uint8)
ON_WHITE = [[[255, 0, 0], [255, 255, 255], [255, 127, 127]]]


def palette_with_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putdata([0, 1])
    return image


MODES = {
    "grey.png": (lambda p: save(p, RAMP), GREY),
    "grey16.png": (lambda p: save(p, RAMP.astype(np.uint16) * 257), GREY),
    "grey16.tif": (lambda p: save(p, RAMP.astype(np.uint16) * 257), GREY),
    "float.tif": (lambda p: save(p, RAMP.astype(np.float32) / 240), np.round(GREY / 240 * 255)),
    "with_nan.tif": (lambda p: save(p, np.array([[np.nan, 2.5, -1.0]], np.float32)), [[[0] * 3, [255] * 3, [0] * 3]]),
    "bits.png": (lambda p: save(p, RAMP > 100), np.where(GREY > 100, 255, 0)),
    "bits.tif": (lambda p: save(p, RAMP > 100), np.where(GREY > 100, 255, 0)),
    "rgba.png": (lambda p: save(p, HALF_RED), ON_WHITE),
    "rgba.webp": (lambda p: save(p, HALF_RED[:, :2], lossless=True), [ON_WHITE[0][:2]]),
    "la.png": (lambda p: save(p, np.array([[[40, 255], [40, 0]]], np.uint8)), [[[40] * 3, [255] * 3]]),
    "palette.png": (lambda p: save(p, palette_with_transparency(), transparency=1), [[[10, 20, 30], [255] * 3]]),
    "palette.gif": (lambda p: save(p, palette_with_transparency(), transparency=1), [[[10, 20, 30], [255] * 3]]),
    "cmyk.tif": (lambda p: save(p, RANDOM, "CMYK"), RANDOM),
    "one_pixel.bmp": (lambda p: save(p, RANDOM[:1, :1]), RANDOM[:1, :1]),
    "with space é 漢字.png": (lambda p: save(p, RANDOM), RANDOM),
}


@pytest.mark.parametrize("name", MODES)
def test_every_kind_of_pixel_becomes_rgb(tmp_path, name):
    write, expected = MODES[name]
    decoded = read_image(write(tmp_path / name))
    assert decoded.rgb.dtype == np.uint8 and decoded.rgb.flags.c_contiguous
    np.testing.assert_allclose(decoded.rgb, np.asarray(expected), atol=1)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif").rgb == (255, 0, 0)).all()


@pytest.mark.parametrize(("mode", "at_least"), [("RGB", None), ("RGB", 128), ("L", 128), ("CMYK", None), ("CMYK", 128)])
def test_a_photograph_looks_the_same_in_every_jpeg(tmp_path, mode, at_least):
    photograph = skimage.data.astronaut()
    decoded = read_image(save(tmp_path / "a.jpg", photograph, mode, quality=95), at_least=at_least)
    expected = np.asarray(Image.fromarray(photograph).convert("L" if mode == "L" else "RGB").convert("RGB"))
    difference = np.abs(to_input(decoded.rgb, 64).astype(int) - to_input(expected, 64))
    assert (decoded.width, decoded.height) == (512, 512)
    assert difference.mean() < 3


@pytest.mark.parametrize("name", ["camera", "chelsea", "coins", "rocket", "logo", "horse"])
def test_real_images_are_read(tmp_path, name):
    pixels = getattr(skimage.data, name)()
    path = save(tmp_path / f"{name}.png", pixels)
    decoded = read_image(path, at_least=100)
    assert (decoded.height, decoded.width) == pixels.shape[:2]
    assert image_size(path) == (decoded.width, decoded.height)
    assert to_input(decoded.rgb, 64).shape == (64, 64, 3)
    assert decoded.rgb.std() > 10


def test_a_colour_profile_does_no_harm(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RANDOM, icc_profile=profile)).rgb, RANDOM)


def test_damaged_exif_does_no_harm(tmp_path):
    path = save(tmp_path / "a.jpg", RANDOM, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"junk" * 9)
    assert read_image(path).rgb.shape == (20, 30, 3)
    assert image_size(path) == (30, 20)


def test_the_limits_and_warnings_of_the_process_stay_as_they_are(tmp_path, monkeypatch):
    """Decoding in threads neither changes nor depends on what belongs to the whole process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # smaller than the image: `Image.open` would refuse it
    path = save(tmp_path / "a.png", RANDOM)
    filters = list(warnings.filters)
    seen = set()

    def read(_):
        decoded = read_image(path)
        seen.add((Image.MAX_IMAGE_PIXELS, warnings.filters == filters))
        return decoded.rgb

    with ThreadPoolExecutor(8) as pool:
        for rgb in pool.map(read, range(200)):
            np.testing.assert_array_equal(rgb, RANDOM)
    assert seen == {(100, True)}


def truncated(path):
    data = save(path, skimage.data.astronaut()).read_bytes()
    path.write_bytes(data[: len(data) // 2])


DAMAGE = {
    "truncated.jpg": (truncated, r"the file ends early: only \d+% of its rows are there"),
    "truncated.png": (truncated, "truncated"),
    "empty.jpg": (lambda path: path.touch(), "not an image that can be read"),
    "text.jpg": (lambda path: path.write_text("no image"), "not an image that can be read"),
    "folder.jpg": (lambda path: path.mkdir(), "not a regular file"),
    "fifo.jpg": (os.mkfifo, "not a regular file"),
    "link.jpg": (lambda path: path.symlink_to("nowhere.jpg"), "No such file or directory"),
    "it's.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(40)), "."),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_a_reason_without_its_name(tmp_path, name):
    make, reason = DAMAGE[name]
    make(tmp_path / name)
    readers = [read_image] if name.startswith("truncated") else [read_image, image_size]
    for reader in readers:
        with pytest.raises(UnreadableImage, match=reason) as caught:
            reader(tmp_path / name)
        assert name not in str(caught.value) and str(tmp_path) not in str(caught.value) and str(caught.value)


def test_a_folder_with_the_name_of_an_image_is_searched(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    save(tmp_path / "x.jpg" / "y.png", RANDOM)
    assert names(tmp_path) == ["x.jpg/y.png"]


def test_larger_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RANDOM)
    assert read_image(path, max_pixels=600).width == 30
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(UnreadableImage, match="30 x 20 pixels, more than --max-pixels 599"):
        read_image(path, max_pixels=599)


def test_the_input_is_the_whole_image_warped():
    rgb = np.zeros((100, 300, 3), np.uint8)
    rgb[:50, 150:] = 200
    warped = to_input(rgb, 40)
    assert warped.shape == (40, 40, 3) and warped.dtype == np.uint8
    assert (warped[:18, 22:] == 200).all() and (warped[22:] == 0).all() and (warped[:, :18] == 0).all()
    np.testing.assert_array_equal(to_input(RANDOM[:20, :20], 20), RANDOM[:20, :20])
    assert (to_input(np.full((1, 1, 3), 7, np.uint8), 32) == 7).all()
