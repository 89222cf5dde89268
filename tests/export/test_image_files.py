"""No export writes into an image of the user, or removes one."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmpnet_cli.config.convert import WITH_IMAGES
from lmpnet_cli.errors import InputError, OutputError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.export.formats import image_files
from lmpnet_cli.export.formats.image_files import LIST, write_images
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

FOLDER = {"yolo-pose": "images", "fiftyone": "data"}  # of the images in an export
NAMES = ("a.jpg", "b/c.png", "b/d.jpg")


def make_photos(folder: Path, names=NAMES) -> dict[str, Path]:
    """Write files with different contents; no export decodes them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"pixels of {name}".encode())
    return {name: folder / name for name in names}


def make_result(folder: Path, photos: Path, names=NAMES) -> Path:
    """Write the results of a run on the photos."""
    points = np.array([[1.0, 2.0]])
    document = to_coco([Keypoints(name, 9, 9, points, np.ones(1)) for name in names], {}, ["beak"])
    write_json(folder / "keypoints.json", document)
    write_json(folder / "run.json", {"command": "discover", "options": {"images": [str(photos)]}})
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    make_photos(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def found(tmp_path, photos) -> Path:
    return make_result(tmp_path / "found", photos)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images_in(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if name != LIST}


@pytest.mark.parametrize("to", WITH_IMAGES)
def test_writing_into_an_export_does_not_change_the_originals(to, found, photos, tmp_path):
    before = content(photos)
    convert(found, to=to, out=tmp_path / "set")
    exported = tmp_path / "set" / FOLDER[to]
    assert content(exported) == before

    for path in exported.rglob("*"):
        if path.is_file():
            with path.open("ab") as file:  # as Ultralytics does with a JPEG without its end marker
                file.write(b"\xff\xd9")
    assert content(photos) == before


@pytest.mark.parametrize("to", WITH_IMAGES)
def test_links_are_made_on_request_and_replaced_by_copies_without(to, found, photos, tmp_path):
    out = tmp_path / "set"
    exported = {name: out / FOLDER[to] / name for name in NAMES}
    convert(found, to=to, out=out, link_images=True)
    assert {name: path.readlink() for name, path in exported.items()} == {name: photos / name for name in NAMES}
    convert(found, to=to, out=out, link_images=True, overwrite=True)
    assert all(path.readlink() == photos / name for name, path in exported.items())

    convert(found, to=to, out=out, overwrite=True)
    assert not any(path.is_symlink() for path in exported.values())
    assert content(out / FOLDER[to]) == content(photos)
    convert(found, to=to, out=out, link_images=True, overwrite=True)
    assert all(path.is_symlink() for path in exported.values())


def test_where_the_system_allows_no_links_images_are_copied(photos, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    write_images(tmp_path / "set", make_photos(photos), link=True)
    assert images_in(tmp_path / "set") == content(photos) and not (tmp_path / "set" / "a.jpg").is_symlink()


def test_links_of_an_older_version_are_replaced_and_never_written_through(photos, tmp_path):
    before = content(photos)
    out = tmp_path / "set"
    (out / "b").mkdir(parents=True)
    (out / "a.jpg").symlink_to(photos / "a.jpg")
    (out / "b" / "c.png").hardlink_to(photos / "b" / "c.png")
    (out / "b" / "d.jpg").symlink_to(photos / "a.jpg")  # of another image
    write_images(out, make_photos(photos))
    assert content(photos) == before == images_in(out)
    for name in NAMES:
        assert not (out / name).is_symlink() and not (out / name).samefile(photos / name)


def test_a_second_export_replaces_and_removes_what_the_first_one_made(found, photos, tmp_path):
    out = tmp_path / "set"
    convert(found, to="yolo-pose", out=out)
    (out / "images" / "a.jpg").write_bytes(b"changed by a training")
    (out / "images" / "mine.jpg").write_bytes(b"mine")
    (out / "labels" / "mine.txt").write_text("0 0.5 0.5 1 1")
    (out / "notes.txt").write_text("mine")
    unchanged = (out / "images" / "b" / "c.png").stat()

    few = make_result(tmp_path / "few", photos, NAMES[:2])
    convert(few, to="yolo-pose", out=out, overwrite=True)
    left = {"a.jpg", "b/c.png", "mine.jpg"}
    assert set(content(out / "images")) == left
    assert (out / "images" / "a.jpg").read_bytes() == (photos / "a.jpg").read_bytes()
    assert (out / "images" / "b" / "c.png").stat().st_ino == unchanged.st_ino  # the same content is not copied again
    assert set(content(out / "labels")) == {"a.txt", "b/c.txt", "mine.txt"} and (out / "notes.txt").is_file()

    convert(make_result(tmp_path / "one", photos, NAMES[:1]), to="yolo-pose", out=out, overwrite=True)
    assert not (out / "images" / "b").exists() and not (out / "labels" / "b").exists()
    assert set(json.loads((out / LIST).read_text())["files"]) == {"data.yaml", "images/a.jpg", "labels/a.txt"}


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("yolo-pose", "data.yaml"),
        ("yolo-pose", "labels/b/c.txt"),
        ("fiftyone", "labels.json"),
        ("cvat", "annotations.zip"),
        ("cvat", "labels.json"),
        ("label-studio", "tasks.json"),
        ("label-studio", "labeling-config.xml"),
    ],
)
def test_a_label_file_that_no_export_wrote_is_not_replaced(to, name, found, tmp_path):
    out = tmp_path / "set"
    mine = out / name
    mine.parent.mkdir(parents=True)
    mine.write_text("set by hand")
    message = re.escape(f"{mine} already exists, and no earlier export wrote it. Move it, or choose another --out.")
    with pytest.raises(OutputError, match=f"^{message}$"):
        convert(found, to=to, out=out, overwrite=True)
    assert content(out) == {name: b"set by hand"}  # nothing was written

    mine.unlink()
    convert(found, to=to, out=out, overwrite=True)
    written = mine.read_bytes()
    mine.write_text("changed")
    convert(found, to=to, out=out, overwrite=True)
    assert mine.read_bytes() == written


