"""The programs of examples/ that run inside annotation tools, tested with these tools' own libraries.

`make formats` installs the libraries; elsewhere the tests are skipped.
"""

import importlib
import importlib.util
import json
import logging
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import lmpnet_cli as lmpnet
from lmpnet_cli.io.bundled import bundled_examples

ROOT = Path(__file__).parent.parent
PARTS = ["belly", "crown", "wing", "breast", "beak"]
BIRDS = sorted((bundled_examples() / "images").rglob("*.jpg"))[:2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """What docs/tools.md says to run before: a result of two images, with the labels for both tools."""
    out = tmp_path_factory.mktemp("exported")
    lmpnet.discover(BIRDS, method="parts", out=out, overwrite=True, export=("cvat", "label-studio"), workers=0)
    return out


@pytest.fixture(scope="module")
def fitted(birds, checkpoint, tmp_path_factory) -> Path:
    """A model that knows landmarks."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    lmpnet.fit(birds, checkpoint=checkpoint, images=6, out=out, workers=0, device="cpu")
    return out


def expected(exported):
    """Return x and y of each part on both images, from keypoints.json."""
    annotations = json.loads((exported / "keypoints.json").read_text())["annotations"]
    return [np.array(each["keypoints"]).reshape(-1, 3) for each in annotations]


def load_program(name):
    """Import a program of examples/ as CVAT does it: from its file, and not into sys.modules."""
    spec = importlib.util.spec_from_file_location("__program__", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Task:
    """A task on a CVAT server, as far as CVAT's driver asks for it.

    Attributes:
        uploaded: the shapes that the driver uploaded.
    """

    def __init__(self, labels, images):
        self.logger = logging.getLogger("cvat")
        self.tasks = SimpleNamespace(api=self)
        self.labels = [self._label(each, 100) for each in labels]
        self.samples = [
            SimpleNamespace(frame_index=7 + number, frame_name=path.name, media=self._media(path))
            for number, path in enumerate(images)
        ]

    def _label(self, label, number):
        points = [self._label(each, number + 1 + index) for index, each in enumerate(label.get("sublabels", []))]
        return SimpleNamespace(
            id=number, name=label["name"], type=label["type"], attributes=label["attributes"], sublabels=points
        )

    def _media(self, path):
        return SimpleNamespace(load_image=lambda: Image.open(path))

    def partial_update_annotations(self, action, task_id, patched_labeled_data_request):
        assert action == "create"
        self.uploaded = patched_labeled_data_request.shapes


@pytest.fixture
def annotate(monkeypatch, exported):
    """Return what CVAT's own driver uploads for a task with the labels of the export."""
    driver = pytest.importorskip("cvat_sdk.auto_annotation.driver", reason="cvat-sdk is missing: run make formats")

    def run(function, images=BIRDS, labels=None, **options):
        task = Task(labels or json.loads((exported / "exports/cvat/labels.json").read_text()), images)
        monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: task)
        driver.annotate_task(task, 1, function, **options)
        return task

    return run


def test_cvat_s_driver_uploads_the_parts_as_skeletons(annotate, exported):
    task = annotate(load_program("cvat_function").create(device="cpu"))
    (label,) = task.labels
    assert [point.name for point in label.sublabels] == PARTS
    assert [(shape.type.value, shape.label_id, shape.frame) for shape in task.uploaded] == [
        ("skeleton", label.id, 7),
        ("skeleton", label.id, 8),
    ]
    for shape, rows in zip(task.uploaded, expected(exported), strict=True):
        assert [each.label_id for each in shape.elements] == [point.id for point in label.sublabels]
        assert [not each.outside for each in shape.elements] == (rows[:, 2] > 0).tolist()
        for element, (x, y, visible) in zip(shape.elements, rows, strict=True):
            assert not visible or element.points == pytest.approx([x, y], abs=0.01)


def test_cvat_s_threshold_hides_keypoints_and_drops_objects(annotate, exported):
    function = load_program("cvat_function").create(device="cpu")
    (scores, _) = (
        each["keypoint_scores"] for each in json.loads((exported / "keypoints.json").read_text())["annotations"]
    )
    found = [score for score in scores if score is not None]
    threshold = (min(found) + max(found)) / 2
    (shape,) = annotate(function, BIRDS[:1], conf_threshold=threshold).uploaded
    hidden = [each.outside for each in shape.elements]
    assert hidden == [score is None or score < threshold for score in scores] and 0 < sum(hidden) < 5
    middle = np.mean([each.points for each in shape.elements if not each.outside], 0)
    assert all(each.points == pytest.approx(middle) for each in shape.elements if each.outside)
    assert annotate(function, BIRDS[:1], conf_threshold=1.0).uploaded == []


