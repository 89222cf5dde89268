"""Speed of one device for `gpu.py`: training, the forward pass, discover beside it, occlusion.

Every figure is the median of some repetitions, after one to warm up. A command ends when the device has done its work.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import bare_forward, ready_batches, take_turns
from torch import nn

from lmpnet_cli import discover, discover_on_ray, load_checkpoint
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.images import read_image, to_input
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.inference.windows import first_look_of
from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import NetworkSpec, build

CLASSES = tuple(str(number) for number in range(84))


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(command: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median seconds of a command."""

    def run() -> None:
        command()
        wait(device)

    return take_turns({"run": run}, repeats)["run"]


def training_rate(
    device: torch.device, size: int, batch: int, repeats: int, pooling: str = "leaky_max", compiled: bool = False
) -> float:
    """Return images a second of bare training steps of ResNet-50, in bfloat16 on a GPU, from random images."""
    spec = NetworkSpec(BackboneSpec("resnet50", "layer4", stride_in_1x1=True), CLASSES, pooling, 0.1, size)
    network = build(spec, replica=False).network.to(device).to(memory_format=torch.channels_last).train()
    if compiled:
        network.compile()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, len(CLASSES), (batch,), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = nn.functional.cross_entropy(network(images)[0], labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return batch / seconds(step, device, repeats)


def training(device: torch.device, size: int, batch: int, repeats: int) -> dict[str, float]:
    """Return images a second of training with both poolings, and with a compiled network."""
    rates = {pooling: training_rate(device, size, batch, repeats, pooling) for pooling in ("average", "leaky_max")}
    if device.type == "cuda":  # on a CPU compiling takes minutes
        rates["leaky_max, compiled"] = training_rate(device, size, batch, repeats, compiled=True)
    return rates


def forward(checkpoint: Path, device: torch.device, batches: Sequence[int], repeats: int) -> dict[str, float]:
    """Return images a second of both networks, by precision and batch size."""
    rates = {}
    for precision in ("32", "bf16"):
        config = DiscoverConfig(images=(Path(),), checkpoint=checkpoint, device=str(device), precision=precision)
        runner = open_runner(config)
        for batch in batches:
            images = torch.randint(0, 256, (batch, 3, runner.size, runner.size), dtype=torch.uint8)
            rates[f"{precision}, batch {batch}"] = batch / seconds(partial(runner.run, images), device, repeats)
    return rates


def decoding(folder: Path, size: int, repeats: int) -> float:
    """Return images a second that one processor decodes and scales."""
    files = list_images([folder])[:256]

    def read() -> None:
        for file in files:
            to_input(read_image(file.path).rgb, size)

    return len(files) / seconds(read, torch.device("cpu"), repeats)


def discovering(folder: Path, checkpoint: Path, device: torch.device, repeats: int) -> dict[str, Any]:
    """Return images a second of `discover` and of the bare forward passes, with overlays, for each method."""
    files = list_images([folder])
    found = {}
    methods = [("lmpnet", "none"), ("saliency", "none")]
    if load_checkpoint(checkpoint).part_head is not None:
        methods[1:1] = [("parts", "none"), ("parts", "one")]
    for method, objects in methods:
        images = [file.path for file in files[: 8 if method == "saliency" else None]]
        shared = {"method": method, "checkpoint": checkpoint, "device": str(device)}
        shared |= {} if method == "saliency" else {"objects": objects}

        def run(images: Sequence[Path] = images, shared: dict[str, Any] = shared) -> None:
            with tempfile.TemporaryDirectory() as out:
                discover(images, out=Path(out) / "out", **shared)

        rates = {"discover": len(images) / seconds(run, device, repeats)}
        if method != "saliency":
            rates["forward"] = bare(images, checkpoint, device, method, objects, repeats)
            rates["ratio"] = rates["discover"] / rates["forward"]
        found[f"{method}, objects {objects}"] = {name: round(rate, 3) for name, rate in rates.items()}
    return found


def bare(
    images: Sequence[Path], checkpoint: Path, device: torch.device, method: Any, objects: str, repeats: int
) -> float:
    """Return images a second of the forward passes of a method, on inputs that are in memory."""
    config = DiscoverConfig(images=tuple(images), method=method, checkpoint=checkpoint, device=str(device))
    runner = open_runner(config, replica=method == "lmpnet")
    files = list_images(images)
    first = first_look_of(open_runner(config, replica=False)) if objects == "one" else None
    return len(files) / seconds(bare_forward(runner, ready_batches(runner, files), first), device, repeats)


def occlusion_map(
    image: Path, device: torch.device, stride: int | None, copies: tuple[int, ...], repeats: int
) -> dict[str, str]:
    """Return the lines of `occlusion.py` for this device; a reason where captum is not installed."""
    if importlib.util.find_spec("captum") is None:
        return {"not measured": "captum is not installed"}
    import occlusion

    lines, _ = occlusion.measure(image, repeats, copies, str(device), stride)
    return {"lines": "\n".join(line for line in lines if line.startswith("|"))}


def by_ray(folder: Path, checkpoint: Path) -> dict[str, Any]:
    """Return images a second of `discover --backend ray`; a reason where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        return {"not measured": "Ray is not installed"}
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        found = discover_on_ray(folder, checkpoint=checkpoint, out=Path(out) / "out")
        return {"images/s": round(found.images / (time.perf_counter() - started), 2)}


def memory_of(device: torch.device) -> str:
    """Return the name of the device, and its memory."""
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
