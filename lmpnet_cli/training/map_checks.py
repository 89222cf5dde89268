"""What is checked about the maps of a network before it is trained: their number of cells, and room to store them."""

import math
from pathlib import Path

import torch

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.model.clustering import GRID
from lmpnet_cli.model.lmpnet import MAX_SIZE, LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.stored_maps import refuse_without_space


def check_maps(model: LMPNet, config: TrainConfig, data: ClassData, out: Path, progress: Progress) -> None:
    """Warn of coarse maps, and check that there is room for stored maps.

    Raises:
        OptionError: if the network does not accept the size, or has no frozen part that can run alone.
        OutputError: if the disk has too little space.
    """
    backbone = model.eval().network.backbone
    image = torch.zeros(1, 3, config.size, config.size, device=model.get_buffer("mean").device)
    with torch.no_grad():
        maps = backbone(image)
        frozen = backbone.frozen_maps(image) if config.stored_maps else None

    if warning := coarse_maps(min(maps.shape[2:]), config.size):
        progress.warn(warning)
    if config.stored_maps and frozen is not None:
        views = min(config.stored_maps, max(config.epochs, config.replica_epochs))
        rows = views * len(data.of("train")) + len(data.of("val"))
        refuse_without_space(out, rows, frozen.shape[1:])


def coarse_maps(side: int, size: int) -> str:
    """Return a warning about maps that are coarser than the unit of --thr; empty where they are not.

    Args:
        side: of the maps in cells.
        size: side of the network input in pixels.
    """
    if side >= GRID:
        return ""
    finer = math.ceil(size * GRID / side)
    hint = f" --size {finer} gives finer maps." if finer <= MAX_SIZE else ""
    one_cell = math.floor(100 * GRID / side) / 100
    return (
        f"The maps have {side} x {side} cells, which are larger than those of the {GRID} x {GRID} grid that --thr "
        f"counts. Every --thr up to {one_cell:g} erases only the keypoint's own map cell and gives the same keypoints."
        f"{hint}"
    )
