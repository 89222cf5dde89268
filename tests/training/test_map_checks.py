"""Maps that are coarser than the unit of --thr."""

import pytest
import torch
from runs import TINY

from lmpnet_cli.model.clustering import learnable_clustering
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.map_checks import coarse_maps
from lmpnet_cli.training.train import train

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.mark.parametrize(
    ("side", "size", "expected"),
    [(14, 448, ""), (28, 224, ""), (7, 224, "7 x 7 cells"), (10, 160, "10 x 10 cells"), (4, 1024, "4 x 4 cells")],
)
def test_maps_coarser_than_the_unit_of_thr_are_a_warning(side, size, expected):
    warning = coarse_maps(side, size)
    assert expected in warning and bool(expected) == bool(warning)
    assert ("--size" in warning) == (bool(expected) and size * 14 // side <= 2048)


def test_the_warning_says_which_thresholds_are_the_same():
    assert coarse_maps(7, 224) == (
        "The maps have 7 x 7 cells, which are larger than those of the 14 x 14 grid that --thr counts. Every --thr up "
        "to 2 erases only the keypoint's own map cell and gives the same keypoints. --size 448 gives finer maps."
    )
    assert "up to 1.4 erases" in coarse_maps(10, 160) and "--size 224" in coarse_maps(10, 160)

    random = torch.Generator().manual_seed(0)
    maps = torch.rand(4, 200, 7, 7, generator=random)
    one_map_cell, half, three = (learnable_clustering(maps, threshold=cells) for cells in (1.0, 0.5, 3.0))
    assert torch.equal(one_map_cell, half)
    assert not torch.equal(one_map_cell, three)


@pytest.mark.parametrize(("size", "warned"), [(64, True), (224, False)])
def test_a_training_warns_of_coarse_maps_once(few_birds, tmp_path, size, warned):
    class Warned(Progress):
        def warn(self, message: str) -> None:
            messages.append(message)

    messages: list[str] = []
    train(few_birds, out=tmp_path, progress=Warned(), **TINY | {"size": size, "layer": "layer3"})
    assert [message.split(",")[0] for message in messages] == ["The maps have 4 x 4 cells"] * warned
