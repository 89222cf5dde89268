import json

import numpy as np
import pytest
import torch
from PIL import Image

from lmpnet_cli.config import VisualizeConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.errors import InputError, OptionError
from lmpnet_cli.filters.ranking import evenly, significant
from lmpnet_cli.filters.visualize import visualize_filters
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.progress import Progress

OPTIONS = {"device": "cpu", "workers": 0, "rows": 3, "columns": 4, "tile": 32}


def test_evenly_sampled_with_both_ends():
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(3, 8) == [0, 1, 2]
    assert evenly(5, 1) == [0]


def test_columns_by_maximum_and_rows_by_rank(birds, checkpoint, tmp_path):
    result = visualize_filters(birds / "images", out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)
    runner = open_runner(VisualizeConfig(checkpoint=checkpoint, device="cpu", workers=0))
    files = list_images([birds / "images"])
    strengths = np.concatenate([output.maps.amax((2, 3)).numpy() for _, output in runner.batches(files, Progress())])
    order = np.argsort(-strengths.max(0), kind="stable")
    assert [view.filter for view in result.filters] == [int(order[i]) for i in evenly(len(order), 4)]
    document = json.loads((tmp_path / "out/filters.json").read_text())
    names = [file.name for file in files]
    for view in document["filters"]:
        column = strengths[:, view["filter"]]
        assert view["max_activation"] == pytest.approx(column.max(), abs=1e-3)
        ranked = np.sort(column)[::-1]
        shown = [
            (r, a, f) for t in view["tiles"] for r, a, f in zip(t["ranks"], t["activations"], t["files"], strict=True)
        ]
        assert shown[0][0] == 1
        assert shown[-1][0] == len(files)
        for rank, activation, name in shown:
            assert activation == pytest.approx(ranked[rank - 1], abs=1e-3)
            assert activation == pytest.approx(column[names.index(name)], abs=1e-3)
        assert all(len(tile["files"]) == 4 for tile in view["tiles"])
    with Image.open(tmp_path / "out/filters.png") as photo:
        width, height = photo.size
    assert width > 4 * 64
    assert height > 3 * 64


def test_the_replica_has_filters_of_its_own(birds, checkpoint):
    network, replica = (
        visualize_filters(birds / "images", checkpoint=checkpoint, replica=which, **OPTIONS) for which in (False, True)
    )
    assert [view.max_activation for view in network.filters] != [view.max_activation for view in replica.filters]


def test_fewer_images_than_a_tile(birds, checkpoint):
    photo = sorted((birds / "images").rglob("*.jpg"))[0]
    result = visualize_filters(photo, checkpoint=checkpoint, **OPTIONS)
    assert [len(tile["files"]) for tile in result.filters[0].tiles] == [1]


def test_unreadable_pictures_are_listed(birds, checkpoint, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"broken\.png"):
        visualize_filters(tmp_path, checkpoint=checkpoint, **OPTIONS)
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    result = visualize_filters(tmp_path, checkpoint=checkpoint, **OPTIONS)
    assert [name for name, _ in result.skipped] == ["broken.png"]


def test_a_checkpoint_without_replica(birds, tmp_path):
    from conftest import SMALL

    from lmpnet_cli.training.train import train

    run = train(birds, out=tmp_path / "run", **SMALL | {"replica_epochs": 0})
    with pytest.raises(OptionError, match="no replica"):
        visualize_filters(birds / "images", checkpoint=run.out / "lmpnet.safetensors", replica=True, **OPTIONS)


def test_an_earlier_layer_is_shown_as_the_network_computes_it(birds, checkpoint, tmp_path):
    result = visualize_filters(birds / "images", out=tmp_path / "out", checkpoint=checkpoint, layer="layer1", **OPTIONS)
    runner = open_runner(VisualizeConfig(checkpoint=checkpoint, device="cpu", workers=0))
    network = runner.model.network.backbone.network
    strongest: list[np.ndarray] = []
    for name, module in network.named_children():
        if name == "layer1":
            module.register_forward_hook(lambda _m, _i, output: strongest.append(output.relu().amax((2, 3)).numpy()))
    for _ in runner.batches(list_images([birds / "images"]), Progress()):
        pass
    maximum = np.concatenate(strongest).max(0)
    assert [view.max_activation for view in result.filters] == pytest.approx(
        [maximum[view.filter] for view in result.filters], abs=1e-3
    )
    assert json.loads((tmp_path / "out/filters.json").read_text())["layer"] == "layer1"
    with pytest.raises(OptionError, match=r"no layer 'layer9'. It has .*layer2"):
        visualize_filters(birds / "images", checkpoint=checkpoint, layer="layer9", **OPTIONS)


