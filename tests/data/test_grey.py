"""Pixels of more than 8 bits look like the same picture of 8 bits, and a dark one stays dark."""

import cv2
import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.data.images import _brightest_in, read_image

RAMP = np.linspace(0, 255, 400).round().reshape(20, 20)


@pytest.fixture(autouse=True)
def forget_folders():
    _brightest_in.cache_clear()


def save(path, white, kind, share=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((RAMP / 255 * white * share).round().astype(kind)).save(path)
    return path


@pytest.mark.parametrize("at_least", [None, 5])
@pytest.mark.parametrize(
    ("suffix", "white", "kind"),
    [
        *[(".png", 2**bits - 1, np.uint16) for bits in (8, 10, 12, 14, 16)],
        *[(".tif", 2**bits - 1, np.uint16) for bits in (8, 10, 12, 14, 16)],
        *[(".tif", 2**bits - 1, np.int32) for bits in (8, 12, 16)],
        (".tif", 1, np.float32),
        (".tif", 255, np.float32),
        (".tif", 4095, np.float32),
        (".pgm", 65535, np.uint16),
    ],
)
def test_the_same_picture_at_every_depth(tmp_path, suffix, white, kind, at_least):
    whole = np.float32(RAMP) / 255 if white == 1 else None
    path = tmp_path / f"a{suffix}"
    if whole is not None:
        Image.fromarray(whole).save(path)
    else:
        save(path, white, kind)
    expected = read_image(save(tmp_path / "b.png", 255, np.uint8), at_least=at_least).rgb
    decoded = read_image(path, at_least=at_least)
    np.testing.assert_allclose(decoded.rgb, expected, atol=1)
    assert bool(decoded.notes) == (white not in (1, 65535))
    assert not decoded.notes or f"with {white} as white" in decoded.notes[0]


def test_a_dark_image_beside_brighter_ones_of_the_camera_stays_dark(tmp_path):
    dark = save(tmp_path / "night.png", 4095, np.uint16, share=0.05)  # no pixel above 205
    save(tmp_path / "day.png", 4095, np.uint16)
    decoded = read_image(dark)
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP * 0.05, atol=1)
    assert "with 4095 as white" in decoded.notes[0]


def test_a_dark_image_of_16_bits_stays_dark(tmp_path):
    dark = save(tmp_path / "dark.tif", 65535, np.uint16, share=0.3)
    decoded = read_image(dark)
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP * 0.3, atol=1)
    assert decoded.notes == ()


def test_what_a_tiff_file_states_needs_no_guess(tmp_path):
    tags = Image.Exif()
    tags[281] = 4095
    Image.fromarray((RAMP * 4).astype(np.uint16)).save(tmp_path / "a.tif", tiffinfo={281: 4095})
    decoded = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP * 4 * 255 / 4095, atol=1)
    assert decoded.notes == ()


def test_zero_may_be_white(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray((RAMP * 257).astype(np.uint16)).save(path, tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_allclose(read_image(path).rgb[..., 0], 255 - RAMP, atol=1)


def test_other_files_beside_it_do_no_harm(tmp_path):
    path = save(tmp_path / "a.png", 4095, np.uint16)
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "c.png").mkdir()
    save(tmp_path / "out" / "d.png", 65535, np.uint16)
    (tmp_path / "e.png").symlink_to(tmp_path / "out" / "d.png")
    assert "with 4095 as white" in read_image(path).notes[0]


def test_measured_quantities_are_read_relative_to_their_largest_value(tmp_path):
    Image.fromarray(np.float32(RAMP) / 100 + 0.001).save(tmp_path / "a.tif")
    decoded = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP, atol=1)
    assert decoded.notes == ("floating-point grey, read relative to its brightest pixels",)
    Image.fromarray((RAMP * 1000).astype(np.int32)).save(tmp_path / "b.tif")
    decoded = read_image(tmp_path / "b.tif")
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP, atol=1)
    assert "more than 16 bits" in decoded.notes[0]


def colour(most):
    return np.random.default_rng(0).integers(0, most + 1, (20, 30, 3)).astype(np.uint16)


@pytest.mark.parametrize("at_least", [None, 5])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_few_bits_in_16_is_read_in_its_own_range(tmp_path, suffix, bits, at_least):
    white = 2**bits - 1
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), colour(white)[..., ::-1])
    Image.fromarray((colour(white) / white * 255).round().astype(np.uint8)).save(tmp_path / "b.png")
    decoded = read_image(tmp_path / f"a.{suffix}", at_least=at_least)
    np.testing.assert_allclose(decoded.rgb, read_image(tmp_path / "b.png", at_least=at_least).rgb, atol=1)
    assert decoded.notes == (f"colour whose values are far below 65535, read with {white} as white",)


def test_colour_of_16_bits_needs_no_note(tmp_path):
    cv2.imwrite(str(tmp_path / "full.png"), colour(65535)[..., ::-1])
    decoded = read_image(tmp_path / "full.png")
    np.testing.assert_array_equal(decoded.rgb, colour(65535) >> 8)
    assert decoded.notes == ()


def test_dark_colour_beside_brighter_images_of_the_camera_stays_dark(tmp_path):
    cv2.imwrite(str(tmp_path / "night.png"), colour(200)[..., ::-1])
    cv2.imwrite(str(tmp_path / "day.png"), colour(4095)[..., ::-1])
    assert "with 4095 as white" in read_image(tmp_path / "night.png").notes[0]


def test_dim_16_bit_colour_with_transparency_is_pointed_out(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([colour(4095), np.full((20, 30), 65535, np.uint16)]))
    assert read_image(tmp_path / "a.png").notes == (
        "16-bit colour of which only small values are used, so the image is dark; save it with 8 bits",
    )


def test_the_orientation_of_deep_images_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.png", 4095, np.uint16)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").rgb, np.rot90(read_image(tmp_path / "a.png").rgb, -1))


@pytest.mark.parametrize("value", [20_000, 65_535])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_defective_pixels_do_not_decide_what_is_white(tmp_path, suffix, value):
    pixels = np.random.default_rng(0).integers(0, 4096, (300, 400)).astype(np.uint16)
    expected = (pixels / 4095 * 255).round()
    pixels[150, 200] = value
    expected[150, 200] = 255
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    decoded = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(decoded.rgb[..., 0], expected, atol=1)
    assert decoded.notes == ("grey whose values are far below 65535, read with 4095 as white",)


def test_the_lamps_of_a_night_picture_are_no_defective_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (300, 400)).astype(np.uint16)
    pixels[100:105, 200:205] = 4095  # 0.02 %
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = read_image(tmp_path / "a.png")
    assert decoded.rgb[:90].max() < 15 and "with 4095 as white" in decoded.notes[0]


def test_images_beside_it_count_only_if_their_pixels_have_the_same_type(tmp_path):
    path = save(tmp_path / "a.tif", 4095, np.uint16)
    save(tmp_path / "int.tif", 60_000, np.int32)
    Image.fromarray(np.float32(RAMP) * 1000).save(tmp_path / "float.tif")
    cv2.imwrite(str(tmp_path / "colour.tif"), colour(65535))
    assert "with 4095 as white" in read_image(path).notes[0]
