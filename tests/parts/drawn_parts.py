"""Drawn maps whose parts are known, for the tests of this folder."""

import numpy as np
import torch

from lmpnet_cli.model.feature_pca import FeaturePCA
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts.affine import random_affines, warp
from lmpnet_cli.parts.initialization import object_threshold
from lmpnet_cli.parts.learning import Recipe, TrainingFeatures, learn_weights

SIDE, K = 14, 3


def drawn(count: int = 96, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Return (N, 12, 14, 14) maps of an object with three parts in a row, and the parts' rows and columns (N, 3, 2)."""
    random = np.random.default_rng(seed)
    maps = 0.2 * random.uniform(size=(count, 12, SIDE, SIDE))
    maps[:, 9:] += 0.5  # background filters
    positions = np.zeros((count, K, 2))
    for image in range(count):
        direction, row, column = random.choice([-1, 1]), random.integers(4, 10), random.integers(6, 8)
        for part in range(K):
            y, x = row, column + 4 * direction * (part - 1)
            maps[image, 3 * part : 3 * part + 3, y - 1 : y + 2, x - 1 : x + 2] += random.uniform(3, 6)
            positions[image, part] = y, x
    return torch.from_numpy(maps).float(), positions


def reduced(maps: torch.Tensor, k: int = K) -> tuple[PartHead, TrainingFeatures]:
    """Return a part head without weights, and the features of the maps, of the flipped and of the warped ones."""
    part_head = PartHead(PartHeadSpec(tuple(f"kp{i + 1}" for i in range(k)), 12, 8, 2))
    pca = FeaturePCA()
    pca.update(maps)
    centre, projection = pca.components(8)
    part_head.load_state_dict({"centre": centre, "projection": projection}, strict=False)

    activations = part_head.cells(maps)[..., -1]
    part_head.get_buffer("level")[:2] = torch.stack([activations.mean(), activations.std()])
    part_head.get_buffer("level")[2] = object_threshold(part_head.cells(maps)[..., -1])

    theta = random_affines(len(maps), torch.Generator().manual_seed(0))
    views = [part_head.cells(view) for view in (maps, maps.flip(3), warp(maps, theta)[0])]
    return part_head, TrainingFeatures(*views, theta)


def learned(seed: int, recipe: Recipe) -> PartHead:
    part_head, features = reduced(drawn()[0])
    weight, bias = learn_weights(features, part_head.spec, seed, recipe)
    part_head.load_state_dict({"weight": weight, "bias": bias}, strict=False)
    return part_head
