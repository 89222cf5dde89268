"""Measure how many objects `--objects all` finds: on composites of two birds, and on photos with one annotated bird.

    python benchmarks/objects.py CROPS PHOTOS --composites 100 --out docs/results/objects.json

CROPS and PHOTOS are CUB folders. Two test images of CROPS, each on one half of a picture at a random size and place,
make a composite; its background is the corner of a test image of PHOTOS. Their outlines are soft, so that no edge gives
them away. A bird is found where a window overlaps its rectangle with an IoU of at least 0.3.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.backgrounds import corner_background, paste
from lmpnet_cli.data.images import Rgb, read_image
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.evaluation.object_matching import overlap
from lmpnet_cli.keypoints import Box, Keypoints, by_image

HALF, SIDE, OVERLAP = 320, 640, 0.3


def composite(birds: list[Rgb], under: Rgb, random: np.random.Generator) -> tuple[Rgb, list[Box]]:
    """Paste each bird onto its own half of a background, and return their rectangles."""
    picture = corner_background(under, SIDE, random)[: HALF + 1]
    boxes: list[Box] = []
    for number, bird in enumerate(birds):
        half = np.ascontiguousarray(picture[:HALF, number * HALF : (number + 1) * HALF])
        pasted, (left, top, width, height) = paste(bird, half, random, area=(0.15, 0.6))
        picture[:HALF, number * HALF : (number + 1) * HALF] = pasted
        boxes.append((float(number * HALF + left), float(top), float(width), float(height)))
    return picture[:HALF], boxes


def find(folder: Path, checkpoint: Path | None) -> dict[str, list[Keypoints]]:
    """Find every object on the images of a folder."""
    result = discover(folder, checkpoint=checkpoint, method="parts", objects="all")
    return {group[0].file_name: group for group in by_image(result.keypoints)}


def found(objects: list[Keypoints], box: Box) -> bool:
    """Tell whether one of the windows is on a rectangle."""
    return any(each.window is not None and overlap(each.window, box) >= OVERLAP for each in objects)


def on_composites(
    crops: list[AnnotatedImage], photos: list[AnnotatedImage], count: int, checkpoint: Path | None, keep: Path
) -> dict[str, float]:
    """Return how often both, and how often at least one of two birds are found, and objects per picture."""
    random = np.random.default_rng(0)
    truth = {}
    for number in range(count):
        chosen = [read_image(crops[int(index)].path).rgb for index in random.choice(len(crops), 2, replace=False)]
        under = read_image(photos[int(random.integers(len(photos)))].path).rgb
        picture, truth[f"{number:03d}.png"] = composite(chosen, under, random)
        Image.fromarray(picture).save(keep / f"{number:03d}.png")
    objects = find(keep, checkpoint)
    hits = [[found(objects[name], box) for box in boxes] for name, boxes in truth.items()]
    return {
        "pictures": count,
        "both_found": round(100 * float(np.mean([all(each) for each in hits])), 1),
        "one_found": round(100 * float(np.mean([any(each) for each in hits])), 1),
        "objects_per_picture": round(float(np.mean([len(each) for each in objects.values()])), 2),
    }


def on_photos(photos: list[AnnotatedImage], folder: Path, checkpoint: Path | None) -> dict[str, float]:
    """Return how often the bird is found on photos with one, and how often more objects are."""
    objects = find(folder, checkpoint)
    chosen = [(objects[photo.name], photo.bbox) for photo in photos if photo.name in objects and photo.bbox]
    return {
        "photos": len(chosen),
        "found": round(100 * float(np.mean([found(each, box) for each, box in chosen])), 1),
        "more_than_one": round(100 * float(np.mean([len(each) > 1 for each, _ in chosen])), 1),
    }


def main(
    crops: Path,
    photos: Path,
    composites: int = 100,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", "-c")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for the composites.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
) -> None:
    """Print, and write, how many objects are found."""
    birds, scenes = (list(read_annotations(folder, "test").images) for folder in (crops, photos))
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = {
            "composites": on_composites(birds, scenes, composites, checkpoint, folder),
            "photos": on_photos(scenes, scenes[0].path.parents[len(Path(scenes[0].name).parts) - 1], checkpoint),
        }
    print(json.dumps(results, indent=2))
    if out:
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
