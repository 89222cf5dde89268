"""A folder full of strangers' files: everything is read or named with its reason, and nothing outside is touched."""

import io
import os
import signal
import socket
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated, seeds
from PIL import Image

from lmpnet_cli.data.images import BYTES_PER_PIXEL, MAX_SCANS, image_size, read_image, to_input
from lmpnet_cli.data.listing import LEADS_OUT, LEADS_TO_HIDDEN, UnreadableImage, list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import InputError

WHOLE = seeds()
OPTIONS = {"workers": 0, "device": "cpu", "method": "lmpnet"}


def outcome(path: Path) -> str:
    """Read a file as discover does and return "read" or the reason why not; any other exception fails the test."""
    try:
        decoded = read_image(path, 20_000_000, at_least=448)
    except UnreadableImage as error:
        assert str(error) and str(path) not in str(error)
        return str(error)
    assert to_input(decoded.rgb, 32).shape == (32, 32, 3)
    assert image_size(path) == (decoded.width, decoded.height)
    return "read"


@pytest.mark.parametrize("name", WHOLE)
def test_every_kind_of_whole_image_is_read(name, tmp_path):
    (tmp_path / "a.jpg").write_bytes(WHOLE[name])
    assert outcome(tmp_path / "a.jpg") == "read"


def test_damaged_images_are_read_or_refused(tmp_path):
    """These are the first of the tens of thousands that `make fuzz` tries."""
    outcomes = []
    for number in range(500):
        (tmp_path / "a.jpg").write_bytes(mutated(WHOLE, number)[1])
        outcomes.append(outcome(tmp_path / "a.jpg") == "read")
    assert 100 < sum(outcomes) < 400  # else the damage is too little or too much to show anything


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(WHOLE)), edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8)), max_size=6)
)
def test_any_edit_of_any_image_is_read_or_refused(tmp_path, name, edits):
    data = bytearray(WHOLE[name])
    for where, new in edits:
        place = int(where**3 * len(data))  # headers are worth more tries than pixels
        data[place : place + len(new)] = new
    (tmp_path / "a.jpg").write_bytes(bytes(data))
    outcome(tmp_path / "a.jpg")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a", b"II*\0", b"RIFF\xff\0\0\0WEBP"]))  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path, data, start):
    (tmp_path / "a.jpg").write_bytes(start + data)
    outcome(tmp_path / "a.jpg")


