"""Make images in every format that is read, and damage files in thousands of ways."""

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

Random = np.random.Generator
INTERESTING = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def _photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(width)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=-1)
    return Image.fromarray((smooth * 0.9 + random.integers(0, 25, smooth.shape)).astype(np.uint8)).convert(mode)


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    return exif


def _others() -> list[Image.Image]:
    """Return further pages, new ones each time, since Pillow stores the settings of a format in what it has saved."""
    return [_photo(61, 43).rotate(90 * warp) for warp in (1, 2)]


def seeds() -> dict[str, bytes]:
    """Return whole images, by format and kind."""
    small, large = _photo(61, 43), _photo(2000, 1500)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey16 = Image.fromarray(np.arange(61 * 43, dtype=np.uint16).reshape(43, 61) * 20)
    paletted, clear = small.convert("P"), _photo(61, 43, "RGBA")
    clear.putalpha(small.convert("L"))
    made = {
        "jpeg": _bytes(small, "JPEG"),
        "jpeg grey": _bytes(small.convert("L"), "JPEG"),
        "jpeg cmyk": _bytes(small.convert("CMYK"), "JPEG"),
        "jpeg progressive": _bytes(small, "JPEG", progressive=True, exif=_exif(), icc_profile=profile),
        "jpeg large": _bytes(large, "JPEG", progressive=True, quality=20),
        "jpeg exif": _bytes(small, "JPEG", exif=_exif(), restart_marker_rows=1),
        "jpeg mpo": _bytes(small, "MPO", save_all=True, append_images=_others()),
        "png": _bytes(small, "PNG", exif=_exif(), icc_profile=profile),
        "png clear": _bytes(clear, "PNG"),
        "png paletted": _bytes(paletted, "PNG", transparency=3),
        "png 16 bit": _bytes(grey16, "PNG"),
        "png animated": _bytes(small, "PNG", save_all=True, append_images=_others()),
        "png large": _bytes(large.convert("P"), "PNG"),
        "webp": _bytes(small, "WEBP", exif=_exif(), icc_profile=profile),
        "webp lossless": _bytes(clear, "WEBP", lossless=True),
        "webp animated": _bytes(small, "WEBP", save_all=True, append_images=_others()),
        "gif": _bytes(paletted, "GIF"),
        "gif animated": _bytes(paletted, "GIF", save_all=True, append_images=[each.convert("P") for each in _others()]),
        "tiff": _bytes(small, "TIFF"),
        "tiff 16 bit": _bytes(grey16, "TIFF", big_tiff=True),
        "tiff float": _bytes(small.convert("F"), "TIFF", compression="tiff_lzw"),
        "tiff pages": _bytes(
            _photo(61, 43), "TIFF", save_all=True, append_images=_others(), compression="tiff_adobe_deflate"
        ),
        "tiff jpeg": _bytes(small, "TIFF", compression="jpeg"),
        "tiff fax": _bytes(small.convert("1"), "TIFF", compression="group4"),
        "tiff packed": _bytes(small.convert("CMYK"), "TIFF", compression="packbits"),
        "bmp": _bytes(small, "BMP"),
        "bmp paletted": _bytes(paletted, "BMP"),
        "bmp bits": _bytes(small.convert("1"), "BMP"),
        "jpeg2000": _bytes(small, "JPEG2000"),
        "jpeg2000 clear": _bytes(clear, "JPEG2000", tile_size=(32, 32)),
        "jpeg2000 16 bit": _bytes(grey16, "JPEG2000"),
        "avif": _bytes(small, "AVIF", exif=_exif(), icc_profile=profile, speed=10),
        "ppm": _bytes(small, "PPM"),
        "ppm 16 bit": _bytes(grey16, "PPM"),
    }
    return made


def _place(data: bytearray, random: Random) -> int:
    """Choose a position, more often in the header than among the pixels."""
    near = min(len(data), 64 if random.random() < 0.15 else 700)
    return int(random.integers(near if random.random() < 0.7 else len(data)))


def _flip(data: bytearray, random: Random, _: bytes) -> bytearray:
    for _try in range(int(random.integers(1, 9))):
        data[_place(data, random)] ^= 1 << int(random.integers(8))
    return data


def _overwrite(data: bytearray, random: Random, _: bytes) -> bytearray:
    width, order = int(random.choice([1, 2, 4, 8])), "big" if random.random() < 0.5 else "little"
    place = _place(data, random)
    number = int(random.choice(INTERESTING)) % 256**width
    data[place : place + width] = number.to_bytes(width, order)
    return data


def _truncate(data: bytearray, random: Random, _: bytes) -> bytearray:
    return data[: int(random.integers(len(data)))]


def _delete(data: bytearray, random: Random, _: bytes) -> bytearray:
    place = _place(data, random)
    del data[place : place + int(random.integers(1, 64))]
    return data


def _double(data: bytearray, random: Random, _: bytes) -> bytearray:
    place, length = _place(data, random), int(random.integers(1, 400))
    block = data[place : place + length]
    data[place:place] = block * int(random.choice([1, 1, 2, 50]))
    return data


def _insert(data: bytearray, random: Random, _: bytes) -> bytearray:
    place = _place(data, random)
    data[place:place] = random.bytes(int(random.integers(1, 40)))
    return data


def _splice(data: bytearray, random: Random, other: bytes) -> bytearray:
    here, there = _place(data, random), int(random.integers(len(other)))
    return data[:here] + other[there:]


def _disguise(data: bytearray, random: Random, other: bytes) -> bytearray:
    length = int(random.integers(2, 30))
    data[:length] = other[:length]
    return data


CHANGES: tuple[Callable[[bytearray, Random, bytes], bytearray], ...] = (
    _flip, _flip, _flip, _overwrite, _overwrite, _overwrite, _overwrite, _truncate, _delete, _double, _insert, _splice, _disguise,
)  # fmt: skip


def _fix_png(data: bytes) -> bytes:
    """Recompute the checksums, so that the damage gets past the check of them."""
    out, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + length]
        out += data[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        place += 12 + length
    return bytes(out)


def mutated(whole: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """Return the kind and the bytes of a damaged file, the same for the same number."""
    random = np.random.default_rng(number)
    names = list(whole)
    name = names[number % len(names)]
    data = bytearray(whole[name])
    for _ in range(int(random.choice([1, 1, 1, 2, 4]))):
        other = whole[names[int(random.integers(len(names)))]]
        data = CHANGES[int(random.integers(len(CHANGES)))](data, random, other)
        if not data:
            break
    result = bytes(data)
    return name, _fix_png(result) if name.startswith("png") and random.random() < 0.7 else result
