"""From images to the heads: what is object, the features of the objects' windows, and the parts learned from them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.inference.runner import ModelRunner, open_learning_runner
from lmpnet_cli.inference.windows import WHOLE, Extent, first_look_of
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.runtime import seeded
from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.model.cell_features import CellFeatures
from lmpnet_cli.model.feature_pca import FeaturePCA
from lmpnet_cli.model.objects import ObjectHead
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts.affine import random_affines, warp
from lmpnet_cli.parts.gallery import PartExample, draw_part_gallery
from lmpnet_cli.parts.learning import Recipe, TrainingFeatures, learn_weights, share_on_object
from lmpnet_cli.parts.object_head import fit_object_head
from lmpnet_cli.parts.selection import MIN_ON_OBJECT
from lmpnet_cli.parts.visibility import visibility_threshold
from lmpnet_cli.progress import Progress

PCA_IMAGES = 300  # number of images from which the principal components are computed
DEFAULT_RECIPE = Recipe()


@dataclass(frozen=True)
class FittedParts:
    """The result of `fit_parts`.

    Attributes:
        object_head: None where the images do not tell objects from backgrounds.
        document: the content of `parts.json`.
        gallery: the content of `parts.png`.
        skipped: (file name, reason) of images that could not be read.
        facts: further entries for `run.json`.
    """

    part_head: PartHead
    object_head: ObjectHead | None
    document: dict[str, Any]
    gallery: Rgb
    skipped: list[tuple[str, str]]
    facts: dict[str, Any]


def fit_parts(config: PartsConfig, images: Sequence[ListedImage], progress: Progress) -> FittedParts:
    """Learn parts from images, without labels and annotations.

    Raises:
        DatasetError: if the images do not differ enough to distinguish so many parts.
        OptionError: if the requested size differs from the model's.
        InputError: if no image can be read.
    """
    with seeded(config.seed):
        runner = open_learning_runner(config, "parts")

        # random order: the principal components come from the first images, and parts.png shows all kinds of images
        order = np.random.default_rng(config.seed).permutation(len(images))[: config.images]
        chosen = [images[index] for index in order]
        object_head = look_for_objects(runner, chosen, config.seed, progress)
        bank = gather_features(runner, chosen, config.seed, progress)

        names = config.names or tuple(keypoint_names(config.count))
        spec = PartHeadSpec(names, bank.channels, bank.reduction["projection"].shape[1])
        part_head = fit_part_head(spec, bank, config.seed, DEFAULT_RECIPE, progress)
    fitted = _described(part_head, object_head, bank, config)
    _warn_of_parts_beside_the_object(fitted, config, progress)
    return fitted


def look_for_objects(
    runner: ModelRunner, images: Sequence[ListedImage], seed: int, progress: Progress
) -> ObjectHead | None:
    """Learn an object head, and let the runner find windows by it; without one it finds them by the response."""
    object_head = fit_object_head(runner, images, seed, progress)
    runner.model.object_head = object_head
    runner.finder = first_look_of(ModelRunner(runner.model, runner.loader, bfloat16=runner.bfloat16))
    return object_head


def _described(
    part_head: PartHead, object_head: ObjectHead | None, bank: "FeatureBank", config: PartsConfig
) -> FittedParts:
    """Locate the parts in the training images and describe them for the files."""
    with torch.inference_mode():
        located = part_head.located(bank.features.original)
    scores, positions = located.scores.numpy(), located.positions.numpy()

    spec = part_head.spec
    seen = (scores >= spec.threshold).mean(0)
    on_object = share_on_object(part_head, bank.features).tolist()
    low, high = np.split(np.array(bank.windows)[:, None, [1, 0, 3, 2]], 2, axis=2)
    places = (positions + 0.5) / bank.features.map_size * (high - low) + low
    examples = best_examples(scores, places, bank.files, config.patches)

    skipped = skipped_entries(bank.skipped)
    document = {
        "k": spec.k,
        "threshold": spec.threshold,
        "learned_from": {**spec.learned_from, "skipped": skipped},
        "keypoints": [
            _part_entry(name, float(share), on, row)
            for name, share, on, row in zip(spec.names, seen, on_object, examples, strict=True)
        ],
        "recipe": asdict(DEFAULT_RECIPE),
    }
    facts = {"images": len(bank.files), "threshold": spec.threshold, "skipped": skipped}
    gallery = draw_part_gallery(spec.names, seen.tolist(), examples, config.max_pixels)
    return FittedParts(part_head, object_head, document, gallery, bank.skipped, facts)


def _warn_of_parts_beside_the_object(fitted: FittedParts, config: PartsConfig, progress: Progress) -> None:
    """Name the parts that are often beside the object, and say how to remove them."""
    parts = fitted.document["keypoints"]
    beside = [part["name"] for part in parts if part["on_object"] < MIN_ON_OBJECT]
    if not beside:
        return
    shares = ", ".join(f"{part['name']} {part['on_object']:.0%}" for part in parts if part["name"] in beside)
    drop = f"remove them with lmpnet parts -c {config.out or 'OUT'} --drop {','.join(beside)}"
    fewer = f", or learn fewer parts (--k {len(parts) - len(beside)})" if len(beside) < len(parts) else ""
    progress.warn(
        f"Parts that are often beside the object ({shares} of the images on it): look at parts.png, then {drop}{fewer}."
    )


def _part_entry(name: str, share: float, on_object: float, examples: Sequence[PartExample]) -> dict[str, Any]:
    """Return the entry of one part in `parts.json`."""
    shown = [
        {"file_name": example.image.name, "x": example.x, "y": example.y, "score": round(example.score, 4)}
        for example in examples
    ]
    return {"name": name, "seen_on": round(share, 4), "on_object": round(on_object, 4), "shown": shown}


@dataclass(frozen=True)
class FeatureBank:
    """Features of readable images, kept in memory so that several part heads can be learned from them.

    Attributes:
        features: of `files`, in their order, as float16.
        files: the readable images.
        windows: of the objects, as shares of the images.
        reduction: the buffers `centre`, `projection` and `level` of the part heads learned from these features.
        channels: number of filters of the network's maps.
        input_size: side of the network input in pixels.
        skipped: (file name, reason) of images that could not be read.
    """

    features: TrainingFeatures
    files: list[ListedImage]
    windows: list[Extent]
    reduction: dict[str, Tensor]
    channels: int
    input_size: int
    skipped: list[tuple[str, str]]


def gather_features(runner: ModelRunner, images: Sequence[ListedImage], seed: int, progress: Progress) -> FeatureBank:
    """Compute the features of the objects' windows, of the flipped windows and of randomly warped windows.

    Raises:
        InputError: if no image can be read.
    """
    channels = runner.model.network.backbone.channels
    affines = random_affines(len(images), torch.Generator().manual_seed(seed))  # independent of the batches
    pca, reducer = FeaturePCA(), None
    files: list[ListedImage] = []
    windows: list[Extent] = []
    theta: list[Tensor] = []
    views: list[tuple[Tensor, Tensor, Tensor]] = []
    waiting: list[tuple[Tensor, Tensor]] = []  # batches read before the principal components are known

    progress.start("compute features", len(images))
    for loaded, pixels in _windows(runner, images, progress):
        indices = [image.index for image in loaded]
        files += [images[index] for index in indices]
        windows += [_relative(image) for image in loaded]
        theta.append(affines[indices])
        waiting.append((pixels, theta[-1]))
        if reducer is None:
            pca.update(runner.run(pixels).maps)
            if len(files) < PCA_IMAGES:
                continue
            reducer = pca.reducer(channels, PartHeadSpec.directions)
        views += [_views(runner, reducer, *batch) for batch in waiting]
        waiting = []

    if reducer is None:
        reducer = pca.reducer(channels, PartHeadSpec.directions)
        views += [_views(runner, reducer, *batch) for batch in waiting]

    original, flipped, warped = (torch.cat(parts) for parts in zip(*views, strict=True))
    features = TrainingFeatures(original, flipped, warped, torch.cat(theta))
    reduction = {name: reducer.get_buffer(name) for name in ("centre", "projection", "level")}
    return FeatureBank(features, files, windows, reduction, channels, runner.size, list(runner.loader.skipped))


def _windows(
    runner: ModelRunner, images: Sequence[ListedImage], progress: Progress
) -> Iterator[tuple[list[LoadedImage], Tensor]]:
    """Yield the windows of the objects, batch by batch; the whole image where no object is found."""
    for whole, whole_pixels in runner.loader.batches(images, progress):
        yield from runner.looks(whole, whole_pixels)


def _relative(image: LoadedImage) -> Extent:
    if image.window is None or image.empty:
        return WHOLE
    x, y, width, height = image.window
    return x / image.width, y / image.height, (x + width) / image.width, (y + height) / image.height


def _views(runner: ModelRunner, reducer: CellFeatures, pixels: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the reduced features of a batch, of the flipped batch and of the warped batch."""

    def features(images: Tensor) -> Tensor:
        return reducer.cells(runner.run(images).maps.cpu()).half()

    warped, _ = warp(pixels.float(), theta)
    return features(pixels), features(pixels.flip(3)), features(warped)


