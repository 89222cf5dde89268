"""The object head: Fisher's discriminant, and what it learns from."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lmpnet_cli.io.checkpoints import attach_heads, load_checkpoint, part_head_spec, read_header
from lmpnet_cli.model.objects import ObjectHead
from lmpnet_cli.parts import object_head
from lmpnet_cli.parts.object_head import Discriminant, _composites, _rows_by_kind


def test_the_discriminant_is_that_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(object_head, "SHRINKAGE", 0)
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 5, generator=random)
    rows = [torch.randn(count, 5, generator=random) @ mixing + shift for count, shift in ((300, 0.0), (80, 0.7))]

    found = Discriminant()
    for kind, each in enumerate(rows):
        for batch in each.split(50):
            found.update(batch, kind)
    weight, bias = found.solve()

    labels = np.repeat([0, 1], [300, 80])
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(torch.cat(rows).numpy(), labels)
    np.testing.assert_allclose(weight, expected.coef_[0], rtol=1e-3)
    prior = np.log(80 / 300)  # here both kinds count as equally frequent
    np.testing.assert_allclose(bias, expected.intercept_ - prior, rtol=1e-3)


def test_one_kind_alone_cannot_be_told_apart():
    found = Discriminant()
    found.update(torch.ones(3, 2), 0)
    with pytest.raises(ValueError, match="received"):
        found.solve()


def test_composites_show_the_image_where_they_say_and_a_background_elsewhere():
    pixels = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    pixels[:, 0], pixels[:, :, 28:36, 28:36] = 255, 90  # red, with an object in the middle
    scenes = [np.full((64, 64, 3), (0, 40, 200), np.uint8)]
    composed, covers = _composites(pixels, range(40), scenes, seed=0)
    assert composed.shape == pixels.shape and composed.dtype == torch.uint8
    shares = covers.mean((1, 2))
    assert (shares == 1).float().mean() == pytest.approx(object_head.UNPASTED, abs=0.15)
    assert shares.min() < 0.3
    for image, cover in zip(composed, covers, strict=True):
        grey = (image[1] > 60).float()  # the object is nowhere but in the pasted image
        assert grey.sum() > 0 and (grey * (1 - cover)).sum() == 0
    again, _ = _composites(pixels, range(40), scenes, seed=0)
    assert torch.equal(composed, again)


def test_cells_at_the_edge_and_cells_that_do_not_respond_are_left_out():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, :, 0, 0], maps[0, :, 0, 1] = torch.tensor([4.0, 9.0]), 0.01
    covers = torch.zeros(1, 8, 8)
    covers[0, :3, :4] = 1  # two columns of cells, one row and a half
    beside, within = _rows_by_kind(maps, covers)
    assert within.tolist() == [[2, 3]]
    assert len(beside) == 12


def test_the_object_head_weights_square_roots():
    head = ObjectHead(2)
    head.load_state_dict({"weight": torch.tensor([1.0, -2.0]), "bias": torch.tensor([0.5])})
    maps = torch.tensor([4.0, 9.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    expected = 1 / (1 + np.exp(-(2 - 6 + 0.5)))
    np.testing.assert_allclose(head(maps), np.full((1, 3, 5), expected), rtol=1e-6)
    assert head(-maps)[0, 0, 0] == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_learning_parts_writes_an_object_head_and_renaming_keeps_it(named, tmp_path):
    model = load_checkpoint(named)
    assert model.object_head is not None and model.object_head.get_buffer("weight").abs().sum() > 0
    header = read_header(named)
    assert header["object_head"] is True
    spec = part_head_spec(header)
    assert spec is not None
    attach_heads(named, tmp_path / "copy.safetensors", spec)
    copied = load_checkpoint(tmp_path / "copy.safetensors").object_head
    assert copied is not None and torch.equal(copied.get_buffer("weight"), model.object_head.get_buffer("weight"))
