"""The second method through the same commands as the first: files, tables, seeds, classifiers, refusals."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.inference import saliency as saliency_module
from lmpnet_cli.inference.predictor import open_predictor
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.progress import Progress
from lmpnet_cli.saliency import pipeline

OPTIONS = {"device": "cpu", "workers": 0, "method": "saliency", "coarse_stride": 16}


@pytest.fixture(scope="module")
def photos(birds: Path) -> list[Path]:
    return sorted((birds / "images").rglob("*.jpg"))[:3]


@pytest.fixture(scope="module")
def timm_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random timm classifier of five classes."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), path)
    return path


class Heard(Progress):
    def __init__(self):
        self.callback, self.advanced, self.total = [], 0, 0

    def start(self, task, total, unit="images"):
        self.total = total

    def advance(self, count, note=""):
        self.advanced += count

    def tell(self, message):
        self.callback.append(message)


def test_the_same_files_as_the_first_method(photos, checkpoint, tmp_path):
    heard = Heard()
    options = OPTIONS | {"nms_radius": 4, "panels": True, "k": 5}  # 64 pixels have few places 8 apart
    result = discover(photos, out=tmp_path / "out", checkpoint=checkpoint, progress=heard, **options)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    info = document["info"]
    assert (info["method"], info["k"], info["thr"]) == ("saliency", 5, None)
    assert info["checkpoint"]["name"] == "lmpnet.safetensors"
    assert len(document["annotations"]) == 3
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        points = np.reshape(annotation["keypoints"], (-1, 3))
        assert (points[:, 2] == 2).all() and annotation["num_keypoints"] == 5
        assert (points[:, :2] >= 0).all() and (points[:, :2] <= [image["width"] - 1, image["height"] - 1]).all()
        scores = annotation["keypoint_scores"]
        assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
        aspect = image["width"] / image["height"]
        for folder, panels in (("overlays", 1), ("panels", 5)):
            with Image.open(tmp_path / "out" / folder / Path(image["file_name"]).with_suffix(".jpg")) as photo:
                assert photo.width / photo.height == pytest.approx(panels * aspect, rel=0.1)
    assert read_keypoints(tmp_path / "out/keypoints.json")[0].file_name == result.keypoints[0].file_name
    # 64 pixels, patches of 16 without overlap: 16 copies
    assert heard.callback[0].startswith("16 occluded copies of each image: about ") and "for 3." in heard.callback[0]
    assert heard.advanced == heard.total == 3


def test_all_points_are_kept_unless_k_is_given(photos, checkpoint, tmp_path):
    options = OPTIONS | {"nms_radius": 4, "checkpoint": checkpoint}
    found = discover(photos, out=tmp_path / "out", **options).keypoints
    numbers = [len(each.scores) for each in found]
    assert len(set(numbers)) > 1 and min(numbers) > 5 and all(each.found.all() for each in found)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    names = document["categories"][0]["keypoints"]
    assert names == [f"kp{number}" for number in range(1, max(numbers) + 1)]
    assert document["info"]["k"] is None
    assert json.loads((tmp_path / "out/run.json").read_text())["options"]["k"] is None
    for annotation, number in zip(document["annotations"], numbers, strict=True):
        missing = len(names) - number
        assert annotation["num_keypoints"] == number and len(annotation["keypoints"]) == 3 * len(names)
        assert annotation["keypoints"][3 * number :] == [0, 0, 0] * missing
        assert annotation["keypoint_scores"][number:] == [None] * missing

    # the numbers do not depend on the other images of a batch, and k takes the strongest
    assert [len(each.scores) for each in discover(photos, batch_size=48, **options).keypoints] == numbers
    for all_points, few in zip(found, discover(photos, k=6, **options).keypoints, strict=True):
        np.testing.assert_array_equal(all_points.xy[:6], few.xy)
    most = discover(photos, k=max(numbers) + 1, **options).keypoints
    assert {len(each.scores) for each in most} == {max(numbers) + 1}
    assert [int(each.found.sum()) for each in most] == numbers


def test_points_lie_where_the_class_is_lost(checkpoint, tmp_path):
    """A network that knows one pixel's neighbourhood: all relevance is there, and so is the first keypoint."""
    model = load_checkpoint(checkpoint)

    class OneSpot(nn.Module):
        def forward(self, images, epsilon=None):
            spot = images[:, :, 40:44, 20:24].mean((1, 2, 3)).relu() * 3
            return torch.stack([spot, *[torch.zeros_like(spot)] * (len(model.spec.classes) - 1)], 1), images

    model.network = OneSpot()
    Image.new("RGB", (128, 64), (255, 255, 255)).save(tmp_path / "white.png")
    result = discover(tmp_path / "white.png", model=model, k=3, **OPTIONS | {"coarse_stride": 4})
    first = result.keypoints[0].xy[0]
    # rows 40 to 43 of 64 over 64 pixels, columns 20 to 23 of 64 over 128
    assert 40 - 3 <= first[1] <= 43 + 3 and 2 * (20 - 3) <= first[0] <= 2 * (24 + 3)
    assert result.keypoints[0].class_name == model.spec.classes[0]


