"""The overlay video is complete or absent, and has frames of one size."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.drawing.video_writer import VideoWriter
from lmpnet_cli.errors import OutputError


def video(name, folder):
    return SimpleNamespace(path=folder / name, rate=10.0, every=1)


def read_frames(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def test_drawings_of_different_sizes_become_frames_of_one_size(tmp_path):
    with VideoWriter(tmp_path / "out", video("odd.webm", tmp_path), True, "overview.jpg") as writer:
        for number in range(100):
            side = 64 if number % 2 else 97
            writer.add("", lambda side=side: np.full((side, side + 7, 3), 200, np.uint8))
        writer.commit()
    frames = read_frames(tmp_path / "out" / "overlays" / "odd.mp4")
    assert [frame.shape for frame in frames] == [(96, 104, 3)] * 100


def test_the_contact_sheet_is_chosen_from_the_whole_video(tmp_path):
    with VideoWriter(tmp_path / "out", video("long.mp4", tmp_path), True, "overview.jpg") as writer:
        for number in range(200):
            writer.add("", lambda number=number: np.full((64, 64, 3), number, np.uint8))
        writer.commit()
    assert len(writer.sheet_frames) <= 48  # a long video does not fill the memory
    with Image.open(tmp_path / "out" / "overview.jpg") as sheet:
        pixels = np.asarray(sheet)
    first, last = pixels[100, 100, 0], pixels[-100, -100, 0]
    assert first < 10 and last > 180


def test_without_overlays_the_earlier_ones_are_removed(tmp_path):
    for wanted in (True, False):
        with VideoWriter(tmp_path, video("a.mp4", tmp_path), wanted, "overview.jpg") as writer:
            writer.add("", lambda: np.zeros((64, 64, 3), np.uint8))
            writer.commit()
        assert (tmp_path / "overlays" / "a.mp4").exists() == (tmp_path / "overview.jpg").exists() == wanted


def test_an_incomplete_video_is_an_error_and_no_result(tmp_path):
    """OpenCV reports nothing when the disk is full, and the file is then incomplete."""
    with (
        pytest.raises(OutputError, match=r"is incomplete: 0 of 5 frames"),
        VideoWriter(tmp_path / "out", video("a.mp4", tmp_path), True, "overview.jpg") as writer,
    ):
        for _ in range(5):
            writer.add("", lambda: np.zeros((64, 64, 3), np.uint8))
        writer.settle()
        writer.encoder.release()
        whole = writer.temporary.read_bytes()
        writer.temporary.write_bytes(whole[: len(whole) // 2])
        writer.commit()
    assert [*(tmp_path / "out").iterdir()] == []
