"""What is an image is decided by content, then by extension."""

import io
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.data.images import image_size, read_image
from lmpnet_cli.data.kinds import START, kind_called, kind_of
from lmpnet_cli.data.listing import UnreadableImage, is_junk, list_images, tell_of_junk
from lmpnet_cli.progress import Progress

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
WRITTEN = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM", "AVIF")
UNREADABLE = {
    "photoshop": b"8BPS" + bytes(60),
    "exr": b"v/1\x01" + bytes(60),
    "jxl": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(60),
    "hdr": b"#?RADIANCE\n" + bytes(60),
    "fits": b"SIMPLE  =                    T" + bytes(60),
    "canon": b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(60),
    "fuji": b"FUJIFILMCCD-RAW 0201" + bytes(60),
}
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
OTHERS = {
    "notes.txt": b"BMW and GIF, a text that begins like an image",
    "list.csv": b"P3, P4 and P5 are names of plots\n",
    "tool.py": b"PNG = 1",
    "film.mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(60),
    "empty": b"",
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60),
}


def encoded(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["photo.jfif", "photo.JPE", "photo", "photo.dat", "photo.txt", "photo.heic", "photo.jpg"]
)
@pytest.mark.parametrize("format", WRITTEN)
def test_a_file_is_read_by_its_content_whatever_it_is_called(tmp_path, format, name):
    (tmp_path / name).write_bytes(encoded(format))
    assert [image.name for image in list_images([tmp_path])] == [name]
    decoded = read_image(tmp_path / name, at_least=8)
    assert (decoded.width, decoded.height) == image_size(tmp_path / name) == (32, 24)
    assert decoded.notes == ()


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_image_without_a_decoder_is_listed_and_named(tmp_path, name):
    (tmp_path / "scan.001").write_bytes(UNREADABLE[name])
    assert [image.name for image in list_images([tmp_path])] == ["scan.001"]
    with pytest.raises(UnreadableImage, match=r"which lmpnet does not read: (convert|export) it"):
        read_image(tmp_path / "scan.001")


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a"])
def test_heic_names_the_package_that_reads_it(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(HEIC)
    assert [image.name for image in list_images([tmp_path])] == [name]
    with pytest.raises(UnreadableImage, match=r"HEIC: install .* pip install 'lmpnet-cli\[heic\]'"):
        read_image(tmp_path / name)


def test_a_damaged_heic_file_is_still_named_as_one(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.jpg").write_bytes(HEIC)
    with pytest.raises(UnreadableImage, match=r"HEIC that pillow-heif cannot read: [A-Z]"):
        read_image(tmp_path / "a.jpg")


def test_heic_is_read_where_the_package_is_installed(tmp_path):
    pytest.importorskip("pillow_heif")
    photograph = Image.fromarray(PIXELS).resize((320, 240))
    photograph.save(tmp_path / "a.png")
    code = (
        "import sys, pillow_heif; from PIL import Image; pillow_heif.register_heif_opener(); exif = Image.Exif(); "
        "exif[0x0112] = 6; Image.open(sys.argv[1]).save(sys.argv[2], 'HEIF', exif=exif.tobytes(), quality=95)"
    )  # stored on its side; registered in a process of its own
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.png", tmp_path / "IMG_1.jpg"], check=True)
    decoded = read_image(tmp_path / "IMG_1.jpg", at_least=200)
    assert (decoded.width, decoded.height) == image_size(tmp_path / "IMG_1.jpg") == (240, 320)
    assert np.abs(decoded.rgb.astype(int) - np.rot90(np.asarray(photograph), -1)).mean() < 15
    code = (
        "import sys; from pathlib import Path; from PIL import Image; from lmpnet_cli.data.images import read_image; "
        "read_image(Path(sys.argv[1])); print('HEIF' in Image.OPEN)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "IMG_1.jpg"], capture_output=True, text=True)
    assert run.stdout == "False\n"  # what belongs to the whole process stays as it is


@pytest.mark.parametrize("name", ["a.nef", "a.CR2", "a.dng", "a.arw"])
def test_a_camera_raw_file_is_not_taken_for_its_thumbnail(tmp_path, name):
    (tmp_path / name).write_bytes(encoded("TIFF"))
    with pytest.raises(UnreadableImage, match="camera raw, which lmpnet does not read: export it"):
        read_image(tmp_path / name)
    assert len(list_images([tmp_path])) == 1


def test_a_digital_negative_is_recognised_under_another_name(tmp_path):
    tags = Image.Exif()
    tags[50706] = b"\x01\x04\x00\x00"
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", exif=tags)
    with pytest.raises(UnreadableImage, match="camera raw"):
        read_image(tmp_path / "a.tif")


def test_other_files_stay_silent(tmp_path):
    for name, content in OTHERS.items():
        (tmp_path / name).write_bytes(content)
        assert kind_of(content[:START]) is None
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "secret").write_bytes(encoded("PNG"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")  # points out of the folder, and its name says nothing
    os.mkfifo(tmp_path / "in" / "pipe")  # opening it must not wait
    (tmp_path / "in" / "a.png").write_bytes(encoded("PNG"))
    assert [image.name for image in list_images([tmp_path])] == ["a.png", "in/a.png", "in/link", "secret"]
    assert [image.name for image in list_images([tmp_path / "in"])] == ["a.png"]


def test_extensions_are_known_in_any_case():
    assert kind_called("a/b.JFIF") == kind_called("x.jpg") and kind_called("x") is None and kind_called("x.txt") is None


JUNK = ("@eaDir", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "lost+found", "System Volume Information", "__MACOSX", "#snapshot", "@Recycle", "FOUND.001", "Photos.lrdata")  # fmt: skip


@pytest.mark.parametrize("name", JUNK)
def test_folders_of_systems_are_left_out_and_counted(tmp_path, name):
    for folder in ("", "sub", name, f"sub/{name}/deeper"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "a.png").write_bytes(encoded("PNG"))
    junk: Counter[str] = Counter()
    assert [image.name for image in list_images([tmp_path], junk=junk)] == ["a.png", "sub/a.png"]
    assert junk == {name: 2}
    assert [image.name for image in list_images([tmp_path / name])] == ["a.png"]  # asked for by name


def test_junk_is_told_once_with_its_number():
    told = []
    progress = Progress()
    progress.tell = told.append
    tell_of_junk(Counter({"@eaDir": 2, "lost+found": 1}), progress)
    tell_of_junk(Counter(), progress)
    assert told == ["Left out: 3 folders with copies, thumbnails or deleted files (2 @eaDir, 1 lost+found)."]


@pytest.mark.parametrize("name", ["recycle", "lost", "eaDir", "recycled birds", "found", "macosx"])
def test_folders_of_people_are_not_junk(name):
    assert not is_junk(name)
