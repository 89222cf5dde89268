"""Test whether the order of figure 6 comes from the initial weights: train layer4 from random weights.

    python benchmarks/random_start.py DATA --init WEIGHTS [--epochs 12]

The ImageNet weights were trained with average pooling, so a network that starts from them may only keep what it had.
Here layer4 of a ResNet-50 starts from random weights and learns the classes of a CUB folder from the maps of layer3.
These maps are computed once, for every training image and its mirror image. Every fifth training image is held out. The
program prints one line for each pooling: accuracy and entropy of the maps on the held-out images. The test split is not
used.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from program import run_program
from torch import Tensor, nn

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import read_cub
from lmpnet_cli.data.images import read_image, to_input
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.model.backbone import Backbone, BackboneSpec
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.model.lmpnet import NetworkSpec
from lmpnet_cli.model.pooling import POOLINGS, pooling
from lmpnet_cli.training.initial_weights import load_initial_weights
from lmpnet_cli.training.schedule import Schedule

BATCH, HELD_OUT = 32, 5


def stored_maps(network: Any, files: list[Path]) -> Tensor:
    """Return the maps of layer3 in bfloat16, (N, 2, 1024, 14, 14), of each image and its mirror image."""
    mean, std = torch.tensor(NetworkSpec.mean), torch.tensor(NetworkSpec.std)
    maps = []
    for start in range(0, len(files), BATCH):
        rgb = np.stack([to_input(read_image(path).rgb, 224) for path in files[start : start + BATCH]])
        both = torch.from_numpy(np.stack([rgb, rgb[:, :, ::-1]], 1)).flatten(0, 1).float() / 255
        x = ((both - mean) / std).permute(0, 3, 1, 2)  # channels last in memory

        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            x = network.maxpool(network.act1(network.bn1(network.conv1(x))))
            x = network.layer3(network.layer2(network.layer1(x)))
        maps.append(x.bfloat16().unflatten(0, (-1, 2)).clone())
    return torch.cat(maps)


def learn(layer4: nn.Module, maps: Tensor, labels: Tensor, kind: str, config: TrainConfig) -> nn.Linear:
    """Train layer4 and a classifier with the recipe of `lmpnet train`."""
    classifier = nn.Linear(2048, int(labels.max()) + 1)
    nn.init.normal_(classifier.weight, std=0.01)
    parameters = [*layer4.parameters(), *classifier.parameters()]
    optimizer = torch.optim.SGD(
        [{"params": parameters, "factor": 1.0}],
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
    )
    steps = len(maps) // BATCH
    schedule = Schedule(
        learning_rate=config.learning_rate,
        warmup=config.warmup,
        epsilon=config.epsilon,
        epsilon_warmup=config.epsilon_warmup,
        steps=steps * config.epochs,
        batch_size=BATCH,
    )

    layer4.train()
    for epoch in range(config.epochs):
        order = torch.randperm(len(maps))[: steps * BATCH]
        for number, chosen in enumerate(torch.split(order, BATCH)):
            epsilon = schedule.set(optimizer, epoch * steps + number)
            x = maps[chosen, torch.randint(2, (BATCH,))].contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                outputs = layer4(x)
            logits = classifier(pooling(kind, epsilon)(outputs.float()))
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=config.label_smoothing)

            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, config.clip)
            optimizer.step()
    return classifier


@torch.inference_mode()
def measure(
    layer4: nn.Module, classifier: nn.Linear, maps: Tensor, labels: Tensor, kind: str, epsilon: float
) -> tuple[float, float]:
    """Return accuracy and mean entropy of the maps in nats, on images that are not mirrored."""
    layer4.eval()
    batches = []
    for x in torch.split(maps[:, 0], BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            batches.append(layer4(x.contiguous(memory_format=torch.channels_last)).float())

    outputs = torch.cat(batches)
    hits = classifier(pooling(kind, epsilon)(outputs)).argmax(1) == labels
    return hits.float().mean().item(), feature_map_entropy(outputs).nanmean().item()


def main() -> None:
    """Print one line for each pooling."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--init", type=Path, required=True, help="complete ResNet-50 (v1) weights, safetensors")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    # the peak is scaled from a batch of 64: 0.1 at 32
    config = TrainConfig(data=given.data, epochs=given.epochs, learning_rate=0.2, seed=given.seed)
    backbone = Backbone(BackboneSpec("resnet50", "layer4", stride_in_1x1=True, caffe_pooling=True))
    load_initial_weights(backbone, given.init)
    network = backbone.network.eval().to(memory_format=torch.channels_last)

    samples = [sample for sample in read_cub(given.data).samples if sample.split == "train"]
    names = sorted({sample.class_name for sample in samples})
    labels = torch.tensor([names.index(sample.class_name) for sample in samples])
    held_out = torch.arange(len(samples)) % HELD_OUT == 0
    if (~held_out).sum() < BATCH:
        raise DatasetError(
            f"{given.data} has {len(samples)} training images, which is too few: {BATCH} are needed besides every "
            f"{HELD_OUT}th, which is held out."
        )
    maps = stored_maps(network, [sample.path for sample in samples])

    print("| pooling | held-out accuracy | map entropy, nats | seconds |\n| --- | --- | --- | --- |", flush=True)
    for kind in sorted(POOLINGS):
        seed_everything(given.seed)
        for module in network.layer4.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

        started = time.perf_counter()
        classifier = learn(network.layer4, maps[~held_out], labels[~held_out], kind, config)
        accuracy, entropy = measure(network.layer4, classifier, maps[held_out], labels[held_out], kind, config.epsilon)
        seconds = time.perf_counter() - started
        print(f"| {kind.replace('_', ' ')} | {accuracy:.2f} | {entropy:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    run_program(main)
