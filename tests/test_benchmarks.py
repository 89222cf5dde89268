"""The arithmetic of the benchmark programs."""

import sys

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("benchmark_programs")


def test_a_heat_map_gives_its_position_back():
    from fcn import positions, targets

    landmarks = torch.rand(3, 4, 2) * 0.8 + 0.1
    wanted = targets(landmarks, 56)
    torch.testing.assert_close(wanted.sum((2, 3)), torch.ones(3, 4))
    found = positions(wanted.log())
    assert (found - landmarks).abs().max() < 0.4 / 56  # 3 x 3 cells do not hold the whole Gaussian


def test_the_loss_is_least_for_the_right_maps_and_ignores_hidden_landmarks():
    from fcn import loss_of, targets

    landmarks = torch.tensor([[[0.3, 0.6], [torch.nan, torch.nan]]])
    maps = targets(landmarks, 8).log().nan_to_num(0.0).requires_grad_()
    loss = loss_of(maps, landmarks)
    share = targets(landmarks, 8)[0, 0]
    torch.testing.assert_close(loss, -(share * share.log()).sum())  # the entropy of the target, which nothing beats
    loss.backward()
    torch.testing.assert_close(maps.grad, torch.zeros_like(maps), atol=1e-6, rtol=0)
    assert loss_of(torch.randn(1, 2, 8, 8), landmarks) > loss


def test_a_mirror_swaps_left_and_right():
    from fcn import mirrored_landmarks

    # the order of CUB's landmarks after a flip, counted from 1
    cub = "back beak belly breast crown forehead left_eye left_leg left_wing nape right_eye right_leg right_wing tail"
    names = [name.replace("_", " ") for name in cub.split()] + ["throat"]
    assert [1 + index for index in mirrored_landmarks(names)] == [1, 2, 3, 4, 5, 6, 11, 12, 13, 10, 7, 8, 9, 14, 15]


def test_a_landmark_stays_on_its_pixels_through_a_crop(tmp_path):
    """A white image with one black square: the crop puts the landmark on the centre of the square, mirrored or not."""
    from fcn import LandmarkDataset
    from PIL import Image

    from lmpnet_cli.data.annotations import AnnotatedImage

    canvas = np.full((120, 180, 3), 255, np.uint8)
    canvas[70:75, 60:65] = 0
    Image.fromarray(canvas).save(tmp_path / "a.png")
    landmarks = np.array([[62.0, 72.0], [np.nan, np.nan]])
    names = ["left eye", "right eye"]
    mirrored = 0
    image = AnnotatedImage("1", tmp_path / "a.png", "a.png", landmarks, None, None)
    seen = 0
    for epoch in range(12):
        data = LandmarkDataset([image], names, 224, seed=5)
        data.epoch = epoch
        pixels, shares = data[0]
        shown = (~shares[:, 0].isnan()).nonzero().flatten().tolist()
        assert len(shown) <= 1
        if not shown:
            continue
        dark = 255 - pixels.float().mean(0)
        if dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any():
            continue  # cut
        cells = (torch.arange(224) + 0.5) / 224
        centre = torch.stack([(dark.sum(0) * cells).sum(), (dark.sum(1) * cells).sum()]) / dark.sum()
        torch.testing.assert_close(shares[shown[0]], centre, atol=0.5 / 224, rtol=0)
        seen += 1
        mirrored += shown == [1]
    assert seen > 3 and 0 < mirrored < seen
    np.testing.assert_array_equal(image.landmarks, [[62.0, 72.0], [np.nan, np.nan]])  # unchanged