def test_exports_of_several_formats_in_one_folder_leave_each_other_alone(found, photos, tmp_path):
    """Tables of labels, too: they may have been corrected by hand."""
    out = tmp_path / "set"
    few = make_result(tmp_path / "few", photos, NAMES[:1])
    convert(found, to="dlc", labels="Me", out=out)
    labels = content(out / "labeled-data")
    convert(found, to="fiftyone", out=out, overwrite=True)
    for source in (found, few):
        convert(source, to="yolo-pose", out=out, overwrite=True)
        assert content(out / "labeled-data") == labels and set(content(out / "data")) == set(NAMES)
    convert(few, to="fiftyone", out=out, overwrite=True)  # still knows its files
    assert set(content(out / "data")) == set(NAMES[:1]) == set(content(out / "images"))


def test_a_link_of_the_user_is_in_the_way_as_well(found, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.yaml").symlink_to(tmp_path / "missing.yaml")
    with pytest.raises(OutputError, match=r"data\.yaml already exists, and no earlier export wrote it"):
        convert(found, to="yolo-pose", out=tmp_path / "set", overwrite=True)


@pytest.mark.parametrize("to", WITH_IMAGES)
def test_an_image_that_no_export_made_is_neither_replaced_nor_removed(to, found, photos, tmp_path):
    out = tmp_path / "set"
    theirs = out / FOLDER[to]
    (theirs / "b").mkdir(parents=True)
    (theirs / "a.jpg").write_bytes((photos / "a.jpg").read_bytes())  # the same content: stays, and stays theirs
    (theirs / "b" / "d.jpg").write_bytes(b"another bird")
    before = content(out)
    with pytest.raises(OutputError, match="already holds"):
        convert(found, to=to, out=out)
    with pytest.raises(OutputError, match=r"d\.jpg already exists and is a different image\. Choose another --out"):
        convert(found, to=to, out=out, overwrite=True)
    assert content(out) == before  # nothing was written, the labels neither

    (theirs / "b" / "d.jpg").unlink()
    convert(found, to=to, out=out, overwrite=True)
    convert(make_result(tmp_path / "few", photos, NAMES[1:]), to=to, out=out, overwrite=True)
    assert set(content(theirs)) == set(NAMES)


@pytest.mark.parametrize("link", [False, True])
def test_an_export_in_the_folder_of_the_images_leaves_them_alone(link, tmp_path):
    """The images lie where the export wants them: as in a YOLO dataset, or in data/ of FiftyOne."""
    for to, folder in FOLDER.items():
        out = tmp_path / to
        make_photos(out / folder)
        before = content(out / folder)
        inodes = {path: path.lstat().st_ino for path in (out / folder).rglob("*")}
        found = make_result(tmp_path / f"{to} found", out / folder)
        convert(found, to=to, out=out, overwrite=True, link_images=link)
        convert(make_result(found, out / folder, NAMES[:1]), to=to, out=out, overwrite=True, link_images=link)
        assert content(out / folder) == before
        assert {path: path.lstat().st_ino for path in inodes} == inodes


def test_an_export_that_contains_the_images_or_lies_among_them_leaves_them_alone(tmp_path):
    make_photos(tmp_path / "data" / "photos")
    before = content(tmp_path / "data" / "photos")
    found = make_result(tmp_path / "found", tmp_path / "data" / "photos")
    for out in (tmp_path / "data", tmp_path / "data" / "photos" / "b"):
        for to in WITH_IMAGES:
            convert(found, to=to, out=out, overwrite=True)
            assert {name: (tmp_path / "data/photos" / name).read_bytes() for name in NAMES} == before
            assert {name: (out / FOLDER[to] / name).read_bytes() for name in NAMES} == before


@pytest.mark.parametrize("link", [False, True])
def test_an_image_is_never_written_onto_another_one(link, tmp_path):
    """In the folder photos, data/b.jpg is the destination of b.jpg."""
    photos = make_photos(tmp_path / "photos", ("b.jpg", "data/b.jpg"))
    found = make_result(tmp_path / "found", tmp_path / "photos", photos)
    before = content(tmp_path / "photos")
    with pytest.raises(OutputError, match=r"data/b\.jpg is one of the images to export, and .*b\.jpg would replace it"):
        convert(found, to="fiftyone", out=tmp_path / "photos", overwrite=True, link_images=link)
    assert content(tmp_path / "photos") == before


@pytest.mark.parametrize("link", [False, True])
def test_a_linked_folder_does_not_lead_into_the_originals(link, found, photos, tmp_path):
    before = content(photos)
    out = tmp_path / "set"
    out.mkdir()
    (out / "images").symlink_to(photos)
    convert(found, to="yolo-pose", out=out, overwrite=True, link_images=link)
    convert(make_result(found, photos, NAMES[:1]), to="yolo-pose", out=out, overwrite=True, link_images=link)
    assert content(photos) == before and not any(path.is_symlink() for path in photos.rglob("*"))


def test_originals_that_are_links_stay_links(tmp_path):
    make_photos(tmp_path / "disk")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").symlink_to(tmp_path / "disk" / "a.jpg")
    write_images(tmp_path / "set", {"a.jpg": tmp_path / "photos" / "a.jpg"})
    assert not (tmp_path / "set" / "a.jpg").is_symlink()
    assert (tmp_path / "photos" / "a.jpg").is_symlink()
    write_images(tmp_path / "photos", {"a.jpg": tmp_path / "photos" / "a.jpg"}, link=True)  # no link to itself
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"pixels of a.jpg"


def test_copies_that_became_originals_are_not_removed(found, photos, tmp_path):
    """The photos are deleted after the export, and the next run reads the copies."""
    out = tmp_path / "set"
    convert(found, to="yolo-pose", out=out)
    shutil.rmtree(photos)
    again = make_result(tmp_path / "again", out / "images", NAMES[:1])
    convert(again, to="yolo-pose", out=out, overwrite=True)
    assert set(content(out / "images")) == set(NAMES)


def test_a_list_from_elsewhere_removes_nothing_outside_the_export(photos, tmp_path):
    before = content(photos)
    out = tmp_path / "set"
    out.mkdir()
    (out / "linked").symlink_to(photos)
    (out / "a.jpg").mkdir()
    listed = ["../photos/a.jpg", str(photos / "a.jpg"), "linked/a.jpg", "b/../../photos/a.jpg", "a.jpg", "", ".", "\0", "\ud800"]  # fmt: skip
    (out / LIST).write_text(json.dumps({"files": listed}))
    write_images(out, {"new/b.jpg": photos / "b" / "d.jpg"})
    assert content(photos) == before and (out / "a.jpg").is_dir()
    for damaged in ("[]", '{"files": [1]}', "no JSON"):
        (out / LIST).write_text(damaged)
        write_images(out, {"new/b.jpg": photos / "b" / "d.jpg"})
    assert not (out / LIST).exists()  # it would be empty: an equal file may be anyone's


def test_a_kill_leaves_no_half_image(photos, tmp_path, monkeypatch):
    images, out = {f"images/{name}": path for name, path in make_photos(photos).items()}, tmp_path / "set"

    def stop(source, target):
        Path(target).write_bytes(b"half")
        if Path(source).name == "c.png":
            (out / "images" / "b" / ".lmpnet-1-2.png").write_bytes(b"half")  # what `kill -9` leaves
            raise KeyboardInterrupt
        return shutil.copyfile(source, target)

    monkeypatch.setattr(image_files, "copyfile", stop)
    with pytest.raises(KeyboardInterrupt):
        write_images(out, images, further_files=["labels.txt"])
    assert [path.name for path in out.rglob("*.*") if path.is_file() and path.name[0] != "."] == ["a.jpg"]

    monkeypatch.undo()
    write_images(out, {"images/b/c.png": images["images/b/c.png"]})  # the killed run had listed a.jpg
    assert set(images_in(out)) == {"images/b/c.png"}


def test_a_full_disk_is_one_clear_error(found, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    monkeypatch.setattr(image_files, "copyfile", full)
    for to in WITH_IMAGES:
        with pytest.raises(
            OutputError, match=r"^Cannot write .*a\.jpg: No space left on device\. Choose another --out\.$"
        ):
            convert(found, to=to, out=tmp_path / to)
        assert not list((tmp_path / to / FOLDER[to]).iterdir())


def test_an_original_that_disappears_is_named(photos, tmp_path):
    images = make_photos(photos)
    images["a.jpg"].unlink()
    with pytest.raises(InputError, match=r"^Cannot read .*photos/a\.jpg\. Check that it still exists"):
        write_images(tmp_path / "set", images)


def test_what_cannot_be_written_is_one_error(photos, tmp_path):
    images = make_photos(photos)
    (tmp_path / "file").write_text("x")
    for target in ("x" * 300 + ".jpg", "file/a.jpg"):
        with pytest.raises(OutputError, match=r"^Cannot write"):
            write_images(tmp_path, {target: images["a.jpg"]})
    with pytest.raises(OutputError, match="is a different image"):
        write_images(tmp_path, {"photos": images["a.jpg"]})


def test_progress_counts_the_images(photos, tmp_path):
    class Count(Progress):
        total = done = 0

        def start(self, task, total, unit="images"):
            self.total = total

        def advance(self, count, note=""):
            self.done += count

    progress = Count()
    write_images(tmp_path / "set", make_photos(photos), progress=progress)
    assert progress.total == progress.done == 3
