"""The second look: find the window of the object, and read the keypoints in it (`--objects one`, not in the paper).

1. The first look: the network alone sees the whole image, small.
2. Where its strongest filters respond there is an object (`object_share`). Its window is the box around the largest
   connected region.
3. The second look: `ObjectFinder.look` cuts the window out of the image, as the input of the networks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.data.images import Rgb, to_input
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.keypoints import Box

if TYPE_CHECKING:
    from lmpnet_cli.inference.runner import ModelRunner

FIRST_LOOK = 4 / 7  # side of its input, as a share of the side of the second look: 128 of 224 pixels
STRONGEST = 512  # filters whose maps count
EDGE = 0.45  # response at the edge of an object, as a share of the strongest
FINE = 112  # side of the grid on which the maps are enlarged, so that an edge may lie within a cell
NEARLY_WHOLE = 0.8  # share of the image: in a larger window there is nothing more to see

Extent = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the image


class ObjectFinder:
    """Finds the most prominent object of each image, and cuts its window out."""

    def __init__(self, runner: "ModelRunner") -> None:
        """
        Args:
            runner: of the network alone, without a replica.
        """
        self.runner = runner

    def look(self, loaded: Sequence[LoadedImage], pixels: Tensor) -> tuple[list[LoadedImage], Tensor]:
        """Return the images with their windows, and the input for the second look.

        Where the window is nearly the whole image, it is the whole image. An image without an object is `empty`.

        Args:
            loaded: with a copy to cut from (`scene`).
            pixels: (B, 3, S, S) bytes of the whole images.
        """
        side = round(FIRST_LOOK * pixels.shape[3])
        small = functional.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
        shares = object_share(self.runner.run(small.round().clamp(0, 255).byte()).maps)

        found, cut = [], pixels.clone()
        for index, (image, share) in enumerate(zip(loaded, shares.cpu().numpy(), strict=True)):
            extent = largest_region(share, EDGE)
            if extent is None:
                found.append(replace(image, empty=True))
            elif _area(extent) > NEARLY_WHOLE or image.scene is None:
                found.append(replace(image, window=(0.0, 0.0, float(image.width), float(image.height))))
            else:
                seen, window = _cut(image.scene, extent, (image.width, image.height))
                found.append(replace(image, window=window))
                cut[index] = torch.from_numpy(to_input(seen, pixels.shape[3]).transpose(2, 0, 1).copy())
        return found, cut


@torch.inference_mode()
def object_share(maps: Tensor) -> Tensor:
    """Compute how strongly each cell responds, (B, C, H, W) -> (B, H, W) in [0, 1], 1 for the strongest cell.

    It is the mean of the strongest maps, each divided by its maximum, so that no filter counts more than another.
    """
    maps, tiny = maps.float(), torch.finfo(torch.float32).tiny
    top = maps.flatten(2).amax(2).topk(min(STRONGEST, maps.shape[1]), dim=1)
    chosen = maps.gather(1, top.indices[..., None, None].expand(-1, -1, *maps.shape[2:]))
    mean = (chosen / top.values.clamp(min=tiny)[..., None, None]).mean(1)
    return mean / mean.amax((1, 2), keepdim=True).clamp(min=tiny)


def largest_region(share: NDArray[np.float32], threshold: float) -> Extent | None:
    """Return the extent of the connected region above a threshold that holds most of the response; None without one.

    Args:
        share: (H, W) response of each cell.
    """
    fine = cv2.resize(np.asarray(share, np.float32), (FINE, FINE), interpolation=cv2.INTER_LINEAR)
    count, regions = cv2.connectedComponents((fine > threshold).astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    mass = np.bincount(regions.ravel(), weights=fine.ravel(), minlength=count)
    rows, columns = np.nonzero(regions == mass[1:].argmax() + 1)
    return (
        columns.min() / FINE,
        rows.min() / FINE,
        (columns.max() + 1) / FINE,
        (rows.max() + 1) / FINE,
    )


def _area(extent: Extent) -> float:
    left, top, right, bottom = extent
    return (right - left) * (bottom - top)


def _cut(scene: Rgb, extent: Extent, size: tuple[int, int]) -> tuple[Rgb, Box]:
    """Return the pixels of a window, and where it lies in the image of that size, rounded to pixels of the scene."""
    shape = np.array([scene.shape[1], scene.shape[0]])
    low = np.minimum(np.round(np.array(extent[:2]) * shape), shape - 1).astype(int)
    high = np.maximum(np.round(np.array(extent[2:]) * shape), low + 1).astype(int)
    x, y = (low * size / shape).tolist()
    width, height = ((high - low) * size / shape).tolist()
    return scene[low[1] : high[1], low[0] : high[0]], (x, y, width, height)