def test_seeds_decide_and_batches_do_not(photos, checkpoint):
    def found(**options):
        results = discover(photos, checkpoint=checkpoint, k=5, **OPTIONS | options).keypoints
        return np.array([each.xy for each in results])

    first = found()
    np.testing.assert_array_equal(first, found())
    np.testing.assert_allclose(first, found(batch_size=3), atol=1e-3)
    np.testing.assert_allclose(first, found(batch_size=48), atol=1e-3)  # three photos in one pass
    assert not np.allclose(first, found(seed=1), atol=1e-3)


def test_pictures_share_a_pass_where_patches_are_few(photos, checkpoint):
    config = DiscoverConfig(images=photos, checkpoint=checkpoint, batch_size=32, **OPTIONS)
    predictor = open_predictor(config)
    assert predictor.copies == 16 and predictor.loader.batch_size == 2
    assert [len(batch) for batch, _ in predictor.batches(list_images(photos), Progress())] == [2, 1]
    assert open_predictor(replace(config, batch_size=4)).loader.batch_size == 1


def test_eval_has_one_row_and_the_same_table(birds, checkpoint, tmp_path):
    result = evaluate(birds, out=tmp_path / "out", checkpoint=checkpoint, k=4, panels=True, **OPTIONS)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics == result.metrics
    assert (metrics["method"], metrics["images"], metrics["k"], metrics["map_size"]) == ("saliency", 48, 4, None)
    (row,) = metrics["results"]
    assert row["thr"] is None and len(row["greedy_pck"]["kp"]) == 4 and 0 <= row["coverage"] <= 100
    assert 0 <= metrics["accuracy"] <= 1 and metrics["replica_accuracy"] is None and metrics["entropy"] is None
    assert len(list((tmp_path / "out/panels").rglob("*.jpg"))) == 48
    # the annotated panel is there: six panels of one photo
    name = next((birds / "images").rglob("*.jpg")).parent.name
    drawn = next((tmp_path / "out/panels" / name).iterdir())
    with Image.open(drawn) as panels, Image.open(birds / "images" / name / drawn.name) as photo:
        assert panels.width / panels.height == pytest.approx(6 * photo.width / photo.height, rel=0.1)
    # scored from the file, the same
    discover(birds / "images", out=tmp_path / "files", checkpoint=checkpoint, k=4, overlays=False, **OPTIONS)
    again = evaluate(birds, predictions=tmp_path / "files/keypoints.json")
    assert again.metrics["results"][0]["greedy_pck"] == row["greedy_pck"]
    assert again.metrics["method"] == "saliency"


def test_eval_scores_all_points_and_counts_missing_ones_as_wrong(birds, checkpoint, tmp_path):
    options = OPTIONS | {"checkpoint": checkpoint, "nms_radius": 4, "coarse_weight": 0}
    found = discover(birds / "images", out=tmp_path, overlays=False, **options).keypoints
    metrics = evaluate(birds, **options).metrics
    (row,) = metrics["results"]
    assert metrics["k"] == len(row["greedy_pck"]["kp"]) > 5 and metrics["k"] <= max(len(each.scores) for each in found)
    assert 5 < row["found"] < metrics["k"]
    score = row["greedy_pck"]
    assert score["mean"] == pytest.approx(score["found_only_mean"] * row["found"] / metrics["k"], abs=0.02)
    assert len(metrics["baselines"]["random"]["greedy_pck"]["kp"]) == metrics["k"]

    from_file = evaluate(birds, predictions=tmp_path / "keypoints.json").metrics["results"][0]
    assert from_file["greedy_pck"]["found_only_mean"] == score["found_only_mean"]
    assert from_file["coverage"] == row["coverage"]


