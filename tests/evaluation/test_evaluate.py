import json
from pathlib import Path

import numpy as np
import pytest

from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.evaluation.pck import greedy_pck

OPTIONS = {"device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def metrics(birds: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("eval") / "out"
    evaluate(birds, out=out, checkpoint=checkpoint, thr=(1, 3), k=4, **OPTIONS)
    return json.loads((out / "metrics.json").read_text())


def test_keys_as_the_contract_has_them(metrics):
    assert {
        "dataset",
        "images",
        "method",
        "k",
        "alpha",
        "map_size",
        "accuracy",
        "entropy",
        "results",
        "baselines",
    } <= set(metrics)
    assert (metrics["images"], metrics["k"], metrics["alpha"], metrics["method"]) == (48, 4, 0.1, "lmpnet")
    assert metrics["map_size"] == [4, 4]
    assert [row["thr"] for row in metrics["results"]] == [1.0, 3.0]
    assert set(metrics["baselines"]) == {"image_centre", "random", "mean_shape"}
    for row in [*metrics["results"], *metrics["baselines"].values()]:
        for name in ("greedy_pck", "greedy_pck_one_to_one", "greedy_pck_bbox", "greedy_pck_bbox_one_to_one"):
            assert len(row[name]["kp"]) == 4
            assert row[name]["mean"] == pytest.approx(np.mean(row[name]["kp"]), abs=0.02)
            assert row[name]["ci95"][0] <= row[name]["mean"] <= row[name]["ci95"][1]
            assert 0 <= row[name]["mean"] <= 100
        assert 0 <= row["coverage"] <= 100
    assert 0 <= metrics["accuracy"] <= 1
    assert 0 < metrics["entropy"] <= np.log(16)


def test_the_table_is_what_discover_finds(metrics, birds, checkpoint):
    annotations = read_annotations(birds, "test")
    found = {
        each.file_name: each
        for each in discover(birds / "images", checkpoint=checkpoint, method="lmpnet", thr=3, k=4, **OPTIONS).keypoints
    }
    hits = [
        greedy_pck(found[image.name].xy, image.visible, 0.1 * min(found[image.name].width, found[image.name].height))
        for image in annotations.images
    ]
    assert metrics["results"][1]["greedy_pck"]["kp"] == pytest.approx(100 * np.mean(hits, axis=0), abs=0.01)


def test_the_baselines_are_the_trivial_ones(metrics):
    centre = metrics["baselines"]["image_centre"]
    assert len(set(centre["greedy_pck"]["kp"])) == 1
    assert centre["duplicate_rate"] == 100
    assert centre["greedy_pck_one_to_one"]["mean"] < centre["greedy_pck"]["mean"]


def test_a_coco_file_made_by_discover_scores_itself_full(birds, checkpoint, tmp_path):
    """Predictions as annotations: every keypoint is right, one-to-one too."""
    out = tmp_path / "out"
    discover(birds / "images", out=out, checkpoint=checkpoint, method="lmpnet", overlays=False, **OPTIONS)
    (birds / "images" / "keypoints.json").write_bytes((out / "keypoints.json").read_bytes())
    try:
        result = evaluate(birds / "images" / "keypoints.json", checkpoint=checkpoint, **OPTIONS).metrics
    finally:
        (birds / "images" / "keypoints.json").unlink()
    row = result["results"][0]
    assert row["greedy_pck_one_to_one"]["found_only_mean"] == 100
    assert row["coverage"] == 100
    assert result["accuracy"] is None
    assert result["mean_shape_of"] == "the other scored images"
    assert result["baselines"]["mean_shape"]["found"] > 4


def test_images_without_annotation_are_left_out_and_counted(birds, checkpoint, tmp_path):
    document = {
        "images": [
            {"id": 1, "file_name": "a.jpg"},
            {"id": 2, "file_name": "b.jpg"},
            {"id": 3, "file_name": "gone.jpg"},
            {"id": 4, "file_name": "unlabelled.jpg"},
        ],
        "categories": [{"id": 1, "name": "bird", "keypoints": ["beak"]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [20, 20, 2]},
            {"id": 2, "image_id": 2, "category_id": 1, "keypoints": [0, 0, 0]},
            {"id": 3, "image_id": 3, "category_id": 1, "keypoints": [5, 5, 2]},
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    for name, source in zip(("a.jpg", "b.jpg"), sorted((birds / "images").rglob("*.jpg")), strict=False):
        (tmp_path / name).write_bytes(source.read_bytes())
    metrics = evaluate(tmp_path / "annotations.json", checkpoint=checkpoint, **OPTIONS).metrics
    assert (metrics["images"], metrics["left_out"]) == (1, 2)
    assert [entry["file_name"] for entry in metrics["skipped"]] == ["gone.jpg"]
    assert metrics["results"][0]["greedy_pck_bbox"] is None


def test_nothing_to_score(birds, checkpoint, tmp_path):
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "keypoints": ["x"]}]}
    document["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [0, 0, 0]}]
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="labelled keypoints"):
        evaluate(tmp_path / "a.json", checkpoint=checkpoint, **OPTIONS)


