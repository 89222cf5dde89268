"""Compare leaky max pooling with PyTorch's poolings, and a training step with it and with average pooling.

python benchmarks/pooling.py [--repeats 7]
"""

import argparse
from collections.abc import Callable

import torch
from timing import take_turns
from torch import Tensor, nn

from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.model.lmpnet import KeypointNetwork
from lmpnet_cli.model.pooling import LeakyMaxPool2d


def both_ways(pool: nn.Module, maps: Tensor) -> Callable[[], None]:
    """Return a function that runs forward and backward."""

    def run() -> None:
        maps.grad = None
        torch.autograd.backward(pool(maps).sum())

    return run


def step(network: KeypointNetwork, images: Tensor, labels: Tensor, kind: str) -> Callable[[], None]:
    """Return a function that runs one training step, optimiser included; all kinds of pooling share the weights."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)

    def run() -> None:
        network.pooling = kind
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(images)[0], labels))
        optimizer.step()

    return run


def measure(repeats: int = 7) -> tuple[list[str], tuple[str, str]]:
    """Return lines for the document, and the two figures that have goals."""
    generator = torch.Generator().manual_seed(0)
    lines = ["## Pooling", "", "| maps | leaky max | AdaptiveMaxPool2d | AdaptiveAvgPool2d | against max |"]
    lines.append("| --- | --- | --- | --- | --- |")

    worst = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        for shape in ((32, 1024, 14, 14), (32, 2048, 7, 7)):
            maps = torch.rand(*shape, generator=generator).contiguous(memory_format=layout).requires_grad_()
            times = take_turns(
                {
                    "leaky": both_ways(LeakyMaxPool2d(), maps),
                    "max": both_ways(nn.AdaptiveMaxPool2d(1), maps),
                    "average": both_ways(nn.AdaptiveAvgPool2d(1), maps),
                },
                3 * repeats,
            )
            worst = max(worst, times["leaky"] / times["max"])

            cells = " | ".join(f"{1e3 * times[name]:.1f} ms" for name in ("leaky", "max", "average"))
            name = f"{' x '.join(map(str, shape))}{', channels last' if layout is torch.channels_last else ''}"
            lines.append(f"| {name} | {cells} | {times['leaky'] / times['max']:.2f} |")

    # a training step
    network = load_checkpoint().network.train().requires_grad_(True)
    images = torch.randn(16, 3, 224, 224, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, network.classifier.out_features, (16,), generator=generator)
    steps = take_turns({kind: step(network, images, labels, kind) for kind in ("leaky_max", "average")}, repeats)
    ratio = steps["average"] / steps["leaky_max"]
    lines += [
        "",
        f"A training step of the bundled network on 16 images takes {steps['leaky_max']:.2f} s with leaky max "
        f"pooling and {steps['average']:.2f} s with average pooling.",
    ]
    return lines, (f"{worst:.2f} of its time at most", f"{ratio:.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    print("\n".join(measure(parser.parse_args().repeats)[0]))


if __name__ == "__main__":
    main()