def test_any_timm_classifier(photos, timm_weights, tmp_path):
    options = OPTIONS | {"classifier": "test_resnet", "classifier_weights": timm_weights, "size": 64}
    result = discover(photos, out=tmp_path / "out", **options)
    info = json.loads((tmp_path / "out/keypoints.json").read_text())["info"]
    assert info["classifier"] == "test_resnet"
    assert info["checkpoint"]["name"] == "resnet.safetensors" and len(info["checkpoint"]["sha256"]) == 64
    assert info["classes"] == ["0", "1", "2", "3", "4"]
    assert all(each.found.all() for each in result.keypoints)
    network = timm.create_model("test_resnet", num_classes=5).eval()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(timm_weights))
    rgb = np.asarray(Image.open(photos[0]).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    config = network.pretrained_cfg
    x = (torch.tensor(rgb / 255) - torch.tensor(config["mean"])) / torch.tensor(config["std"])
    probability = network(x.permute(2, 0, 1)[None]).softmax(1).max().item()
    assert result.keypoints[0].class_score == pytest.approx(probability, abs=0.01)


def test_vgg_runs_from_occlusion_to_points(photos, tmp_path, monkeypatch):
    """The network family of the poster, with its patch and stride, random weights and thin fully connected layers."""
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, mlp_ratio=0.01))
    torch.manual_seed(3)
    weights = tmp_path / "vgg.safetensors"
    save_file(timm.create_model("vgg11", num_classes=4).state_dict(), weights)

    options = {"classifier": "vgg11", "classifier_weights": weights, "size": 64, "nms_radius": 4, "panels": True}
    result = discover(photos[0], out=tmp_path / "out", **OPTIONS | options | {"coarse_stride": 8})
    (found,) = result.keypoints
    assert len(found.scores) > 5 and (np.diff(found.scores) <= 0).all()
    assert found.class_name in ("0", "1", "2", "3") and (tmp_path / "out/panels").is_dir()
    assert json.loads((tmp_path / "out/keypoints.json").read_text())["info"]["classifier"] == "vgg11"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classifier": "resnet999"}, OptionError, r"timm has no classifier 'resnet999'\. Similar names: .*resnet"),
        ({"classifier": "resnet18.nonsense"}, OptionError, "timm has no weights 'nonsense' of resnet18"),
        ({"classifier": "resnet200"}, OptionError, "pass a file with --classifier-weights"),
        ({"target_class": "no bird"}, OptionError, "--target-class no bird is not one of the"),
        ({"patch": 65, "coarse_stride": 65}, OptionError, "--patch 65 is larger than the input of 64 pixels"),
        ({"size": 1024, "patch": 600, "coarse_stride": 1}, OptionError, "use a larger --coarse-stride"),
        ({"classifier": "test_resnet"}, CheckpointError, "could not be downloaded"),
        (
            {"classifier": "test_resnet", "classifier_weights": Path("none")},
            CheckpointError,
            "Weight file none not found",
        ),
        ({"classifier": "resnet18", "classifier_weights": "own"}, CheckpointError, "does not fit resnet18"),
        ({"classifier": "vgg11", "classifier_weights": "own"}, CheckpointError, r"tensor head\.fc\.weight is missing"),
        ({"classifier": "test_resnet", "classifier_weights": "text"}, CheckpointError, "not a safetensors file"),
    ],
)
def test_what_cannot_be(options, error, message, photos, timm_weights, checkpoint, tmp_path):
    (tmp_path / "text").write_text("no weights")
    places = {"own": timm_weights, "text": tmp_path / "text"}
    given = options.get("classifier_weights")
    options = options | ({"classifier_weights": places.get(given, given)} if given else {})
    if "classifier" not in options:
        options["checkpoint"] = checkpoint
    with pytest.raises(error, match=message):
        discover(photos, **OPTIONS | options)


def test_networks_without_relus_are_refused_before_the_long_part(photos, tmp_path, monkeypatch):
    torch.manual_seed(0)
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=3).state_dict(), path)

    def never(*_, **__):
        raise AssertionError("occlusion has begun")

    monkeypatch.setattr("lmpnet_cli.saliency.pipeline.occlusion_scores", never)
    monkeypatch.setattr("lmpnet_cli.inference.saliency.SaliencyPredictor._cost", never)
    with pytest.raises(OptionError, match="this network calls gelu"):
        discover(photos, classifier="test_vit", classifier_weights=path, **OPTIONS)
    with pytest.raises(OptionError, match="Choose another --size"):
        discover(photos, classifier="test_vit", classifier_weights=path, size=100, **OPTIONS)


def test_a_model_and_a_classifier_are_one_too_many(photos, checkpoint):
    with pytest.raises(OptionError, match="remove one of them"):
        discover(photos, model=load_checkpoint(checkpoint), classifier="test_resnet", **OPTIONS)


def test_another_class_can_be_explained(photos, checkpoint):
    def relevance(target_class):
        config = DiscoverConfig(images=photos[:1], checkpoint=checkpoint, target_class=target_class, **OPTIONS)
        ((_, predictions),) = open_predictor(config).batches(list_images(photos[:1]), Progress())
        return predictions.relevance[0], predictions.found[0].class_name

    (coarse, fine, _), predicted = relevance(None)
    (same, *_), _ = relevance(predicted)
    np.testing.assert_array_equal(coarse, same)
    other = next(name for name in load_checkpoint(checkpoint).spec.classes if name != predicted)
    (_, other_fine, _), still = relevance(other)
    assert still == predicted  # what is explained is not what is predicted
    assert not np.allclose(fine, other_fine)


