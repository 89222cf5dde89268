"""`discover` writes what the contract promises, whatever the images, their names and their number."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import DeviceError, InputError, OptionError, OutputError
from lmpnet_cli.inference.lmpnet import LMPNetPredictions, to_keypoints

OPTIONS = {"device": "cpu", "workers": 0, "method": "lmpnet"}


@pytest.fixture
def folder(birds: Path, tmp_path: Path) -> Path:
    """A few drawn birds under awkward names, and files that are not images."""
    root = tmp_path / "my photos"
    (root / "süb folder").mkdir(parents=True)
    images = sorted((birds / "images").rglob("*.jpg"))[:4]
    for image, name in zip(images, ("b.jpg", "a.png", "süb folder/ö 1.JPG", "süb folder/c.webp"), strict=True):
        convert(image, root / name)
    (root / "broken.jpg").write_bytes(b"not an image")
    (root / "notes.txt").write_text("not an image")
    return root


def convert(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.save(target)


def check_decodes(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def test_files_are_those_of_the_contract(folder, checkpoint, tmp_path):
    result = discover(folder, out=tmp_path / "out", checkpoint=checkpoint, k=4, thr=2, **OPTIONS)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [
        "a.png",
        "b.jpg",
        "süb folder/c.webp",
        "süb folder/ö 1.JPG",
    ]
    assert [image["id"] for image in document["images"]] == [1, 2, 3, 4]
    assert [entry["file_name"] for entry in document["skipped"]] == ["broken.jpg"]
    info = document["info"]
    assert (info["method"], info["k"], info["thr"], info["seed"], info["format_version"]) == ("lmpnet", 4, 2.0, 0, 1)
    assert info["checkpoint"]["name"] == "lmpnet.safetensors"
    assert len(info["checkpoint"]["sha256"]) == 64
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        points = np.reshape(annotation["keypoints"], (-1, 3))
        assert annotation["num_keypoints"] == (points[:, 2] == 2).sum()
        found = points[points[:, 2] > 0]
        assert (found[:, :2] >= 0).all()
        assert (found[:, :2] <= [image["width"] - 1, image["height"] - 1]).all()
        assert all(score is None or 0 <= score <= 1 for score in annotation["keypoint_scores"])
        assert 0 <= annotation["predicted_class"]["score"] <= 1
    for name in ("a.jpg", "b.jpg", "süb folder/c.jpg", "süb folder/ö 1.jpg"):
        check_decodes(tmp_path / "out/overlays" / name)
    check_decodes(tmp_path / "out/overview.jpg")
    assert json.loads((tmp_path / "out/run.json").read_text())["options"]["k"] == 4
    assert [each.file_name for each in result.keypoints] == [image["file_name"] for image in document["images"]]
    np.testing.assert_allclose(
        result.keypoints[0].xy[result.keypoints[0].found],
        np.reshape(document["annotations"][0]["keypoints"], (-1, 3))[result.keypoints[0].found, :2],
        atol=0.006,
    )


def test_same_bytes_for_any_batch_size_and_number_of_workers(folder, checkpoint, tmp_path):
    texts = []
    for number, (batch, workers) in enumerate(((1, 0), (3, 0), (2, 2))):
        out = tmp_path / str(number)
        discover(
            folder, out=out, checkpoint=checkpoint, batch_size=batch, **OPTIONS | {"workers": workers}, overlays=False
        )
        lines = (out / "keypoints.json").read_text().splitlines()
        texts.append([line for line in lines if "date_created" not in line])
        assert not (out / "overlays").exists()
    assert texts[0] == texts[1] == texts[2]


def test_without_out_nothing_is_written(folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert len(discover(folder / "b.jpg", checkpoint=checkpoint, **OPTIONS).keypoints) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_single_file_and_a_mix(folder, checkpoint):
    one = discover(folder / "b.jpg", checkpoint=checkpoint, **OPTIONS)
    assert [each.file_name for each in one.keypoints] == ["b.jpg"]
    mix = discover([folder / "süb folder", folder / "b.jpg"], checkpoint=checkpoint, **OPTIONS)
    assert [each.file_name for each in mix.keypoints] == ["b.jpg", "süb folder/c.webp", "süb folder/ö 1.JPG"]


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 900)])
def test_odd_sizes(size, checkpoint, tmp_path):
    Image.new("RGB", size, (200, 30, 60)).save(tmp_path / "odd.png")
    result = discover(tmp_path / "odd.png", out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)
    xy = result.keypoints[0].xy[result.keypoints[0].found]
    assert ((xy >= 0) & (xy <= np.array(size) - 1)).all()
    for annotation in json.loads((tmp_path / "out/keypoints.json").read_text())["annotations"]:
        points = np.reshape(annotation["keypoints"], (-1, 3))
        assert not ((points[:, :2] == 0).all(1) & (points[:, 2] > 0)).any()


def test_a_cell_of_the_map_becomes_its_pixel():
    """Cell (3, 9) of a 14 x 14 map over 280 x 140 pixels: x = 9.5 * 20 - 0.5, y = 3.5 * 10 - 0.5."""
    image = LoadedImage(0, "a.jpg", np.zeros((3, 8, 8), np.uint8), None, 280, 140)
    positions, scores = np.array([[[3.0, 9.0], [np.nan, np.nan]]]), np.array([[0.5, np.nan]])
    (found,) = to_keypoints([image], positions, scores, (14, 14), None, ["a"], [0.9])
    assert found.xy[0].tolist() == [189.5, 34.5]
    assert found.found.tolist() == [True, False]


def test_errors_come_before_any_work(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    discover(folder / "b.jpg", out=out, checkpoint=checkpoint, **OPTIONS)
    with pytest.raises(OutputError, match=r"keypoints\.json.*--overwrite"):
        discover(tmp_path / "no such folder", out=out, checkpoint=checkpoint, method="lmpnet")
    with pytest.raises(InputError, match="no such folder"):
        discover(tmp_path / "no such folder", checkpoint=checkpoint)
    with pytest.raises(DeviceError):
        discover(folder, checkpoint=checkpoint, method="lmpnet", device="cuda:17")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Choose another"):
        discover(folder, out=tmp_path / "file", checkpoint=checkpoint, method="lmpnet")


def test_overwriting_leaves_no_old_overlay(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    discover(folder / "b.jpg", out=out, checkpoint=checkpoint, overwrite=True, **OPTIONS)
    assert [path.name for path in (out / "overlays").rglob("*.jpg")] == ["b.jpg"]


def test_an_interrupted_run_leaves_the_earlier_result(folder, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "out"
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LMPNetPredictions, "keypoints", interrupt)
    with pytest.raises(KeyboardInterrupt):
        discover(folder / "b.jpg", out=out, checkpoint=checkpoint, overwrite=True, **OPTIONS)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(KeyboardInterrupt):
        discover(folder / "b.jpg", out=tmp_path / "new", checkpoint=checkpoint, **OPTIONS)
    assert not (tmp_path / "new").exists()


def test_its_own_drawings_are_not_inputs(folder, checkpoint):
    first = discover(folder, out=folder / "results", checkpoint=checkpoint, **OPTIONS)
    again = discover(folder, out=folder / "results", checkpoint=checkpoint, overwrite=True, **OPTIONS)
    assert [each.file_name for each in again.keypoints] == [each.file_name for each in first.keypoints]
    with pytest.raises(OutputError, match="results of an earlier run"):
        discover(folder / "results/overlays", out=folder / "results", checkpoint=checkpoint, overwrite=True, **OPTIONS)


def test_without_the_replica_no_vote_comes_from_it(folder, checkpoint):
    both, alone = (discover(folder / "b.jpg", replica=on, checkpoint=checkpoint, **OPTIONS) for on in (True, False))
    assert np.nansum(both.keypoints[0].replica_shares) > 0
    assert np.nansum(alone.keypoints[0].replica_shares) == 0


def test_drawing_changes_no_keypoint(checkpoint, tmp_path):
    random = np.random.default_rng(0).integers(0, 255, (60, 75, 3), dtype=np.uint8)
    Image.fromarray(random).resize((3000, 2400), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    drawn, plain = (
        discover(
            tmp_path / "large.jpg", out=tmp_path / str(on), overlays=on, checkpoint=checkpoint, **OPTIONS
        ).keypoints[0]
        for on in (True, False)
    )
    np.testing.assert_array_equal(drawn.xy, plain.xy)


def test_nothing_readable_writes_nothing(tmp_path, checkpoint):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/empty.jpg").touch()
    with pytest.raises(InputError, match=r"empty\.jpg"):
        discover(tmp_path / "in", out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_exif_orientation_reaches_the_file(birds, checkpoint, tmp_path):
    with Image.open(sorted((birds / "images").rglob("*.jpg"))[0]) as opened:
        image = opened.copy()
    warped = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer rotates it by 90 degrees clockwise, back to the original
    image.save(tmp_path / "plain.png")
    warped.save(tmp_path / "turned.png", exif=exif)
    plain, other = discover(tmp_path, checkpoint=checkpoint, **OPTIONS).keypoints
    assert (plain.width, plain.height) == (other.width, other.height) == image.size
    np.testing.assert_allclose(plain.xy, other.xy, atol=1e-3)


def test_arrays_and_pil_images_give_the_keypoints_of_their_files(folder, checkpoint, tmp_path):
    paths = [folder / name for name in ("a.png", "b.jpg", "süb folder/ö 1.JPG")]
    expected = discover(paths, checkpoint=checkpoint, **OPTIONS).keypoints
    opened = [Image.open(path) for path in paths]
    in_memory = [np.asarray(opened[0].convert("RGB")), opened[1], opened[2].convert("RGB")]
    for workers in (0, 2):
        result = discover(
            in_memory,
            checkpoint=checkpoint,
            method="lmpnet",
            device="cpu",
            workers=workers,
            out=tmp_path / str(workers),
        )
        names = [f"image_00000{number}.jpg" for number in range(3)]
        assert [each.file_name for each in result.keypoints] == names
        for file, found in zip(expected, result.keypoints, strict=True):
            np.testing.assert_array_equal(file.xy, found.xy)
            assert (file.width, file.height) == (found.width, found.height)
        assert sorted(path.name for path in (tmp_path / str(workers) / "overlays").iterdir()) == names
        assert not (tmp_path / str(workers) / ".chunks").exists()
    alone = discover(in_memory[0], checkpoint=checkpoint, **OPTIONS).keypoints
    np.testing.assert_array_equal(alone[0].xy, expected[0].xy)


def test_images_in_memory_are_checked(folder, checkpoint, tmp_path):
    array = np.zeros((30, 40, 3), np.uint8)
    for wrong in (array.astype(np.float32), array[..., 0], array.transpose(2, 0, 1), array[:0]):
        with pytest.raises(InputError, match=r"Image 1 is an array of shape .* Pass \(H, W, 3\) uint8 in RGB order"):
            discover([array, wrong], checkpoint=checkpoint, **OPTIONS)
    with pytest.raises(InputError, match="Image 0 is a int"):
        discover(5, checkpoint=checkpoint, **OPTIONS)
    with pytest.raises(InputError, match="not both in one list"):
        discover([array, folder], checkpoint=checkpoint, **OPTIONS)
    for option in ({"resume": True}, {"report": True}, {"export": "csv"}):
        with pytest.raises(OptionError, match=f"{next(iter(option))} needs image files"):
            discover(array, checkpoint=checkpoint, out=tmp_path / "out", **option, **OPTIONS)
    (tmp_path / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:-200])
    with Image.open(tmp_path / "cut.jpg") as truncated:
        result = discover([array, truncated], checkpoint=checkpoint, **OPTIONS)
    assert [name for name, _ in result.skipped] == ["image_000001.jpg"]
    assert discover([np.zeros((9, 9, 3), np.uint8), array], checkpoint=checkpoint, max_pixels=100, **OPTIONS).skipped