def test_cvat_refuses_a_task_with_other_labels(annotate):
    interface = pytest.importorskip("cvat_sdk.auto_annotation")
    function = load_program("cvat_function").create(device="cpu", label="bird")
    with pytest.raises(interface.BadFunctionError, match="'bird' is not in dataset"):
        annotate(function)


def test_cvat_gets_landmarks_of_a_model_that_has_them(annotate, fitted, birds):
    names = lmpnet.info(fitted)["landmarks"]["names"]
    points = [{"name": name, "type": "points", "attributes": []} for name in names]
    label = {"name": "bird", "type": "skeleton", "attributes": [], "sublabels": points}
    function = load_program("cvat_function").create(
        str(fitted), "landmarks", label="bird", objects="none", device="cpu"
    )
    photo = next((birds / "images").rglob("*.jpg"))
    (shape,) = annotate(function, [photo], [label]).uploaded
    assert len(shape.elements) == len(names)
    assert not all(each.outside for each in shape.elements)


@pytest.mark.parametrize(
    ("method", "message"),
    [("landmarks", "no landmarks. Learn them with `lmpnet fit`"), ("lmpnet", "Invalid method lmpnet")],
)
def test_cvat_s_function_needs_keypoints_with_names(method, message):
    pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is missing: run make formats")
    with pytest.raises(ValueError, match=message):
        load_program("cvat_function").create(method=method)


