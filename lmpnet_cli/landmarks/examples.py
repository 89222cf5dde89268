"""Compute what the landmarks are learned from: the features of annotated images and of their mirror images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.data.annotations import AnnotatedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.keypoints import Box
from lmpnet_cli.landmarks.learning import Examples
from lmpnet_cli.model.cell_features import CellFeatures
from lmpnet_cli.model.feature_pca import FeaturePCA
from lmpnet_cli.model.landmark_head import LandmarkHeadSpec
from lmpnet_cli.model.part_head import unflip
from lmpnet_cli.progress import Progress

PCA_IMAGES = 300  # number of images from which the principal components are computed


@dataclass(frozen=True)
class AnnotatedFeatures:
    """The examples of readable images on which an object was found, with what is needed to score them.

    Attributes:
        examples: the images in their order, then their mirror images.
        reducer: the principal directions.
        images: annotations of the images.
        windows: x, y, width, height in pixels of what the network saw of each.
        sizes: width and height of each in pixels.
        missed: number of images on which no object was found.
    """

    examples: Examples
    reducer: CellFeatures
    images: list[AnnotatedImage]
    windows: list[Box]
    sizes: list[tuple[int, int]]
    missed: int


def gather(
    runner: ModelRunner, images: Sequence[AnnotatedImage], swapped: Sequence[int], progress: Progress
) -> AnnotatedFeatures:
    """Run the network on the windows of annotated images and on the mirrored windows.

    Args:
        swapped: for each landmark the one that is in its place on the mirror image (left and right).

    Raises:
        DatasetError: when no object was found on any image, or an image has another size than its annotations say.
        InputError: when no image can be read.
    """
    channels = runner.model.network.backbone.channels
    pca, reducer, missed = FeaturePCA(), None, 0
    waiting: list[tuple[Tensor, Tensor]] = []  # maps of images and mirror images, until the directions are known
    cells: list[tuple[Tensor, Tensor]] = []
    shown: list[LoadedImage] = []

    progress.start("compute features", len(images))
    for whole, whole_pixels in runner.loader.batches([image.listed for image in images], progress):
        for seen, pixels in runner.looks(whole, whole_pixels):
            rows = [row for row, entry in enumerate(seen) if not entry.empty]
            missed += len(seen) - len(rows)
            if not rows:
                continue
            shown += [seen[row] for row in rows]
            maps, mirrored = (runner.run(each).maps.cpu() for each in (pixels[rows], pixels[rows].flip(3)))
            if reducer is None:
                pca.update(maps)
            waiting.append((maps.half(), mirrored.half()))
            if reducer is None and len(shown) >= PCA_IMAGES:
                reducer = pca.reducer(channels, LandmarkHeadSpec.directions)
            if reducer is not None:
                cells += [_reduced(reducer, *pair) for pair in waiting]
                waiting = []

    if not shown:
        raise DatasetError(f"No object was found on any of the {len(images)} annotated images. Check the images.")
    reducer = reducer or pca.reducer(channels, LandmarkHeadSpec.directions)
    cells += [_reduced(reducer, *pair) for pair in waiting]
    features = torch.cat([torch.cat(views) for views in zip(*cells, strict=True)])

    annotated = [images[entry.index] for entry in shown]
    sizes = [(entry.width, entry.height) for entry in shown]
    for image, size in zip(annotated, sizes, strict=True):
        _check_size(image, size)
    windows = [entry.window or (0.0, 0.0, *size) for entry, size in zip(shown, sizes, strict=True)]
    map_size = (features.shape[1], features.shape[2])
    positions = torch.from_numpy(
        np.array([on_map(image.landmarks, box, map_size) for image, box in zip(annotated, windows, strict=True)])
    ).float()
    mirrored_positions = unflip(positions, map_size[1])[:, list(swapped)]

    numbers = torch.arange(len(shown)).repeat(2)
    examples = Examples(features, torch.cat([positions, mirrored_positions]), numbers)
    return AnnotatedFeatures(examples, reducer, annotated, windows, sizes, missed)


def _reduced(reducer: CellFeatures, maps: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    return reducer.cells(maps.float()).half(), reducer.cells(mirrored.float()).half()


def on_map(landmarks: NDArray[np.float64], window: Box, map_size: tuple[int, int]) -> NDArray[np.float64]:
    """Convert (k, 2) pixels to rows and columns on the map of a window; NaN where a landmark is not in the window.

    It is the inverse of `keypoints.positions_in_image`.
    """
    x, y, width, height = window
    column = (landmarks[:, 0] - x + 0.5) * map_size[1] / width - 0.5
    row = (landmarks[:, 1] - y + 0.5) * map_size[0] / height - 0.5
    positions = np.stack([row, column], -1)
    low, high = np.full(2, -0.5), np.array(map_size) - 0.5
    inside = np.all((positions >= low) & (positions <= high), axis=1, keepdims=True)
    return np.where(inside, positions, np.nan)


def _check_size(image: AnnotatedImage, size: tuple[int, int]) -> None:
    if image.size is not None and image.size != size:
        raise DatasetError(
            "The annotations say that {} has {} x {} pixels, but it has {} x {}. Learn from the images that were "
            "annotated.".format(image.name, *image.size, *size)
        )
