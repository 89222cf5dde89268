"""What happens where memory does not suffice for a batch."""

import pytest
import torch
from torch import nn

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import DeviceError
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

OPTIONS = {"workers": 0, "device": "cpu", "method": "lmpnet", "precision": "32"}


class Told(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def small_memory(monkeypatch, limit: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "CUDA") -> list:
    """Let the model fail on batches of more than `limit` images; return the sizes that it is given."""
    sizes = []
    forward = LMPNet.forward

    def limited(self, images, reading):
        sizes.append(len(images))
        if len(images) > limit:
            raise error(text)
        return forward(self, images, reading)

    monkeypatch.setattr(LMPNet, "forward", limited)
    return sizes


@pytest.mark.parametrize(
    ("error", "text"),
    [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you")],
)
def test_the_batch_is_halved_and_nothing_is_lost_or_doubled(birds, checkpoint, monkeypatch, error, text):
    whole = discover(birds / "images", checkpoint=checkpoint, batch_size=16, objects="none", **OPTIONS)
    sizes = small_memory(monkeypatch, 5, error, text)
    callback = Told()
    options = OPTIONS | {"objects": "none", "progress": callback}
    halved = discover(birds / "images", checkpoint=checkpoint, batch_size=16, **options)
    assert sizes[:3] == [16, 8, 4] and set(sizes[3:]) == {4}  # the smaller batch stays
    assert [each.file_name for each in halved.keypoints] == [each.file_name for each in whole.keypoints]
    for one, other in zip(whole.keypoints, halved.keypoints, strict=True):
        assert abs(one.xy - other.xy).max() < 0.01 and one.class_name == other.class_name
    assert len(callback.warnings) == 1 and "continuing with 4" in callback.warnings[0]


def test_a_batch_that_does_not_divide_keeps_its_rest(checkpoint, monkeypatch):
    runner = open_runner(DiscoverConfig(images="x", checkpoint=checkpoint, **OPTIONS))
    pixels = torch.randint(0, 256, (7, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = runner.run(pixels)
    sizes = small_memory(monkeypatch, 3)
    found = runner.run(pixels)
    assert sizes == [7, 3, 3, 1]
    for name in ("maps", "logits", "replica_maps", "replica_logits"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


def test_where_one_image_is_too_much_there_is_a_message(birds, checkpoint, monkeypatch):
    small_memory(monkeypatch, 0)
    with pytest.raises(DeviceError, match="not have enough memory for one image"):
        discover(birds / "images", checkpoint=checkpoint, **OPTIONS)


def test_other_errors_stay_what_they_are(birds, checkpoint, monkeypatch):
    small_memory(monkeypatch, 0, RuntimeError, "mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        discover(birds / "images", checkpoint=checkpoint, **OPTIONS)


def test_batch_norms_are_folded_in_a_checkpoint_and_left_in_the_model_of_a_caller():
    def batch_norms(model: LMPNet) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())

    own = load_checkpoint()
    config = DiscoverConfig(images=(), device="cpu")
    assert batch_norms(open_runner(config).model) == 0 < batch_norms(own)
    assert batch_norms(open_runner(config, own).model) == batch_norms(own)
