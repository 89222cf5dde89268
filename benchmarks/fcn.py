"""Train the supervised row of Table 2: a fully convolutional network that learns from annotated landmarks.

    python benchmarks/fcn.py DATA -o predictions.json --init WEIGHTS [--epochs 20]

The network has the backbone of the LMPNet that it is compared with, and a heat-map head: transposed convolutions up to
56 x 56 cells and one heat map for each landmark (Xiao et al., 2018, simple baselines). It is trained on the visible
landmarks of the training split. The loss is the cross-entropy between the softmax over the cells of a heat map and a
Gaussian of one and a half cells (He et al., 2017: the keypoint head of Mask R-CNN, whose target is one cell). With the
mean squared error of simple baselines the heat maps stay empty: it needs more steps than a few hundred images allow.

The position of a landmark is the centroid around its highest cell. Every landmark is predicted, as in the paper, and
written. `sample_landmarks.py` samples 5 of them, and `lmpnet eval DATA --predictions predictions.json` scores either.

This is the only program here that trains on annotations. No bundled model contains anything of it.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from program import run_program
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.images import image_size, read_image, to_input
from lmpnet_cli.io.coco import coco_text
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.backbone import Backbone, BackboneSpec
from lmpnet_cli.model.lmpnet import NetworkSpec
from lmpnet_cli.training.initial_weights import load_initial_weights

SIGMA = 1.5  # of the target, in heat-map cells


class LandmarkNetwork(nn.Module):
    """A backbone with a heat-map head."""

    def __init__(self, backbone: Backbone, landmarks: int, doublings: int) -> None:
        """
        Args:
            landmarks: number of landmarks.
            doublings: transposed convolutions, each of which doubles the side of the maps.
        """
        super().__init__()
        self.backbone = backbone

        layers: list[nn.Module] = []
        channels = backbone.channels
        for _ in range(doublings):
            layers += [
                nn.ConvTranspose2d(channels, 128, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(128),
                nn.ReLU(),
            ]
            channels = 128
        self.head = nn.Sequential(*layers, nn.Conv2d(channels, landmarks, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, landmarks, H, W) heat maps for (B, 3, S, S) normalised images."""
        maps: Tensor = self.head(self.backbone(images))
        return maps


class LandmarkDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images warped to a square, with landmarks as shares of the side: (P, 2) x and y, NaN where not visible.

    Training images are random crops of at least half the area, half of them mirrored: left and right swap their names.
    """

    def __init__(self, images: Sequence[AnnotatedImage], names: Sequence[str], size: int, seed: int | None) -> None:
        """
        Args:
            names: names of the landmarks.
            seed: seed of the crops; None takes the whole image unchanged.
        """
        self.images, self.size, self.seed, self.epoch = list(images), size, seed, 0
        self.mirrored = mirrored_landmarks(names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        rgb = read_image(image.listed.readable).rgb
        height, width = rgb.shape[:2]

        left, top, right, bottom = 0, 0, width, height
        mirror = False
        if self.seed is not None:
            random = np.random.default_rng((self.seed, self.epoch, index))
            share = np.sqrt(random.uniform(0.5, 1, 2))
            left, top = (int(random.uniform(0, side * (1 - s))) for side, s in zip((width, height), share, strict=True))
            right, bottom = left + int(width * share[0]), top + int(height * share[1])
            mirror = random.random() < 0.5

        pixels = np.ascontiguousarray(to_input(rgb[top:bottom, left:right], self.size).transpose(2, 0, 1))
        landmarks = (image.landmarks + 0.5 - (left, top)) / (right - left, bottom - top)
        landmarks[((landmarks < 0) | (landmarks > 1)).any(axis=1)] = np.nan
        if mirror:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
            landmarks = (landmarks * (-1, 1) + (1, 0))[self.mirrored]
        return torch.from_numpy(pixels), torch.from_numpy(landmarks).float()


def mirrored_landmarks(names: Sequence[str]) -> list[int]:
    """Return for each landmark the index of the one it becomes in a mirror: left for right.

    >>> mirrored_landmarks(["beak", "left eye", "right eye"])
    [0, 2, 1]
    """
    other = {"left": "right", "right": "left"}
    return [names.index(" ".join(other.get(word, word) for word in name.split())) for name in names]


def targets(landmarks: Tensor, size: int) -> Tensor:
    """Return (B, P, size, size) Gaussians that sum to 1 for (B, P, 2) shares of the side; NaN where not visible."""
    centres = (torch.arange(size) + 0.5) / size
    x, y = landmarks[..., 0, None, None], landmarks[..., 1, None, None]
    squared = (x - centres[None, :]) ** 2 + (y - centres[:, None]) ** 2
    return (-squared * size**2 / (2 * SIGMA**2)).flatten(2).softmax(2).view_as(squared)


def loss_of(maps: Tensor, landmarks: Tensor) -> Tensor:
    """Return the mean cross-entropy over visible landmarks for (B, P, H, H) logits and (B, P, 2) positions."""
    visible = ~landmarks[..., 0].isnan()
    target = targets(landmarks, maps.shape[-1])[visible].flatten(1)
    return nn.functional.cross_entropy(maps.float()[visible].flatten(1), target)


def positions(maps: Tensor) -> Tensor:
    """Return the centroid of the 3 x 3 cells at the maximum, (B, P, 2) shares of the side, for (B, P, H, W) logits."""
    batch, landmarks, height, width = maps.shape
    maps = maps.flatten(2).softmax(2).view_as(maps)
    best = maps.flatten(2).argmax(2)
    rows, columns = torch.arange(height).float(), torch.arange(width).float()
    row, column = (best // width).float(), (best % width).float()
    near = ((rows[:, None] - row[..., None, None]).abs() <= 1) & ((columns - column[..., None, None]).abs() <= 1)

    weights = (maps * near).view(batch, landmarks, -1)
    weights = weights / weights.sum(2, keepdim=True)
    x = (weights * columns.repeat(height)).sum(2)
    y = (weights * rows.repeat_interleave(width)).sum(2)
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height], 2)


def normalise(pixels: Tensor) -> Tensor:
    """Normalise bytes by the mean and standard deviation of ImageNet."""
    mean, std = torch.tensor(NetworkSpec.mean), torch.tensor(NetworkSpec.std)
    scaled = (pixels.float() / 255 - mean[:, None, None]) / std[:, None, None]
    return scaled.contiguous(memory_format=torch.channels_last)


def train(options: argparse.Namespace, images: Sequence[AnnotatedImage], names: Sequence[str]) -> LandmarkNetwork:
    """Train for `--epochs` with Adam and a cosine schedule."""
    backbone = Backbone(BackboneSpec("resnet50", options.layer, stride_in_1x1=True, caffe_pooling=True))
    load_initial_weights(backbone, options.init)
    backbone.freeze_through(options.freeze)
    doublings = {"layer3": 2, "layer4": 3}[options.layer]
    network = LandmarkNetwork(backbone, len(names), doublings).to(memory_format=torch.channels_last)

    data = LandmarkDataset(images, names, options.size, options.seed)
    batches = DataLoader(
        data, options.batch_size, shuffle=True, drop_last=len(data) >= options.batch_size, num_workers=1
    )

    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(batches))

    for epoch in range(options.epochs):
        network.train()
        data.epoch = epoch
        total, started = 0.0, time.perf_counter()
        for pixels, truth in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                maps = network(normalise(pixels))
            loss = loss_of(maps, truth)

            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()

        print(f"epoch {epoch + 1}: loss {total / len(batches):.5f}, {time.perf_counter() - started:.0f} s", flush=True)
    return network


def predict(network: nn.Module, images: Sequence[AnnotatedImage], size: int) -> NDArray[np.float64]:
    """Return (N, P, 2) shares of the side for whole images."""
    network.eval()
    found = []

    with torch.inference_mode():
        for pixels, _ in DataLoader(LandmarkDataset(images, (), size, None), 32, num_workers=1):
            found.append(positions(network(normalise(pixels)).float()))
    return torch.cat(found).double().numpy()


def found_landmarks(network: nn.Module, images: Sequence[AnnotatedImage], size: int) -> list[Keypoints]:
    """Return all landmarks of each image in its pixels, in the order of the annotations."""
    results = []
    for image, shares in zip(images, predict(network, images, size), strict=True):
        pixels = image_size(image.listed.readable)
        results.append(Keypoints(image.name, *pixels, shares * pixels - 0.5, np.ones(len(shares))))
    return results


def main() -> None:
    """Train, predict the landmarks of the test split, and write them as a COCO file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--layer", choices=("layer3", "layer4"), default="layer3")
    parser.add_argument("--freeze", default="layer2", help="last layer that stays frozen")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()

    seed_everything(options.seed)
    training = read_annotations(options.data, "train")
    test = read_annotations(options.data, "test")
    network = train(options, training.images, training.landmark_names)

    results = found_landmarks(network, test.images, options.size)
    info = json.loads(json.dumps({"method": "fcn", "options": vars(options)}, default=str))  # paths become strings
    write_pieces(options.out, coco_text(results, info, test.landmark_names))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run_program(main)