def fit_part_head(spec: PartHeadSpec, bank: FeatureBank, seed: int, recipe: Recipe, progress: Progress) -> PartHead:
    """Learn a part head with its visibility threshold.

    Raises:
        DatasetError: if the images do not differ enough.
    """
    count = len(bank.files)
    progress.start("learn parts", recipe.all_steps, "steps")
    try:
        weight, bias = learn_weights(bank.features, spec, seed, recipe, progress.advance)
    except ValueError as error:
        raise DatasetError(
            f"Cannot learn {spec.k} parts from these {count} images: they do not differ enough ({error}). Use more "
            "images, or more varied ones."
        ) from error

    part_head = PartHead(replace(spec, backgrounds=len(bias) - spec.k))
    part_head.load_state_dict({**bank.reduction, "weight": weight, "bias": bias})
    part_head.get_buffer("level")[2] = bank.features.object_threshold

    threshold = round(visibility_threshold(part_head, bank.features), 4)
    learned_from = {"images": count, "seed": seed, "input_size": bank.input_size}
    part_head.spec = replace(part_head.spec, threshold=threshold, learned_from=learned_from)
    return part_head.eval()


def best_examples(
    scores: NDArray[np.float32],
    places: NDArray[np.float64],
    files: Sequence[ListedImage],
    count: int,
) -> list[list[PartExample]]:
    """Return, for each part, the image with its highest score from each of `count` groups of images.

    The best images of all would often show one species in one pose; the groups show how much the part varies.

    Args:
        scores: (N, k).
        places: (N, k, 2) y and x as shares of the image.
    """
    groups = [np.arange(first, len(files), count) for first in range(min(count, len(files)))]
    rows = []
    for part in range(scores.shape[1]):
        row = []
        for members in groups:
            best = int(members[scores[members, part].argmax()])
            y, x = places[best, part].tolist()
            row.append(PartExample(files[best], round(x, 4), round(y, 4), float(scores[best, part])))
        rows.append(row)
    return rows