def png(width: int, height: int, rows: bytes = b"", colour: int = 2, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 199)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def scans(count: int) -> bytes:
    """A progressive file that repeats its last scan."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def passes(count: int) -> bytes:
    """A baseline file whose first component is scanned again and again."""
    data = jpeg(progressive=False, subsampling=0)
    start = data.index(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00\x00"
    return data[:start] + scan * count + data[start:]


def gif(width: int, height: int) -> bytes:
    small = WHOLE["gif"]
    return small[:6] + struct.pack("<HH", width, height) + small[10:]


BOMBS = {
    "giant png": (png(60_000, 60_000, zlib.compress(bytes(1000))), "60000 x 60000 pixels, more than --max-pixels"),
    "wide png": (png(2**31 - 1, 1), "2147483647 x 1 pixels"),
    "overflowing png": (png(2**32 - 1, 2**32 - 1), "."),
    "empty png": (png(0, 10), "."),
    "flat png": (png(10, 0), "."),
    "no pixels png": (png(10, 10), "."),
    "text png": (png(4, 4, zlib.compress(bytes(52)), extra=struct.pack(">I", 2**21) + b"zTXt" + b"a\0\0" + zlib.compress(bytes(2**30), 9)), "."),
    "giant gif": (gif(65_535, 65_535), "65535 x 65535 pixels"),
    "giant jpeg": (jpeg().replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 65_000, 65_000), 1), "65000 x 65000 pixels"),
    "empty jpeg": (jpeg().replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 0, 64), 1), "."),
    "scans jpeg": (scans(MAX_SCANS), "scans, which would take very long"),
    "passes jpeg": (passes(MAX_SCANS), "201 scans, which would take very long"),
    "giant bmp": (WHOLE["bmp"][:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + WHOLE["bmp"][26:], "."),
    "script": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/x) (w) file\n", "not an image that can be read"),
    "vector": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', "not an image that can be read"),
    "giant ppm": (b"P6 60000 60000 255\n" + bytes(48), "60000 x 60000 pixels, more than --max-pixels"),
    "short ppm": (b"P6 40 40 255\n" + bytes(48), "."),
    "html": (b"<html>", "not an image that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_go_off(name, tmp_path):
    data, reason = BOMBS[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match=reason):
        read_image(path, at_least=448)


def test_usual_progressive_files_have_few_scans(tmp_path):
    (tmp_path / "a.jpg").write_bytes(scans(100))
    assert read_image(tmp_path / "a.jpg").width == 64


def test_a_file_of_many_empty_bytes_is_refused_unread(tmp_path):
    with (tmp_path / "a.webp").open("wb") as file:
        file.write(WHOLE["webp"])
        file.truncate(2**40)  # on disk it takes nothing
    with pytest.raises(UnreadableImage, match="the file has 1099511627776 bytes, more than any image"):
        read_image(tmp_path / "a.webp")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(("mode", "kind", "size"), [
    ("RGBA", "PNG", (5000, 4000)), ("P", "GIF", (5000, 4000)), ("RGB", "WEBP", (5000, 4000)),
    ("CMYK", "JPEG", (5000, 4000)), ("I;16", "TIFF", (5000, 4000)), ("RGBA", "PNG", (60_000, 300)),
    ("RGBA", "JPEG2000", (2500, 2000)), ("RGBA", "AVIF", (2500, 2000)), ("I;16", "PPM", (5000, 4000)),
])  # fmt: skip
def test_memory_stays_within_the_stated_bound(mode, kind, size, tmp_path):
    Image.new(mode, size).save(tmp_path / "a.jpg", kind)

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    assert read_image(tmp_path / "a.jpg", at_least=448).width == size[0]
    assert peak() - before < BYTES_PER_PIXEL * size[0] * size[1]


def plain(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(WHOLE["jpeg"] if data is None else data)
    return path


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Two good images among everything that a file system can hold."""
    folder, outside = tmp_path / "in", tmp_path / "outside"
    plain(outside / "secret.jpg")
    plain(folder / "good.jpg")
    plain(folder / "sub" / "good too.jpg", WHOLE["png"])  # by its content, whatever its name
    plain(folder / "a\nb\t'\"<b>&%s.jpg", b"no image")
    plain(Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg")), b"no image")
    plain(folder / f"{'n' * 251}.jpg", b"no image")
    for name, (data, _) in BOMBS.items():
        plain(folder / "bombs" / f"{name}.jpg", data)
    (folder / "empty.jpg").touch()
    (folder / "directory.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.jpg").symlink_to("nothing.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "out.jpg").symlink_to(outside / "secret.jpg")
    (folder / "out too.jpg").symlink_to("../outside/secret.jpg")
    (folder / "sub" / "round").symlink_to("..")
    (folder / "elsewhere").symlink_to(outside)
    return folder


def test_every_file_is_found_or_named_with_its_reason(strange, checkpoint, tmp_path):
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(strange / "socket.jpg"))
        signal.alarm(60)  # a pipe or a device would be read for ever
        found = discover(strange, out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)
        signal.alarm(0)
    assert [each.file_name for each in found.keypoints] == ["good.jpg", "sub/good too.jpg"]
    reasons = dict(found.skipped)
    there = {
        path.relative_to(strange).as_posix()
        for path in strange.rglob("*.jpg")
        if not path.is_dir() and "round" not in path.parts
    }
    assert set(reasons) == there - {"good.jpg", "sub/good too.jpg"} | {"elsewhere"}
    assert all(reasons.values())
    for name in ("out.jpg", "out too.jpg", "device.jpg", "elsewhere"):
        assert reasons[name] == LEADS_OUT
    for name in ("fifo.jpg", "socket.jpg"):
        assert reasons[name] == "not a regular file"
    assert "symbolic links" in reasons["loop.jpg"] and "No such file" in reasons["nowhere.jpg"]
    text = (tmp_path / "out" / "keypoints.json").read_text()
    assert "secret" not in text and text.isascii()


def test_links_are_followed_when_that_is_asked_for(strange):
    names = {image.name for image in list_images([strange], follow_links=True) if not image.refused}
    assert {"out.jpg", "out too.jpg", "elsewhere/secret.jpg"} <= names
    assert not any(name.startswith("sub/round") for name in names)  # each folder once


def test_links_inside_the_folder_are_like_other_files(tmp_path):
    plain(tmp_path / "in" / "2026" / "a.jpg")
    (tmp_path / "in" / "best.jpg").symlink_to("2026/a.jpg")
    (tmp_path / "in" / "latest").symlink_to("2026")
    (tmp_path / "way").symlink_to("in")
    for folder in (tmp_path / "in", tmp_path / "way"):  # a folder that is named is itself no link out
        assert [(image.name, image.refused) for image in list_images([folder])] == [
            ("2026/a.jpg", ""),
            ("best.jpg", ""),
        ]
    assert [image.refused for image in list_images([tmp_path / "in" / "best.jpg"])] == [""]


def test_a_link_to_a_hidden_folder_is_named_or_followed(tmp_path):
    plain(tmp_path / ".store" / "album" / "a.jpg")
    (tmp_path / "album").symlink_to(".store/album")
    assert [(image.name, image.refused) for image in list_images([tmp_path])] == [("album", LEADS_TO_HIDDEN)]
    assert [(image.name, image.refused) for image in list_images([tmp_path], True)] == [("album/a.jpg", "")]


def test_no_two_files_get_one_name_and_a_named_link_is_followed(tmp_path, monkeypatch):
    for name in ("pics/a.jpg", "away/pics/a.jpg", "away/sub/b.jpg"):
        plain(tmp_path / name)
    (tmp_path / "lk").symlink_to("away/sub")
    (tmp_path / "pics" / "l.jpg").symlink_to("../away/sub/b.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"would both be called a.jpg"):
        list_images(["lk/../pics", "pics"])
    for inputs in (["pics", "pics/l.jpg"], ["pics/l.jpg", "pics"]):
        assert [(image.name, image.refused) for image in list_images(inputs)] == [("a.jpg", ""), ("l.jpg", "")]


def test_folders_that_multiply_by_links_are_searched_once(tmp_path):
    """Twenty levels of two links each would be a million folders."""
    for level in range(20):
        plain(tmp_path / f"{level}" / "a.jpg")
        for side in "lr":
            (tmp_path / f"{level}" / side).symlink_to(f"../{level + 1}")
    found = list_images([tmp_path / "0"], follow_links=True)
    assert len(found) == 20


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    plain(tmp_path / "open" / "a.jpg")
    plain(tmp_path / "closed" / "b.jpg")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = {image.name: image.refused for image in list_images([tmp_path])}
    assert found == {"open/a.jpg": "", "closed": "a folder that cannot be read: Permission denied"}
    (whole,) = list_images([tmp_path / "closed"])
    assert (whole.name, whole.refused) == (".", found["closed"])


def test_a_folder_that_cannot_be_read_at_all_is_one_message(tmp_path, monkeypatch, checkpoint):
    scandir = os.scandir

    def refuse(path):
        if Path(path) == tmp_path:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="a folder that cannot be read: Permission denied"):
        discover(tmp_path, out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)


def test_names_that_no_system_takes_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"Cannot access x+: File name too long"):
        list_images(["x" * 5000])