def test_landmark_recall_is_the_coverage_of_each_part(metrics, birds, checkpoint):
    annotations = read_annotations(birds, "test")
    for row in [*metrics["results"], *metrics["baselines"].values()]:
        assert list(row["landmark_recall"]) == list(annotations.landmark_names)
    shown = np.sum([~np.isnan(image.landmarks[:, 0]) for image in annotations.images], axis=0)
    row = metrics["results"][0]
    reached = sum(
        count * recall / 100
        for count, recall in zip(shown, row["landmark_recall"].values(), strict=True)
        if recall is not None
    )
    assert reached / shown.sum() == pytest.approx(row["coverage"] / 100, abs=1e-3)


def test_keypoints_from_a_file_score_what_their_model_scores(metrics, birds, checkpoint, tmp_path):
    out = tmp_path / "found"
    discover(birds, out=out, checkpoint=checkpoint, method="lmpnet", thr=3, k=4, overlays=False, **OPTIONS)
    again = evaluate(birds, predictions=out / "keypoints.json", out=tmp_path / "out").metrics
    assert again["baselines"] == metrics["baselines"]
    assert (again["method"], again["k"], again["map_size"], again["entropy"]) == ("lmpnet", 4, None, None)
    assert again["accuracy"] == metrics["accuracy"]
    row, own = again["results"][0], metrics["results"][1]
    assert row["thr"] == 3.0
    for name, figure in own.items():  # positions in files are rounded to hundredths of a pixel
        if name.startswith("greedy"):
            assert row[name]["kp"] == pytest.approx(figure["kp"], abs=2.2)
    assert row["coverage"] == pytest.approx(own["coverage"], abs=1)
    assert (tmp_path / "out" / "metrics.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "out" / "run.json").read_text())["predictions"].endswith("keypoints.json")


def test_images_that_a_file_leaves_out_are_wrong_and_counted(birds, checkpoint, tmp_path):
    out = tmp_path / "found"
    discover(birds, out=out, checkpoint=checkpoint, method="lmpnet", thr=1, k=2, overlays=False, **OPTIONS)
    document = json.loads((out / "keypoints.json").read_text())
    scored = {image.name.rpartition("/")[2] for image in read_annotations(birds, "test").images}
    test_ids = [image["id"] for image in document["images"] if image["file_name"].rpartition("/")[2] in scored]
    kept = [each for each in document["annotations"] if each["image_id"] not in test_ids[:12]]
    path = tmp_path / "half.json"
    path.write_text(json.dumps(document | {"annotations": kept}))
    metrics = evaluate(birds, predictions=path).metrics
    assert metrics["left_out_because"]["images without predictions, scored as wrong"] == 12
    assert metrics["left_out_because"]["predictions for images that are not scored"] == 48  # of the training split
    assert metrics["results"][0]["found"] == pytest.approx(2 * 36 / 48, abs=0.01)
    kept[-1]["image_id"] = test_ids[-1]
    document["images"][test_ids[-1] - 1]["width"] += 40
    path.write_text(json.dumps(document | {"annotations": kept}))
    with pytest.raises(DatasetError, match="Score the keypoints on the images that they were made on"):
        evaluate(birds, predictions=path)


def annotated(folder, birds, *keypoints):
    """A COCO file about as many drawn birds as there are lists of keypoints."""
    images, annotations = [], []
    for index, points in enumerate(keypoints, start=1):
        source = sorted((birds / "images").rglob("*.jpg"))[index]
        (folder / f"{index}.jpg").write_bytes(source.read_bytes())
        images.append({"id": index, "file_name": f"{index}.jpg"})
        annotations.append({"id": index, "image_id": index, "category_id": 1, "keypoints": points})
    categories = [{"id": 1, "name": "bird", "keypoints": ["beak", "tail"]}]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    return path


def test_landmarks_outside_their_image_are_moved_or_left_out_and_counted(birds, checkpoint, tmp_path):
    path = annotated(tmp_path, birds, [10, 10, 2, -5, 20, 2], [10, 10, 2, 5000, 20, 2], [-9e9, 1, 2, 5, 9e9, 1])
    metrics = evaluate(path, checkpoint=checkpoint, **OPTIONS).metrics
    assert metrics["images"] == 2
    assert metrics["left_out"] == 1
    assert metrics["left_out_because"] == {
        "landmarks moved onto the border of their image": 1,
        "landmarks far outside their image": 3,
        "images whose landmarks are all outside": 1,
    }
    with pytest.raises(InputError, match="None of the 1 annotated images can be scored"):
        (tmp_path / "one").mkdir()
        evaluate(
            annotated(tmp_path / "one", birds, [-9e9, 1, 2, 5, 9e9, 1]), predictions=path_of_one(tmp_path), **OPTIONS
        )


def path_of_one(folder):
    path = folder / "predictions.json"
    path.write_text(json.dumps([{"image_id": 1, "keypoints": [1, 1, 1, 2, 2, 1], "score": 1}]))
    return path


def test_annotations_of_an_image_of_another_size_are_refused(birds, checkpoint, tmp_path):
    path = annotated(tmp_path, birds, [10, 10, 2, 5, 20, 2])
    document = json.loads(path.read_text())
    document["images"][0] |= {"width": 1000, "height": 700}
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"has 1000 x 700 pixels, but it has 96 x 91 pixels"):
        evaluate(path, checkpoint=checkpoint, **OPTIONS)