def test_without_a_weight_the_occluded_copies_are_not_made(photos, checkpoint, tmp_path):
    heard = Heard()
    config = {"checkpoint": checkpoint, "coarse_weight": 0, "progress": heard, **OPTIONS}
    plain = discover(photos, **config)
    assert heard.callback == []
    shown = discover(photos, panels=True, out=tmp_path / "out", **config)
    assert len(heard.callback) == 1
    for one, other in zip(plain.keypoints, shown.keypoints, strict=True):
        np.testing.assert_allclose(one.xy, other.xy, atol=1e-3)


def test_points_far_outside_do_not_stop_the_panels(photos, checkpoint, tmp_path):
    with Image.open(photos[0]) as photo:
        size = photo.size
        photo.save(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
                "categories": [{"id": 1, "name": "bird", "keypoints": ["a", "b"]}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [9, 9, 2, 1e9, 5, 2]}],
            }
        )
    )
    out = tmp_path / "out"
    result = evaluate(tmp_path / "a.json", out=out, checkpoint=checkpoint, panels=True, **OPTIONS)
    assert result.metrics["left_out_because"]["landmarks far outside their image"] == 1
    assert (out / "panels/a.jpg").exists()
    from lmpnet_cli.evaluation.saliency_histogram import salient

    document = salient(tmp_path / "a.json", checkpoint=checkpoint, out=tmp_path / "salient", **OPTIONS).document
    assert document["classes"] == {} and document["all"]["visible"] == {"a": 1, "b": 0}


def test_a_failing_eval_leaves_the_panels_as_they_were(birds, checkpoint, tmp_path, monkeypatch):
    options = {"out": tmp_path / "out", "checkpoint": checkpoint, "panels": True, "overwrite": True, "k": 2} | OPTIONS
    one = next((birds / "images").iterdir())
    (tmp_path / "out/panels").mkdir(parents=True)
    (tmp_path / "out/panels/old.jpg").write_text("earlier")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lmpnet_cli.evaluation.evaluate.draw_metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(birds, **options)
    assert one.exists() and [path.name for path in (tmp_path / "out").rglob("*")] == ["panels", "old.jpg"]


def test_bfloat16_stays_near(birds, timm_weights):
    """The same maps up to a hundredth of their range, on a classifier that loses something everywhere."""
    photos = sorted((birds / "images").rglob("*.jpg"))[:2]
    options = OPTIONS | {"classifier": "test_resnet", "classifier_weights": timm_weights, "size": 96}
    maps = []
    for precision in ("32", "bf16"):
        predictor = open_predictor(DiscoverConfig(images=photos, precision=precision, **options))
        logits = predictor.classifier.logits
        predictor.classifier = replace(predictor.classifier, logits=lambda x, logits=logits: 50 * logits(x))
        answers = [predictions for _, predictions in predictor.batches(list_images(photos), Progress())]
        maps.append(np.array([coarse for predictions in answers for coarse, *_ in predictions.relevance]))
    assert maps[0].max() > 0.01
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] > 0.98


def test_the_model_is_left_as_it_was(photos, checkpoint):
    model = load_checkpoint(checkpoint)
    model.train()
    flags = [module.training for module in model.modules()]
    discover(photos, model=model, **OPTIONS)
    assert [module.training for module in model.modules()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("fast", [False, True])
def test_auto_takes_bfloat16_for_the_copies_where_it_is_fast(fast, photos, checkpoint, monkeypatch):
    monkeypatch.setattr(saliency_module, "fast_bfloat16", lambda device: fast)

    def chosen(precision):
        config = DiscoverConfig(images=photos, checkpoint=checkpoint, precision=precision, **OPTIONS)
        return open_predictor(config).bfloat16

    assert [chosen(each) for each in ("auto", "32", "bf16")] == [fast, False, True]


def test_whole_copies_find_the_same_points(photos, checkpoint, monkeypatch):
    """What a network gets that cannot be shown patches, and what every network gets on a GPU."""
    options = OPTIONS | {"checkpoint": checkpoint, "precision": "32", "coarse_weight": 0.9, "coarse_stride": 8}
    local = discover(photos, **options).keypoints
    monkeypatch.setattr(saliency_module, "fast_occlusion_works", lambda classify, size, device: False)
    monkeypatch.setattr(pipeline.sparse, "score_batches", None)  # would fail if it were called
    whole = discover(photos, **options).keypoints
    for one, other in zip(local, whole, strict=True):
        np.testing.assert_allclose(one.xy, other.xy, atol=1e-3)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