@pytest.fixture
def label_studio(monkeypatch, tmp_path):
    """The program, with label-studio-ml or, where that is missing, with the little of it that the program uses."""
    sdk = pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is missing: run make formats")
    tools = importlib.import_module(f"{sdk.__name__}._extensions.label_studio_tools.core.utils.io")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setattr(tools, "LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    if importlib.util.find_spec("label_studio_ml") is None:
        monkeypatch.setitem(sys.modules, "label_studio_ml", ModuleType("label_studio_ml"))
        model = ModuleType("label_studio_ml.model")
        model.LabelStudioMLBase = _stand_in(tools)
        monkeypatch.setitem(sys.modules, "label_studio_ml.model", model)
    program = load_program("label_studio_backend")
    for path in BIRDS:
        shutil.copy(path, tmp_path)
    return program


def _stand_in(tools):
    """Return a class with the constructor of LabelStudioMLBase, made of functions of label-studio-sdk."""
    config = importlib.import_module("label_studio_sdk._extensions.label_studio_tools.core.label_config")

    class LabelStudioMLBase:
        def __init__(self, project_id=None, label_config=None):
            self.parsed_label_config, self.values = config.parse_config(label_config), {}
            self.setup()

        def set(self, key, value):
            self.values[key] = value

        def get_local_path(self, url, task_id=None):
            return tools.get_local_path(url, task_id=task_id)

    return LabelStudioMLBase


def tasks():
    return [
        {"id": number, "data": {"image": f"/data/local-files/?d={path.name}"}} for number, path in enumerate(BIRDS, 1)
    ]


def test_label_studio_accepts_the_predictions(label_studio, exported):
    interface = importlib.import_module("label_studio_sdk.label_interface").LabelInterface
    config = (exported / "exports/label-studio/labeling-config.xml").read_text()
    label_studio.KeypointBackend.load(device="cpu")
    predictions = label_studio.KeypointBackend(project_id="1", label_config=config).predict(tasks(), context={})
    json.dumps(predictions, allow_nan=False)
    written = json.loads((exported / "exports/label-studio/tasks.json").read_text())
    for prediction, task in zip(predictions, written, strict=True):
        assert interface(config).validate_prediction(prediction)
        assert prediction["model_version"].startswith("lmpnet parts ") and 0 < prediction["score"] <= 1
        # the same as the export of `lmpnet convert`
        theirs = task["predictions"][0]["result"]
        assert len({region["id"] for region in prediction["result"]}) == len(prediction["result"]) == len(theirs)
        for region, other in zip(prediction["result"], theirs, strict=True):
            assert {**region, "id": "", "value": "", "score": ""} == {**other, "id": "", "value": "", "score": ""}
            assert region["value"]["keypointlabels"] == other["value"]["keypointlabels"]
            assert region["value"]["x"] == pytest.approx(other["value"]["x"], abs=0.01)
            assert region["value"]["y"] == pytest.approx(other["value"]["y"], abs=0.01)


def test_label_studio_gets_only_labels_of_its_project(label_studio, exported):
    config = (exported / "exports/label-studio/labeling-config.xml").read_text()
    label_studio.KeypointBackend.load(device="cpu")
    (prediction,) = label_studio.KeypointBackend(label_config=config.replace('"beak"', '"bill"')).predict(tasks()[:1])
    labels = {region["value"]["keypointlabels"][0] for region in prediction["result"]}
    assert labels and labels <= set(PARTS) - {"beak"}
    for name in PARTS:
        config = config.replace(f'"{name}"', f'"my {name}"')
    with pytest.raises(ValueError, match=r"none of the labels belly, crown, wing, breast, beak\."):
        label_studio.KeypointBackend(label_config=config).predict(tasks()[:1])
    boxes = '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i"><Label value="a"/></RectangleLabels></View>'
    with pytest.raises(ValueError, match="has no KeyPointLabels"):
        label_studio.KeypointBackend(label_config=boxes).predict(tasks()[:1])


def test_an_unreadable_image_is_an_empty_prediction(label_studio, exported, tmp_path, caplog):
    (tmp_path / "broken.jpg").write_text("not an image")
    config = (exported / "exports/label-studio/labeling-config.xml").read_text()
    label_studio.KeypointBackend.load(device="cpu")
    broken = {"id": 9, "data": {"image": "/data/local-files/?d=broken.jpg"}}
    first, second = label_studio.KeypointBackend(label_config=config).predict([broken, *tasks()[:1]])
    assert first["result"] == [] and second["result"] and "task 9" in caplog.text


def test_label_studio_gets_landmarks_of_a_model_that_has_them(label_studio, fitted, birds, tmp_path):
    names = lmpnet.info(fitted)["landmarks"]["names"]
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    config = f'<View><Image name="photo" value="$url"/><KeyPointLabels name="marks" toName="photo">{labels}</KeyPointLabels></View>'
    shutil.copy(next((birds / "images").rglob("*.jpg")), tmp_path / "bird.jpg")
    task = {"id": 1, "data": {"url": "/data/local-files/?d=bird.jpg"}}
    label_studio.KeypointBackend.load(str(fitted), "landmarks", "none", "cpu")
    (prediction,) = label_studio.KeypointBackend(label_config=config).predict([task])
    assert prediction["result"] and {region["from_name"] for region in prediction["result"]} == {"marks"}
    assert {region["value"]["keypointlabels"][0] for region in prediction["result"]} <= set(names)


def test_label_studio_s_server_answers(label_studio, exported):
    api = pytest.importorskip(
        "label_studio_ml.api", reason="label-studio-ml 2 is missing: install it from its repository"
    )
    config = (exported / "exports/label-studio/labeling-config.xml").read_text()
    label_studio.KeypointBackend.load(device="cpu")
    client = api.init_app(label_studio.KeypointBackend).test_client()
    answer = client.post("/setup", json={"project": "1.2", "schema": config})
    assert answer.get_json()["model_version"] == label_studio.KeypointBackend.version
    answer = client.post("/predict", json={"tasks": tasks(), "project": "1.2", "label_config": config, "params": {}})
    assert [len(each["result"]) > 0 for each in answer.get_json()["results"]] == [True, True]


def test_fiftyone_takes_the_keypoints_of_the_documented_code(monkeypatch, exported):
    fiftyone = pytest.importorskip("fiftyone", reason="fiftyone is missing: run make formats")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tools.md").read_text(encoding="utf-8"), re.S)
    samples = [fiftyone.Sample(filepath=str(path)) for path in BIRDS]
    # a data set needs a database, its samples do not
    dataset = SimpleNamespace(iter_samples=lambda **_: samples, save=lambda: None)
    monkeypatch.setattr(fiftyone, "load_dataset", {"photos": dataset}.get)
    exec(compile(code, "docs/tools.md", "exec"), {})

    assert dataset.default_skeleton.labels == PARTS
    for sample, rows in zip(samples, expected(exported), strict=True):
        (keypoint,) = sample["lmpnet"].keypoints
        found = rows[:, 2] > 0
        assert np.isnan(keypoint.points).any(1).tolist() == np.isnan(keypoint.confidence).tolist() == (~found).tolist()
        with Image.open(sample.filepath) as image:
            shares = rows[:, :2] / image.size
        np.testing.assert_allclose(np.array(keypoint.points)[found], shares[found], atol=1e-4)
