"""A trained LMPNet over many images: what discover, viz-filters, eval and match have in common."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmpnet_cli.config import KeypointConfig, ModelConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import DeviceError, OptionError
from lmpnet_cli.inference.windows import (
    GivenWindows,
    WiderWindows,
    WindowFinder,
    first_look_of,
    margin_of,
    second_look,
)
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.files import file_sha256
from lmpnet_cli.io.runtime import evaluating, fast_bfloat16, resolve_device
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput, concatenate
from lmpnet_cli.model.reading import DEFAULT_READING, Reading
from lmpnet_cli.progress import Progress


class ModelRunner:
    """A model ready to work: yields images with the maps of both networks.

    Attributes:
        device: where the model is.
        reading: decides what is hidden from the replica.
        checkpoint, checksum: file of the weights; None for a model that was given.
        size: side of the network input in pixels.
        at_once: images that fit into memory, where a whole batch did not.
        finder: finds the windows that the networks see in place of whole images; None shows them the whole images.
    """

    def __init__(
        self,
        model: LMPNet,
        loader: ImageLoader,
        checkpoint: Path | None = None,
        bfloat16: bool = False,
        reading: Reading = DEFAULT_READING,
        finder: WindowFinder | None = None,
    ) -> None:
        self.finder = finder
        self.model, self.loader, self.bfloat16, self.reading = model, loader, bfloat16, reading
        self.device, self.size = loader.device, loader.size
        self.checkpoint = checkpoint
        self.checksum = None if checkpoint is None else file_sha256(checkpoint)
        self.at_once: int | None = None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Return (file name, reason) of the images that the last pass could not read."""
        return self.loader.skipped

    def checkpoint_record(self) -> dict[str, Any]:
        """Return name and checksum of the weights, for the results."""
        return {"name": self.checkpoint and self.checkpoint.name, "sha256": self.checksum}

    def looks(self, loaded: list[LoadedImage], pixels: Tensor) -> Iterable[tuple[list[LoadedImage], Tensor]]:
        """Return what the networks see of a batch, as `second_look`."""
        return second_look(self.finder, loaded, pixels, self.loader.batch_size)

    def run(self, pixels: Tensor, change: Callable[[Tensor], Tensor] = lambda images: images) -> LMPNetOutput:
        """Run both networks on (B, 3, S, S) bytes; `change` is applied to the normalised images.

        When memory runs out, the batch is halved, this time and from then on (`at_once`).

        Raises:
            DeviceError: when memory does not suffice for one image.
        """
        outputs: list[LMPNetOutput] = []
        done = 0
        while done < len(pixels):
            chosen = pixels[done : done + (self.at_once or len(pixels))]
            try:
                outputs.append(self._run(chosen, change))
                done += len(chosen)
            except RuntimeError as error:
                if not _memory_ran_out(error):
                    raise
                self._halve(len(chosen), error)
        return outputs[0] if len(outputs) == 1 else concatenate(outputs)

    def _run(self, pixels: Tensor, change: Callable[[Tensor], Tensor]) -> LMPNetOutput:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = pixels.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            output: LMPNetOutput = self.model(change(self.model.normalize(images)), self.reading)
        return output

    def _halve(self, count: int, error: RuntimeError) -> None:
        if count == 1:
            raise DeviceError(
                f"{self.device} does not have enough memory for one image. Use a smaller --size, or --device cpu."
            ) from error

        self.at_once = count // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], LMPNetOutput]]:
        """Yield readable images with their maps; arguments and errors as for `ImageLoader.batches`.

        Where windows are looked for, an image has an entry for each of its objects; all of them are in one batch.
        """
        with evaluating(self.model):
            announced = self.at_once
            for whole, whole_pixels in self.loader.batches(images, progress, preview):
                for loaded, pixels in self.looks(whole, whole_pixels):
                    output = self.run(pixels)

                    if self.at_once != announced:
                        announced = self.at_once
                        progress.warn(
                            f"{self.device} does not have enough memory for {len(pixels)} images at once; continuing "
                            f"with {announced}. Pass --batch-size {announced} next time."
                        )

                    yield loaded, output
                    del loaded, pixels, output  # before the next batch takes as much: the same memory serves all
                del whole, whole_pixels


def open_learning_runner(config: ModelConfig, learned: str) -> ModelRunner:
    """Open the network that provides the features to learn from, in bfloat16 where that is faster.

    Args:
        learned: what is learned, for the message.

    Raises:
        OptionError: for another size than the model's, at which it will be used.
        CheckpointError, DeviceError: when there is no such model or device.
    """
    device = resolve_device(config.device)
    if config.precision == "auto" and fast_bfloat16(device):
        config = replace(config, precision="bf16")

    runner = open_runner(config, load_checkpoint(config.checkpoint, str(device)), replica=False, objects=1)
    trained_size = runner.model.spec.input_size
    if runner.size != trained_size:
        raise OptionError(
            f"--size {runner.size} differs from the model's input size, {trained_size}, at which the {learned} will be "
            "used. Remove --size."
        )
    return runner


def _memory_ran_out(error: RuntimeError) -> bool:
    # only CUDA's error has a type of its own
    messages = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(message in str(error) for message in messages)


def _ready(model: LMPNet) -> LMPNet:
    """Return a model of ours, rather than of a caller, ready for evaluation alone."""
    for network in (model.network, model.replica):
        if network is not None:
            network.backbone.fold_batch_norms()
    return model


def open_runner(
    config: ModelConfig,
    model: LMPNet | None = None,
    replica: bool = True,
    reading: Reading = DEFAULT_READING,
    objects: int = 0,
    given: bool = False,
) -> ModelRunner:
    """Open the model of `config` with an image loader for it.

    Args:
        model: a loaded model, in place of the checkpoint that `config` names; it stays where it is unless `config`
            names a device.
        replica: False removes the replica.
        objects: largest number of objects on an image; 0 shows the networks the whole image.
        given: the images are listed with the boxes of their objects, so that no first look is needed.

    Raises:
        CheckpointError, DeviceError: when there is no such model or device.
    """
    stays = model is not None and config.device == "auto"
    device = model.get_buffer("mean").device if model and stays else resolve_device(config.device)
    checkpoint = config.checkpoint or (bundled_checkpoint() if model is None else None)
    opened = model.to(device) if model else _ready(load_checkpoint(checkpoint, str(device)))

    # a new pair; the caller's model keeps its replica and its mode
    heads = (opened.part_head, opened.object_head, opened.landmark_head)
    alone = LMPNet(opened.spec, opened.network, None, *heads).to(device)

    size = config.size or opened.spec.input_size
    loader = ImageLoader(
        size,
        device,
        batch_size=config.batch_size,
        workers=config.workers,
        max_pixels=config.max_pixels,
        scenes=bool(objects),
    )
    bfloat16 = config.precision == "bf16"  # it makes neighbouring cells equal, so only where the user asks for it
    finder: WindowFinder | None = None
    if given:
        finder = GivenWindows(objects)
    elif objects:
        finder = first_look_of(ModelRunner(alone, loader, bfloat16=bfloat16), objects)
    if finder is not None and isinstance(config, KeypointConfig):
        finder = WiderWindows(finder, margin_of(opened, config.method))
    return ModelRunner(opened if replica else alone, loader, checkpoint, bfloat16, reading, finder)