def test_a_folder_that_changes_while_it_is_read(birds, checkpoint, tmp_path):
    folder = tmp_path / "in"
    images = sorted((birds / "images").rglob("*.jpg"))[:8]
    for number, image in enumerate(images):
        plain(folder / f"{number}.jpg", image.read_bytes())
    from lmpnet_cli.progress import Progress

    class Meddler(Progress):
        def advance(self, count: int, note: str = "") -> None:
            for name in ("4.jpg", "5.jpg"):
                (folder / name).unlink(missing_ok=True)
            plain(folder / "6.jpg", b"another content")
            plain(folder / "9.jpg")

    result = discover(folder, out=tmp_path / "out", checkpoint=checkpoint, batch_size=4, progress=Meddler(), **OPTIONS)
    assert [each.file_name for each in result.keypoints] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "7.jpg"]
    assert [name for name, _ in result.skipped] == ["4.jpg", "5.jpg", "6.jpg"]


@pytest.mark.parametrize("value", [0, 255, 128])
def test_images_of_one_colour_give_finite_numbers(value, checkpoint, named, tmp_path):
    from lmpnet_cli.filters.visualize import visualize_filters

    for number, colour in enumerate([(value,) * 3, (value, 0, 0)]):
        Image.fromarray(np.full((50, 70, 3), colour, np.uint8)).save(tmp_path / f"{number}.png")
    for weights, method in ((checkpoint, "lmpnet"), (named, "parts")):
        options = OPTIONS | {"method": method}
        for found in discover(tmp_path, checkpoint=weights, **options).keypoints:
            assert np.isfinite(found.xy[found.found]).all() and np.isfinite(found.scores[found.found]).all()
            assert ((found.scores[found.found] >= 0) & (found.scores[found.found] <= 1)).all()
    visualize_filters(tmp_path, checkpoint=checkpoint, out=tmp_path / "out", workers=0, device="cpu", columns=3, rows=2)