def test_the_replica_s_layer_sees_the_masked_picture(birds, checkpoint):
    options = OPTIONS | {"layer": "layer2", "checkpoint": checkpoint}
    shown = [visualize_filters(birds / "images", replica=replica, **options).filters for replica in (False, True)]
    runner = open_runner(VisualizeConfig(checkpoint=checkpoint, device="cpu", workers=0))
    model, strongest, differs = runner.model, {True: [], False: []}, False
    heard: list = []
    dict(model.replica.backbone.network.named_children())["layer2"].register_forward_hook(
        lambda _m, _i, output: heard.append(output.relu().amax((2, 3)))
    )
    for photos, output in runner.batches(list_images([birds / "images"]), Progress()):
        heard.clear()
        images = model.normalize(torch.from_numpy(np.stack([photo.pixels for photo in photos])))
        with torch.inference_mode():
            for masked in (True, False):
                model.replica(model.hide_first_keypoint(images, output.maps) if masked else images)
                strongest[masked].append(heard.pop())
    tables = {masked: torch.cat(each) for masked, each in strongest.items()}
    for view in shown[1]:
        for tile in view.tiles:
            own, bare = (tables[masked][tile["images"], view.filter].tolist() for masked in (True, False))
            assert tile["activations"] == pytest.approx(own, rel=1e-4, abs=1e-6)
            differs |= tile["activations"] != pytest.approx(bare, rel=1e-4, abs=1e-6)
    assert differs


def test_weak_filters_are_as_small_as_they_are():
    assert significant(np.float32(0.000123456)) == 0.00012346
    assert significant(12345.678) == 12346.0


def test_a_comparison_of_an_earlier_run_is_not_left_beside_a_new_one(birds, checkpoint, tmp_path):
    options = OPTIONS | {"checkpoint": checkpoint, "out": tmp_path / "out"}
    photo = sorted((birds / "images").rglob("*.jpg"))[0]
    visualize_filters(photo, compare=checkpoint, **options)
    assert (tmp_path / "out/comparison.png").exists()
    visualize_filters(photo, overwrite=True, **options)
    assert not (tmp_path / "out/comparison.png").exists()


def test_several_checkpoints_in_one_picture(birds, checkpoint, tmp_path):
    from conftest import SMALL

    from lmpnet_cli.training.train import train

    other = train(birds, out=tmp_path / "run", **SMALL | {"replica_epochs": 0, "pooling": "average"}).out
    out = tmp_path / "out"
    result = visualize_filters(
        birds / "images", out=out, checkpoint=checkpoint, compare=other / "lmpnet.safetensors", **OPTIONS
    )
    assert [gallery.pooling for gallery in result.comparison] == ["leaky_max, epsilon 0.1", "average"]
    first, second = (json.loads((out / "filters.json").read_text())["comparison"][i] for i in (0, 1))
    assert first["checkpoint"]["sha256"] != second["checkpoint"]["sha256"]
    for gallery in (first, second):
        assert len(gallery["filters"]) == 3 * 4
        assert all([tile["ranks"] for tile in view["tiles"]] == [[1, 2, 3, 4]] for view in gallery["filters"])
        assert 0 < gallery["entropy"] < np.log(16)
    with Image.open(out / "comparison.png") as photo:
        heights = [gallery.drawing.shape[0] for gallery in result.comparison]
        assert photo.size == (result.comparison[0].drawing.shape[1], sum(heights))
    alone = visualize_filters(birds / "images", checkpoint=other / "lmpnet.safetensors", **OPTIONS)
    assert alone.comparison == []
    assert second["filters"][0]["max_activation"] == pytest.approx(alone.filters[0].max_activation, rel=1e-4)


def test_windows_are_shown_as_the_networks_see_them(birds, checkpoint, tmp_path, monkeypatch):
    class TopLeft:
        most = 1

        def find(self, loaded, pixels):
            return [[(0.0, 0.0, 0.5, 0.5)] for _ in loaded]

    monkeypatch.setattr("lmpnet_cli.inference.runner.first_look_of", lambda *_: TopLeft())
    for path in sorted((birds / "images").rglob("*.jpg"))[:8]:
        with Image.open(path) as opened:
            image = opened.resize((96, 80))  # half of it is whole pixels
            image.save(tmp_path / f"whole-{path.stem}.png")
            (tmp_path / "cut").mkdir(exist_ok=True)
            image.crop((0, 0, image.width // 2, image.height // 2)).save(tmp_path / f"cut/whole-{path.stem}.png")
    whole = sorted(tmp_path.glob("*.png"))
    windows = visualize_filters(whole, objects="one", checkpoint=checkpoint, out=tmp_path / "out", **OPTIONS)
    cut = visualize_filters(tmp_path / "cut", checkpoint=checkpoint, **OPTIONS)
    assert windows.filters == cut.filters
    assert np.array_equal(windows.grid, cut.grid)
    assert json.loads((tmp_path / "out/filters.json").read_text())["objects"] == "one"
    assert visualize_filters(whole, checkpoint=checkpoint, **OPTIONS).filters != cut.filters