def test_entropy_is_the_mean_over_all_maps_that_are_not_zero(metrics, birds, checkpoint):
    from lmpnet_cli.config import EvaluateConfig
    from lmpnet_cli.data.listing import ListedImage
    from lmpnet_cli.inference.runner import open_runner
    from lmpnet_cli.model.entropy import feature_map_entropy
    from lmpnet_cli.progress import Progress

    runner = open_runner(EvaluateConfig(checkpoint=checkpoint, **OPTIONS))
    files = [ListedImage(image.path, image.name) for image in read_annotations(birds, "test").images]
    values = np.concatenate(
        [feature_map_entropy(p.maps).flatten().numpy() for _, p in runner.batches(files, Progress())]
    )
    assert metrics["entropy"] == pytest.approx(np.nanmean(values), abs=1e-3)


def test_a_sweep_computes_the_maps_once(birds, checkpoint, monkeypatch):
    from lmpnet_cli.inference.runner import ModelRunner

    calls = []
    run = ModelRunner.run
    monkeypatch.setattr(ModelRunner, "run", lambda self, pixels: calls.append(len(pixels)) or run(self, pixels))
    metrics = evaluate(birds, checkpoint=checkpoint, thr=tuple(np.arange(1, 5.5, 0.5)), **OPTIONS).metrics
    assert len(metrics["results"]) == 9
    assert sum(calls) == 2 * 48  # a first look and a second one


def test_images_that_cannot_be_read_are_counted_in_the_message(birds, tmp_path):
    path = annotated(tmp_path, birds, *[[10, 10, 2, 5, 20, 2]] * 3)
    for number in (1, 2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"None of the 3 annotated images .*3 unreadable, such as 1\.jpg"):
        evaluate(path, predictions=path_of_one(tmp_path), **OPTIONS)