def test_the_supervised_network_writes_every_landmark(birds):
    from fcn import found_landmarks

    from lmpnet_cli.data.annotations import read_annotations

    class Diagonal(torch.nn.Module):
        """Answers landmark i in cell (i, i)."""

        def forward(self, images):
            return 100 * torch.eye(15).diag_embed().expand(len(images), -1, -1, -1)

    annotations = read_annotations(birds, "test")
    results = found_landmarks(Diagonal(), annotations.images[:2], 64)
    assert len(annotations.landmark_names) == 15 and [each.file_name for each in results] == [
        image.name for image in annotations.images[:2]
    ]
    for result in results:
        expected = (np.arange(15)[:, None] + 0.5) / 15 * (result.width, result.height) - 0.5
        np.testing.assert_allclose(result.xy, expected, atol=1e-3)


def test_landmarks_are_sampled_by_number_and_by_accuracy(birds, tmp_path, monkeypatch):
    import json

    import sample_landmarks

    from lmpnet_cli.data.annotations import read_annotations
    from lmpnet_cli.data.images import image_size
    from lmpnet_cli.evaluation.evaluate import evaluate
    from lmpnet_cli.io.coco import to_coco
    from lmpnet_cli.io.files import write_json
    from lmpnet_cli.keypoints import Keypoints

    # landmark i is predicted far outside on a share of the images that differs from landmark to landmark
    annotations = read_annotations(birds, "test")
    names, random = annotations.landmark_names, np.random.default_rng(0)
    share = dict(zip(names, random.permutation(len(names)) / len(names), strict=True))
    results = []
    for image in annotations.images:
        xy = np.tile(image.visible[0], (len(names), 1))
        xy[random.random(len(names)) < [share[name] for name in names]] = 999
        results.append(Keypoints(image.name, *image_size(image.listed.readable), xy, np.ones(len(names))))
    every = tmp_path / "all.json"
    write_json(every, to_coco(results, {"method": "fcn"}, names))
    accuracies = evaluate(birds, predictions=every, out=tmp_path / "all").metrics["results"][0]["greedy_pck"]["kp"]

    def sampled(*options):
        out = tmp_path / f"{len(options)}.json"
        monkeypatch.setattr(sys, "argv", ["sample_landmarks.py", str(every), "-o", str(out), *options])
        sample_landmarks.main()
        scores = evaluate(birds, predictions=out).metrics
        assert scores["method"] == "fcn"
        return json.loads(out.read_text())["categories"][0]["keypoints"], scores["results"][0]["greedy_pck"]["kp"]

    by_number, scores = sampled()
    assert by_number == [names[index] for index in (0, 4, 7, 10, 14)]
    assert scores == [accuracies[index] for index in (0, 4, 7, 10, 14)]
    by_accuracy, scores = sampled("--sorted-by", str(tmp_path / "all/metrics.json"))
    falling = sorted(accuracies, reverse=True)
    assert scores == [falling[index] for index in (0, 4, 7, 10, 14)] and by_accuracy != by_number
    assert by_accuracy[0] == names[int(np.argmax(accuracies))]


def test_a_subset_is_a_whole_cub_folder(birds, tmp_path):
    from paper import subset

    from lmpnet_cli.data.annotations import read_annotations
    from lmpnet_cli.data.datasets import read_cub

    folder = subset(birds, tmp_path / "subset", 2)
    whole, half = read_cub(birds), read_cub(folder)
    assert len(half.classes) == len(whole.classes) / 2
    assert {s.source for s in half.samples} == {s.source for s in whole.samples if s.class_name in half.classes}
    assert all(sample.path.exists() for sample in half.samples)
    assert len(read_annotations(folder, "all").images) == len(half.samples)


def test_a_step_is_done_once_and_not_taken_for_another(tmp_path):
    from paper import Steps

    step = Steps(tmp_path)
    append = "import sys; open(sys.argv[1], 'a').write('x')"
    for _ in range(2):
        step(tmp_path / "sub.txt", "python", "-c", append, tmp_path / "sub.txt")
    assert (tmp_path / "sub.txt").read_text() == "x"
    with pytest.raises(SystemExit, match="comes from another command"):
        step(tmp_path / "sub.txt", "python", "-c", append + ";", tmp_path / "sub.txt")


