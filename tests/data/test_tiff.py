"""Every kind of TIFF pixel looks like the same picture of 8 bits or is refused by name."""

import numpy as np
import pytest
import tifffile

from lmpnet_cli.data.images import image_size, read_image
from lmpnet_cli.data.listing import UnreadableImage

RAMP = np.linspace(0, 1, 20 * 30).reshape(20, 30)
RGB = np.stack([RAMP, RAMP[::-1], 1 - RAMP], axis=-1)
LARGE = np.tile(RGB, (4, 4, 1))


def scaled(shares, dtype):
    """Return shares of white in the range of a type."""
    dtype = np.dtype(dtype)
    return (shares * (1 if dtype.kind == "f" else min(np.iinfo(dtype).max, 2**60))).astype(dtype)


def write(path, shares, dtype, **options):
    photometric = options.pop("photometric", "rgb" if shares.ndim == 3 else "minisblack")
    tifffile.imwrite(path, scaled(shares, dtype), photometric=photometric, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 7}, {"tile": (16, 16)}],
)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("shares", [RAMP, RGB], ids=["grey", "rgb"])
def test_numbers_of_every_type_are_read_in_their_range(tmp_path, shares, dtype, options):
    if dtype == "i1" and "tile" in options:
        pytest.skip("OpenCV reads no tiles of signed bytes, so the file is refused")
    path = write(tmp_path / "a.tif", shares, dtype, **options)
    decoded = read_image(path)
    expected = np.broadcast_to(shares * 255 if shares.ndim == 3 else shares[..., None] * 255, RGB.shape)
    np.testing.assert_allclose(decoded.rgb, expected, atol=2.5)
    assert image_size(path) == (30, 20) == (decoded.width, decoded.height)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u2", "i2", "f4"])
def test_zero_is_white_in_files_of_both_byte_orders(tmp_path, dtype, order):
    path = write(tmp_path / "a.tif", RAMP, dtype, photometric="miniswhite", byteorder=order)
    np.testing.assert_allclose(read_image(path).rgb[..., 0], 255 - RAMP * 255, atol=1.5)


@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"rowsperstrip": 5}, {"tile": (32, 32)}, {"compression": "zlib"}]
)
def test_planes_of_16_bit_colour_are_read(tmp_path, options):
    planes = np.ascontiguousarray(LARGE.transpose(2, 0, 1))
    path = write(tmp_path / "a.tif", planes, "u2", planarconfig="separate", **options)
    np.testing.assert_allclose(read_image(path).rgb, LARGE * 255, atol=1)


def test_negative_values_are_shown(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (RAMP * 4000 - 1000).astype(np.int16))
    decoded = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(decoded.rgb[..., 0], RAMP * 255, atol=1)
    assert decoded.notes == ("grey with negative values, read from its darkest to its brightest pixels",)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_orientation_is_applied_once(tmp_path, orientation):
    tags = [(274, 3, 1, orientation, True)]
    deep, usual = (write(tmp_path / f"{dtype}.tif", RGB, dtype, extratags=tags) for dtype in ("f4", "u1"))
    np.testing.assert_allclose(read_image(deep).rgb, read_image(usual).rgb, atol=1)
    assert image_size(deep) == image_size(usual)


def test_pages_of_every_type_are_counted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RAMP] * 3), photometric="minisblack")
    assert read_image(tmp_path / "a.tif").notes == ("a file of 3 pages, of which only the first is read",)


def test_the_memory_for_large_numbers_is_bounded(tmp_path):
    path = write(tmp_path / "a.tif", RGB, "f8")  # 20 x 30 pixels of 24 bytes
    assert read_image(path, max_pixels=600 * 4).width == 30
    for reader in (read_image, image_size):
        with pytest.raises(
            UnreadableImage, match="30 x 20 pixels of 192 bits, which take more memory than --max-pixels"
        ):
            reader(path, max_pixels=600 * 3)


TRANSPARENT = np.stack([RAMP, np.ones_like(RAMP)], axis=-1)
TWO = {"photometric": "minisblack", "extrasamples": ["unassalpha"]}
REFUSED = {
    "half": (RAMP, "f2", {}, "16-bit floating-point grey in 1 channel,"),
    "half rgb": (RGB, "f2", {}, "16-bit floating-point RGB in 3 channels,"),
    "complex": (RAMP, "c8", {}, "64-bit complex grey in 1 channel,"),
    "transparent": (TRANSPARENT, "u2", TWO | {"planarconfig": "contig"}, "16-bit grey in 2 channels,"),
    "planes of grey": (TRANSPARENT.transpose(2, 0, 1).copy(), "u1", TWO | {"planarconfig": "separate"}, "8-bit grey in 2 channels and separate planes,"),
    "planes of floats": (RGB.transpose(2, 0, 1).copy(), "f4", {"planarconfig": "separate"}, "32-bit floating-point RGB in 3 channels and separate planes,"),
    "spectrum": (np.stack([RAMP] * 5, axis=-1), "u2", {"photometric": "minisblack", "planarconfig": "contig"}, "16-bit grey in 5 channels,"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_what_it_is_and_what_to_do(tmp_path, name):
    shares, dtype, options, what = REFUSED[name]
    pixels = shares.astype(dtype) if dtype in ("c8", "f2") else scaled(shares, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **{"photometric": "rgb" if "RGB" in what else "minisblack"} | options)
    for reader in (read_image, image_size):
        with pytest.raises(UnreadableImage) as caught:
            reader(tmp_path / "a.tif")
        assert str(caught.value).startswith(f"a TIFF file of {what} which lmpnet does not read")
        assert "convert it to 8-bit PNG" in str(caught.value)
