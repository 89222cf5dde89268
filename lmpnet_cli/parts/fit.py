"""From pictures to a vocabulary: gathers cells by the network, learns, and shows what was learned."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.errors import DatasetError, OptionError
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.runtime import fast_bfloat16, resolve_device, seed_everything
from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts.affine import random_affines, warp
from lmpnet_cli.parts.gallery import Sighting, draw_part_gallery
from lmpnet_cli.parts.initialization import Directions
from lmpnet_cli.parts.learning import Material, Recipe, learn
from lmpnet_cli.parts.visibility import visibility_threshold
from lmpnet_cli.progress import Progress

FIRST = 300  # pictures that the principal directions come from


@dataclass(frozen=True)
class Learned:
    """What `learn_vocabulary` made.

    Attributes:
        document: for `parts.json`.
        picture: for `parts.png`.
        facts: for `run.json`.
    """

    part_head: PartHead
    document: dict[str, Any]
    picture: Rgb
    skipped: list[tuple[str, str]]
    facts: dict[str, Any]


def fit_parts(config: PartsConfig, pictures: Sequence[ListedImage], progress: Progress) -> Learned:
    """A vocabulary of the parts in pictures.

    Raises:
        DatasetError: when the pictures do not differ enough to tell so many parts apart.
        OptionError: when a size is asked for that the model does not have.
        InputError: when none can be read.
    """
    device = resolve_device(config.device)
    if config.precision == "auto" and fast_bfloat16(device):
        config = replace(config, precision="bf16")
    runner = open_runner(config, load_checkpoint(config.checkpoint, str(device)), replica=False)
    if runner.size != runner.model.spec.input_size:
        raise OptionError(
            f"--size {runner.size} is not the model's {runner.model.spec.input_size}, at which `discover` would use "
            "the vocabulary. Leave --size out."
        )
    seed_everything(config.seed)
    # in random order: the principal directions come from the first, and the rows of parts.png from all over
    order = np.random.default_rng(config.seed).permutation(len(pictures))[: config.images]
    chosen = [pictures[index] for index in order]
    gathered = Cells(runner, chosen, config.seed, progress)
    names = config.names or tuple(keypoint_names(config.count))
    spec = PartHeadSpec(names, gathered.channels, gathered.reduction["projection"].shape[1])
    recipe = Recipe()
    made = fit_part_head(spec, gathered, config.seed, recipe, progress)
    spec = made.spec
    with torch.inference_mode():
        found = made.located(gathered.material.cells)
    scores, positions = found.scores.numpy(), found.positions.numpy()
    seen = (scores >= spec.threshold).mean(0)
    shown = best_sightings(scores, positions, gathered.map_size, gathered.files, config.patches)
    document = {
        "k": spec.k,
        "threshold": spec.threshold,
        "learned_from": {**spec.learned_from, "skipped": skipped_entries(gathered.skipped)},
        "keypoints": [
            {
                "name": name,
                "seen_on": round(float(share), 4),
                "shown": [
                    {"file_name": each.file.name, "x": each.x, "y": each.y, "score": round(each.score, 4)}
                    for each in row
                ],
            }
            for name, share, row in zip(spec.names, seen, shown, strict=True)
        ],
        "recipe": asdict(recipe),
    }
    facts = {"images": len(gathered.files), "threshold": spec.threshold, "skipped": skipped_entries(gathered.skipped)}
    picture = draw_part_gallery(spec.names, seen.tolist(), shown, config.max_pixels)
    return Learned(made, document, picture, gathered.skipped, facts)


class Cells:
    """Projected cells of pictures, of their mirror images and of the pictures turned.

    Attributes:
        material: in the order of `files`, the readable pictures, as float16.
        reduction: centre, projection and level of the vocabularies that are made of it.
        map_size: (H, W) in cells.
    """

    def __init__(self, runner: ModelRunner, pictures: Sequence[ListedImage], seed: int, progress: Progress) -> None:
        self.channels, self.input_size = runner.model.network.backbone.channels, runner.size
        self.files: list[ListedImage] = []
        self._runner = runner
        self._reducer: PartHead | None = None
        first, kept = Directions(), []
        views, theta = [], []
        affines = random_affines(len(pictures), torch.Generator().manual_seed(seed))  # whatever the batches
        progress.start("pictures", len(pictures))
        for prepared, pixels in runner.loader.batches(pictures, progress):
            indices = [each.index for each in prepared]
            self.files += [pictures[index] for index in indices]
            theta.append(affines[indices])
            if self._reducer is not None:
                views.append(self._views(pixels, theta[-1]))
                continue
            first.add(runner.run(pixels).maps)
            kept.append(pixels)
            if len(self.files) >= FIRST:
                self._begin(first)
                views = [self._views(*each) for each in zip(kept, theta, strict=True)]
                kept = []
        if self._reducer is None:
            self._begin(first)
            views = [self._views(*each) for each in zip(kept, theta, strict=True)]
        self.skipped = runner.loader.skipped
        cells, mirrored, warped = (torch.cat(each) for each in zip(*views, strict=True))
        self.map_size = (cells.shape[1], cells.shape[2])
        self.material = Material(cells, mirrored, warped, torch.cat(theta))

    def _begin(self, first: Directions) -> None:
        count = min(PartHeadSpec.directions, self.channels, first.count)
        centre, projection = first.principal(count)
        level = torch.cat([first.level(), torch.zeros(1)])  # the last is known in the end
        self.reduction = {"centre": centre, "projection": projection, "level": level}
        self._reducer = PartHead(PartHeadSpec((), self.channels, count))
        self._reducer.load_state_dict(self.reduction, strict=False)

    def _views(self, pixels: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        assert self._reducer is not None
        warped, _ = warp(pixels.float(), theta)
        views = (pixels, pixels.flip(3), warped)
        return tuple(self._reducer.cells(self._runner.run(each).maps.cpu()).half() for each in views)


def fit_part_head(spec: PartHeadSpec, gathered: Cells, seed: int, recipe: Recipe, progress: Progress) -> PartHead:
    """The vocabulary with its threshold.

    Raises:
        DatasetError: when the pictures do not differ enough.
    """
    count = len(gathered.files)
    progress.start("learn parts", recipe.images(count))
    try:
        weight, bias = learn(gathered.material, spec, seed, recipe, progress.advance)
    except ValueError as error:
        raise DatasetError(
            f"The {count} pictures do not show {spec.k} parts that could be told apart ({error}). Give more "
            "pictures, or such as differ more."
        ) from error
    made = PartHead(replace(spec, backgrounds=len(bias) - spec.k))
    made.load_state_dict({**gathered.reduction, "weight": weight, "bias": bias})
    made.get_buffer("level")[2] = gathered.material.level
    made.spec = replace(
        made.spec,
        threshold=round(visibility_threshold(made, gathered.material), 4),
        learned_from={"pictures": count, "seed": seed, "input_size": gathered.input_size},
    )
    return made.eval()


def best_sightings(
    scores: NDArray[np.float32],
    positions: NDArray[np.float32],
    map_size: tuple[int, int],
    files: Sequence[ListedImage],
    count: int,
) -> list[list[Sighting]]:
    """For each keypoint the picture with its highest score out of each of `count` groups of pictures.

    The best of all would often be one species in one pose; the groups show how the keypoint looks all over.
    """
    rows = []
    for part in range(scores.shape[1]):
        row = []
        for group in range(min(count, len(files))):
            members = np.arange(group, len(files), count)
            best = int(members[scores[members, part].argmax()])
            y, x = (positions[best, part] + 0.5) / map_size
            row.append(Sighting(files[best], float(round(x, 4)), float(round(y, 4)), float(scores[best, part])))
        rows.append(row)
    return rows
