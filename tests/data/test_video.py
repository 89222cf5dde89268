"""Video: frames by number and time, keypoints as on the same images, and an overlay video."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.video import Video
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.export.report.report import report
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.progress import Progress

FRAMES, RATE, SIDE = 23, 10.0, 96


@pytest.fixture(scope="module")
def clip(birds, tmp_path_factory):
    """Drawn birds one after the other, without loss; each frame's first pixels tell its number."""
    path = tmp_path_factory.mktemp("clip") / "birds.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), RATE, (SIDE, SIDE))
    images = sorted((birds / "images").rglob("*.jpg"))[:FRAMES]
    for number, image in enumerate(images):
        frame = np.asarray(Image.open(image).convert("RGB").resize((SIDE, SIDE)))[..., ::-1].copy()
        frame[:8, :8] = 10 * number
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize(("every", "numbers"), [(1, range(FRAMES)), (5, (0, 5, 10, 15, 20)), (100, (0,))])
def test_every_nth_frame_with_its_number_and_time(clip, every, numbers):
    video = Video(clip, every)
    frames = list(video.frames())
    assert [round(float(frame.rgb[:8, :8].mean()) / 10) for frame in frames] == list(numbers)
    assert [frame.number for frame in frames] == list(numbers) and len(video) == len(numbers)
    assert [frame.index for frame in frames] == list(range(len(numbers)))
    assert [video.name(frame.index) for frame in frames] == [f"frame_{number:06d}.jpg" for number in numbers]
    assert [frame.time for frame in frames] == pytest.approx([number / RATE for number in numbers])
    batched = [frame for batch in video.batches(4) for frame in batch]
    assert [frame.number for frame in batched] == [frame.number for frame in frames]
    assert all((a.rgb == b.rgb).all() for a, b in zip(batched, frames, strict=True))


def test_keypoints_are_those_of_the_same_frames_as_images(clip, checkpoint, tmp_path):
    options = {"checkpoint": checkpoint, "method": "lmpnet", "workers": 0, "device": "cpu"}
    out = tmp_path / "out"
    video = discover(clip, every=4, out=out, **options, report=True, export="csv")
    stills = tmp_path / "stills"
    stills.mkdir()
    for frame in Video(clip, 4).frames():
        Image.fromarray(frame.rgb).save(stills / f"frame_{frame.index:06d}.png")
    images = discover(stills, **options)
    assert [each.frame for each in video.keypoints] == [0, 4, 8, 12, 16, 20]
    for one, other in zip(video.keypoints, images.keypoints, strict=True):
        np.testing.assert_array_equal(one.xy, other.xy)
        np.testing.assert_array_equal(one.scores, other.scores)
    document = json.loads((out / "keypoints.json").read_text())
    assert document["info"]["video"] == {"name": "birds.avi", "rate": RATE, "every": 4}
    assert document["images"][2] == {
        "id": 3,
        "file_name": "frame_000008.jpg",
        "width": SIDE,
        "height": SIDE,
        "frame": 8,
        "time": 0.8,
    }
    back = read_keypoints(out / "keypoints.json")
    assert [(each.frame, each.time) for each in back] == [(each.frame, each.time) for each in video.keypoints]
    drawn = Video(out / "overlays" / "birds.mp4")
    assert sum(1 for _ in drawn.frames()) == 6 and drawn.rate == pytest.approx(RATE / 4)
    assert (out / "overview.jpg").is_file() and not list(out.glob(".*"))
    rows = (out / "exports" / "csv" / "keypoints.csv").read_text().splitlines()
    assert rows[0].endswith(",visible,frame,time") and rows[-1].endswith(",20,2.0")
    page = (out / "report.html").read_text()
    assert page.count('type="text/plain" id="p') == 6


def test_frames_may_have_different_numbers_of_keypoints(clip, checkpoint, tmp_path):
    options = {"method": "saliency", "nms_radius": 4, "coarse_weight": 0, "workers": 0, "device": "cpu"}
    found = discover(clip, every=4, out=tmp_path, checkpoint=checkpoint, **options).keypoints
    numbers = [len(each.scores) for each in found]
    assert len(set(numbers)) > 1
    document = json.loads((tmp_path / "keypoints.json").read_text())
    assert len(document["categories"][0]["keypoints"]) == max(numbers) and document["info"]["k"] is None
    assert [each["num_keypoints"] for each in document["annotations"]] == numbers
    assert sum(1 for _ in Video(tmp_path / "overlays" / "birds.mp4").frames()) == len(numbers)


def test_no_overlays_leaves_no_video(clip, checkpoint, tmp_path):
    options = {
        "checkpoint": checkpoint,
        "method": "lmpnet",
        "workers": 0,
        "device": "cpu",
        "every": 10,
        "out": tmp_path,
    }
    discover(clip, **options)
    discover(clip, **options, overwrite=True, overlays=False)
    assert not (tmp_path / "overlays").exists() and not (tmp_path / "overview.jpg").exists()


def test_what_does_not_go_together_is_refused(clip, tmp_path):
    for given, message in (
        ({"images": ("photos",), "every": 2}, "--every applies only to videos"),
        ({"images": (clip, "photos")}, "pass it alone"),
        ({"images": (clip,), "shard": "1/2"}, "--shard cannot be combined with a video"),
        ({"images": (clip,), "out": "x", "export": "fiftyone"}, "needs image files"),
        ({"images": (clip,), "every": 0}, "--every 0 is out of range"),
    ):
        with pytest.raises(OptionError, match=message):
            DiscoverConfig(**given)
    with pytest.raises(InputError, match=r"none.mp4 not found"):
        Video(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        Video(tmp_path / "text.mp4")


class Told(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_a_truncated_video_ends_early_with_a_warning(clip, checkpoint, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    callback = Told()
    result = discover(
        cut, checkpoint=checkpoint, method="lmpnet", workers=0, device="cpu", out=tmp_path / "out", progress=callback
    )
    assert 0 < len(result.keypoints) < FRAMES
    assert callback.warnings == [
        f"{cut} contains only {len(result.keypoints)} of the {FRAMES} frames stated in its header."
    ]


def test_frames_that_cannot_be_decoded_are_skipped_and_named(clip, checkpoint, monkeypatch):
    whole = Video.frames

    def damaged(video):
        for frame in whole(video):
            yield replace(frame, rgb=None) if frame.number in broken else frame

    monkeypatch.setattr(Video, "frames", damaged)
    options = {"checkpoint": checkpoint, "method": "lmpnet", "workers": 0, "device": "cpu", "every": 5}
    broken = {5, 15}
    result = discover(clip, **options)
    assert [each.frame for each in result.keypoints] == [0, 10, 20]
    assert result.skipped == [(f"frame_{n:06d}.jpg", "OpenCV cannot decode this frame") for n in (5, 15)]
    broken = set(range(FRAMES))
    with pytest.raises(InputError, match="None of the 5 images"):
        discover(clip, **options)
    with pytest.raises(InputError, match="more than --max-pixels"):
        broken = set()
        discover(clip, **options, max_pixels=96)


def test_a_page_of_frames_needs_the_video_where_it_was(clip, checkpoint, tmp_path):
    discover(clip, every=10, out=tmp_path / "out", checkpoint=checkpoint, method="lmpnet", workers=0, device="cpu")
    for to in ("label-studio", "fiftyone", "yolo-pose"):
        with pytest.raises(DatasetError, match="frames of a video are not"):
            convert(tmp_path / "out", to=to, out=tmp_path / "x")
    page = report(tmp_path / "out", limit=2).path.read_text()
    assert page.count('type="text/plain" id="p') == 2