def test_a_failed_step_ends_the_program_with_its_command(tmp_path):
    from paper import Steps

    with pytest.raises(SystemExit, match=r"This command failed, .*\npython -c 'raise SystemExit\(1\)'"):
        Steps(tmp_path)(tmp_path / "never.txt", "python", "-c", "raise SystemExit(1)")


def test_an_error_that_the_user_can_fix_is_one_message(tmp_path):
    from program import run_program

    from lmpnet_cli.data.annotations import read_annotations

    with pytest.raises(SystemExit, match=r"^Error: Data set .*missing not found"):
        run_program(lambda: read_annotations(tmp_path / "missing"))


def test_the_keypoints_of_two_runs_are_compared_by_distance():
    from reproducibility import moved

    from lmpnet_cli.keypoints import Keypoints

    def run(*xy):
        return [Keypoints("a.jpg", 9, 9, np.array(xy), np.ones(len(xy)))]

    nowhere = (np.nan, np.nan)
    assert moved(run((1.0, 1.0), (2.0, 2.0)), run((1.0, 1.0), (5.0, 6.0))) == ("1 of 2", 5.0)
    assert moved(run((1.0, 1.0), nowhere), run((1.0, 1.0), (5.0, 6.0))) == ("0 of 2, 1 appear or vanish", 0.0)
    assert moved(run((1.0, 1.0), nowhere), run((1.0, 1.0), nowhere)) == ("0 of 2", 0.0)


def test_measures_of_maps_by_hand():
    from entropy import other_measures, quarters

    maps = torch.zeros(1, 4, 6, 6)
    maps[0, 0, 2, 3] = 2.0  # one peak, in the middle third of both sides
    maps[0, 1, 0, 0] = maps[0, 1, 5, 5] = 1.0  # two, in the corners
    maps[0, 2] = 0.5  # everywhere; its first maximum is a corner
    maps[0, 3, 3, 3] = 4.0
    softmax, zeros, middle = other_measures(maps)
    assert middle == 0.5 and zeros.item() == pytest.approx((35 + 34 + 0 + 35) / 144)
    assert 0 < softmax < np.log(36)
    entropy, share, count = quarters(maps)
    assert count.tolist() == [4, 1, 1, 1, 1]
    # by strength: 4, 2, 1, 0.5
    assert entropy.tolist() == pytest.approx([np.log(2) + np.log(36), 0, 0, np.log(2), np.log(36)], abs=1e-6)
    assert share.tolist() == pytest.approx([2.5 + 1 / 36, 1, 1, 0.5, 1 / 36])


def test_the_benchmark_of_parts_scores_what_the_commands_make(birds, checkpoint, tmp_path, monkeypatch):
    import json

    import parts
    from conftest import shorten_descents

    from lmpnet_cli.evaluation.evaluate import evaluate
    from lmpnet_cli.parts.learn_parts import learn_parts

    shorten_descents(monkeypatch)
    arguments = [
        "parts.py",
        str(birds),
        "--checkpoint",
        str(checkpoint),
        "--k",
        "3",
        "--out",
        str(tmp_path / "a.json"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    parts.main()
    (row,) = json.loads((tmp_path / "a.json").read_text())["results"]
    learn_parts(birds, checkpoint=checkpoint, k=3, out=tmp_path / "v", batch_size=32, workers=0, device="cpu")
    same = evaluate(birds, checkpoint=tmp_path / "v/lmpnet.safetensors", workers=0, device="cpu").metrics["parts"]
    assert row["threshold"] == same["threshold"]
    for name in ("landmark_regression", "voronoi", "map_based", "consistency", "found", "greedy_pck"):
        assert row[name] == same[name], name


def test_a_measurement_is_stored_for_a_resumed_run(tmp_path):
    import os

    from speed import run_once

    first = run_once(tmp_path / "x.json", os.getpid)
    assert first != os.getpid() and run_once(tmp_path / "x.json", os.getpid) == first
