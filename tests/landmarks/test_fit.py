"""`lmpnet fit`, and what discover, eval and the exports do with the landmarks."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError, DatasetError, InputError, OptionError, OutputError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.io.files import write_json
from lmpnet_cli.landmarks.fit import draw_images, fit
from lmpnet_cli.progress import Progress

OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}
LANDMARKS = OPTIONS | {"method": "landmarks"}


class Warnings(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture(scope="module")
def fitted(birds, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "run"
    return fit(birds, checkpoint=checkpoint, images=12, out=out, **OPTIONS)


@pytest.fixture
def coco(birds, tmp_path):
    """The first eight drawn birds as a COCO file beside its images; the crown is never visible."""
    annotations = read_annotations(birds, "train")
    images, entries = [], []
    for number, image in enumerate(annotations.images[:8], start=1):
        (tmp_path / "photos" / image.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image.path, tmp_path / "photos" / image.name)
        images.append({"id": number, "file_name": image.name})
        points = np.column_stack([np.nan_to_num(image.landmarks), np.where(np.isnan(image.landmarks[:, 0]), 0, 2)])
        points[annotations.landmark_names.index("crown")] = 0
        entries.append({"id": number, "image_id": number, "category_id": 1, "keypoints": points.flatten().tolist()})
    category = {"id": 1, "name": "bird", "keypoints": list(annotations.landmark_names)}
    document = {"images": images, "annotations": entries, "categories": [category]}
    write_json(tmp_path / "photos" / "landmarks.json", document)
    return tmp_path / "photos" / "landmarks.json", document


def test_the_checkpoint_has_the_landmarks_and_everything_else_as_it_was(birds, checkpoint, fitted):
    model = load_checkpoint(fitted.out)
    assert model.landmark_head.spec.names == fitted.names == read_annotations(birds).landmark_names
    assert model.landmark_head.spec.learned_from == {"images": 12, "seed": 0, "data": ["birds"]}
    with safe_open(checkpoint, "pt") as before, safe_open(fitted.out / "lmpnet.safetensors", "pt") as after:
        heads = set(after.keys()) - set(before.keys())
        assert heads and all(key.startswith("landmark_head.") for key in heads)
        assert all((before.get_tensor(key) == after.get_tensor(key)).all() for key in before.keys())  # noqa: SIM118


def test_the_document_says_what_was_learned_from_what_and_how_well(birds, fitted):
    document = json.loads((fitted.out / "fit.json").read_text())
    assert document == fitted.document
    chosen = draw_images(read_annotations(birds, "train").images, 12, 0)
    assert document["files"] == [image.name for image in chosen] and document["images"] == 12
    checked = document["cross_validation"]
    assert checked["folds"] == 5 and set(checked["landmarks"]["by_landmark"]) == set(fitted.names)
    assert document["visible_on"] == {name: row["images"] for name, row in checked["landmarks"]["by_landmark"].items()}
    assert (fitted.out / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_draws_the_same_images_and_another_one_others(birds):
    annotations = read_annotations(birds, "train")
    first, again, other = (draw_images(annotations.images, 6, seed) for seed in (0, 0, 1))
    names = [[image.name for image in drawn] for drawn in (first, again, other)]
    assert names[0] == names[1] == sorted(names[0]) != names[2]
    assert len(draw_images(annotations.images, 10**6, 0)) == len(annotations.images)


def test_discover_finds_landmarks_by_name(birds, fitted, tmp_path):
    result = discover(birds / "images", checkpoint=fitted.out, out=tmp_path / "out", **LANDMARKS)
    assert (result.method, result.names) == ("landmarks", fitted.names)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["categories"][0]["keypoints"] == list(fitted.names)
    assert "landmark of that name" in document["info"]["description"] and document["info"]["thr"] is None
    threshold = load_checkpoint(fitted.out).landmark_head.get_buffer("threshold").numpy()
    for each in read_keypoints(tmp_path / "out/keypoints.json"):
        assert (each.scores >= threshold - 1e-4)[each.found].all() and np.isnan(each.scores[~each.found]).all()


def test_a_run_that_was_stopped_is_resumed_with_the_same_images_to_review(birds, fitted, tmp_path):
    class Stopped(Progress):
        images = 0

        def advance(self, count, note=""):
            self.images += count
            if self.images > 20:
                raise KeyboardInterrupt

    options = LANDMARKS | {"checkpoint": fitted.out, "review": 4, "report": True}
    with pytest.raises(KeyboardInterrupt):
        discover(birds / "images", out=tmp_path / "stopped", progress=Stopped(), **options)
    discover(birds / "images", out=tmp_path / "stopped", resume=True, **options)
    discover(birds / "images", out=tmp_path / "whole", **options)
    listed = (tmp_path / "stopped/review.csv").read_text()
    assert listed == (tmp_path / "whole/review.csv").read_text()

    page = (tmp_path / "stopped/report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    shown = [data["gallery"]["images"][each["position"]]["file"] for each in data["review"]]
    assert shown == [line.split(",")[1] for line in listed.splitlines()[1:]] and len(shown) == 4


def test_eval_scores_landmarks_by_name(birds, fitted, tmp_path):
    metrics = evaluate(birds, checkpoint=fitted.out, out=tmp_path / "eval", **LANDMARKS).metrics
    scores = metrics["landmarks"]
    assert metrics["method"] == "landmarks" and metrics["results"][0]["thr"] is None
    assert scores["alpha"] == 0.1 and set(scores["by_landmark"]) == set(fitted.names)
    assert scores["not_learned"] == scores["not_annotated"] == []

    # the same by hand, from what discover writes
    annotated = [image for image in read_annotations(birds).images if len(image.visible)]
    found = {each.file_name: each for each in discover(birds / "images", checkpoint=fitted.out, **LANDMARKS).keypoints}
    hits = []
    for image in annotated:
        distance = np.linalg.norm(found[image.name].xy - image.landmarks, axis=1)
        hits += (distance < 0.1 * max(image.bbox[2:]))[~np.isnan(image.landmarks[:, 0])].tolist()
    assert scores["pck"] == pytest.approx(100 * np.mean(hits), abs=0.01)
    assert json.loads((tmp_path / "eval/metrics.json").read_text())["landmarks"] == scores


def test_corrections_and_other_coco_files_can_be_learned_from(checkpoint, coco, tmp_path):
    path, _ = coco
    told = Warnings()
    result = fit(path, checkpoint=checkpoint, progress=told, **OPTIONS)
    assert result.images == 8 and "crown" not in result.names and result.out is None
    assert "Not learned, since no image shows them: crown." in told.warnings
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "landmarks.json"
    path.rename(moved)
    with pytest.raises(InputError, match=r"None of the 8 images can be read"):
        fit(moved, checkpoint=checkpoint, **OPTIONS)
    assert fit(moved, checkpoint=checkpoint, image_folder=tmp_path / "photos", **OPTIONS).images == 8


def test_a_folder_without_a_training_split_is_learned_from_as_a_whole(birds, checkpoint, tmp_path):
    shutil.copytree(birds, tmp_path / "birds")
    split = tmp_path / "birds" / "train_test_split.txt"
    split.write_text("".join(f"{line.split()[0]} 0\n" for line in split.read_text().splitlines()))
    told = Warnings()
    result = fit(tmp_path / "birds", checkpoint=checkpoint, images=5, progress=told, **OPTIONS)
    assert result.images == 5 and any("has no training images, so all" in each for each in told.warnings)


def test_several_files_are_joined_and_the_last_annotation_of_an_image_counts(checkpoint, coco, tmp_path):
    path, document = coco
    names, entries = document["categories"][0]["keypoints"], document["annotations"]
    again = tmp_path / "photos" / "again.json"
    hidden = [*entries[0]["keypoints"][:-3], 0, 0, 0]
    other = {"images": document["images"][:1], "categories": document["categories"]}
    write_json(again, other | {"annotations": [entries[0] | {"keypoints": hidden}]})

    alone = fit(path, checkpoint=checkpoint, **OPTIONS).document["visible_on"]
    joined = fit((path, again), checkpoint=checkpoint, **OPTIONS)
    assert joined.images == 8 and joined.document["visible_on"][names[-1]] == alone[names[-1]] - 1

    reordered = [names[-1], *names[:-1]]
    moved = [*entries[0]["keypoints"][-3:], *entries[0]["keypoints"][:-3]]
    other["categories"] = [document["categories"][0] | {"keypoints": reordered}]
    write_json(again, other | {"annotations": [entries[0] | {"keypoints": moved}]})
    assert fit((path, again), checkpoint=checkpoint, **OPTIONS).document["visible_on"] == alone

    other["categories"] = [document["categories"][0] | {"keypoints": ["claw", *names[1:]]}]
    write_json(again, other | {"annotations": entries[:1]})
    with pytest.raises(DatasetError, match=rf"do not have the same landmarks \({names[0]}, claw: only in one"):
        fit((path, again), checkpoint=checkpoint, **OPTIONS)


def test_one_image_is_learned_from_and_said_to_be_too_few(birds, checkpoint, tmp_path):
    told = Warnings()
    result = fit(birds, checkpoint=checkpoint, images=1, out=tmp_path / "one", progress=told, **OPTIONS)
    assert result.document["cross_validation"] is None and not (tmp_path / "one/fit.png").exists()
    assert any("Learned from one image, so nothing could be checked" in each for each in told.warnings)
    assert discover(birds / "images", checkpoint=tmp_path / "one", **LANDMARKS).keypoints


def test_few_images_and_rare_landmarks_are_named(checkpoint, coco):
    path, document = coco
    for entry in document["annotations"][2:]:
        entry["keypoints"][:3] = [0, 0, 0]
    write_json(path, document)
    told = Warnings()
    name = fit(path, checkpoint=checkpoint, progress=told, **OPTIONS).names[0]
    assert any("from 8 images; the cross-validated figures are only a rough guide" in each for each in told.warnings)
    assert any(f"Visible on fewer than 3 images: {name} (2)" in each for each in told.warnings)


def test_objects_of_another_category_are_left_out(checkpoint, coco):
    path, document = coco
    names = [*document["categories"][0]["keypoints"]]
    document["categories"].append({"id": 2, "name": "nest", "keypoints": names[::-1]})
    document["annotations"][3]["category_id"] = 2
    write_json(path, document)
    told = Warnings()
    assert fit(path, checkpoint=checkpoint, progress=told, **OPTIONS).images == 7
    assert any("left out 1 objects of another category, with other keypoints" in each for each in told.warnings)


def test_annotations_without_a_visible_landmark_are_refused(checkpoint, coco):
    path, document = coco
    for entry in document["annotations"]:
        entry["keypoints"] = [0.0] * len(entry["keypoints"])
    write_json(path, document)
    with pytest.raises(DatasetError, match="no annotations with labelled keypoints"):
        fit(path, checkpoint=checkpoint, **OPTIONS)


def test_names_that_differ_are_one_error_before_the_work(fitted, coco):
    path, document = coco
    document["categories"][0]["keypoints"] = [f"p{i}" for i in range(len(fitted.names))]
    write_json(path, document)
    with pytest.raises(DatasetError, match=r"No landmark of the model .* has the name of an annotated one \(p0, p1"):
        evaluate(path, checkpoint=fitted.out, **LANDMARKS)


def test_a_landmark_that_the_model_does_not_know_counts_as_missing(fitted, coco):
    path, document = coco
    document["categories"][0]["keypoints"][0] = "claw"
    write_json(path, document)
    scores = evaluate(path, checkpoint=fitted.out, parts=False, **LANDMARKS).metrics["landmarks"]
    assert scores["not_learned"] == ["claw"] and scores["not_annotated"] == [fitted.names[0]]
    assert scores["by_landmark"]["claw"]["pck"] == 0 and scores["by_landmark"]["claw"]["found"] == 0


def test_models_without_landmarks_and_options_that_do_not_fit(birds, checkpoint, fitted, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no landmarks. Learn them: `lmpnet fit DATA -c"):
        discover(birds / "images", checkpoint=checkpoint, **LANDMARKS)
    with pytest.raises(OptionError, match=rf"--k 2 does not fit: this model has {len(fitted.names)} landmarks"):
        discover(birds / "images", checkpoint=fitted.out, k=2, **LANDMARKS)
    with pytest.raises(OptionError, match=r"--thr .*belongs to --method lmpnet"):
        discover(birds / "images", checkpoint=fitted.out, thr=3, **LANDMARKS)
    with pytest.raises(OptionError, match="--size 96 differs from the model's input size"):
        fit(birds, checkpoint=checkpoint, size=96, **OPTIONS)
    (tmp_path / "fit.json").write_text("mine")
    with pytest.raises(OutputError, match="already holds"):
        fit(birds, checkpoint=checkpoint, out=tmp_path, **OPTIONS)
    assert (tmp_path / "fit.json").read_text() == "mine"


def test_the_command_says_what_to_do_next(birds, checkpoint, tmp_path):
    out = tmp_path / "out"
    arguments = ["fit", str(birds), "-c", str(checkpoint), "--images", "10", "--out", str(out)]
    run = CliRunner().invoke(app, [*arguments, "--workers", "0", "--device", "cpu"])
    assert run.exit_code == 0, run.stderr
    assert "10 images" in run.stderr and "of the visible landmarks within 10%" in run.stderr
    assert f"lmpnet discover IMAGES -c {out} --method landmarks" in run.stderr
    assert {path.name for path in out.iterdir()} >= {"lmpnet.safetensors", "fit.json", "fit.png", "run.json"}
    again = CliRunner().invoke(app, [*arguments, "--overwrite", "--json", "--workers", "0", "--device", "cpu"])
    assert json.loads(again.stdout)["images"] == 10
