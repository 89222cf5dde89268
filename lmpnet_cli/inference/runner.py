"""A trained LMPNet over many pictures: what discover, viz-filters and eval have in common.

`Engine` opens the model, decides device, precision and input size, and yields pictures with the maps of both networks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lmpnet_cli.config import ModelConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import DeviceError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import file_sha256, load_checkpoint
from lmpnet_cli.io.runtime import evaluating, resolve_device
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput, concatenate
from lmpnet_cli.progress import Progress


def _memory_ran_out(error: RuntimeError) -> bool:
    # only CUDA's has a type of its own
    told = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


class ModelRunner:
    """A model ready to work."""

    def __init__(self, config: ModelConfig, model: LMPNet | None = None, replica: bool = True) -> None:
        """
        Args:
            model: takes the place of the checkpoint that `config` names; it stays where it is unless `config` names a
                device.
            replica: False leaves the replica out.

        Raises:
            CheckpointError, DeviceError: when there is no such model or device.
        """
        self.config = config
        stays = model is not None and config.device == "auto"
        self.device = model.get_buffer("mean").device if model and stays else resolve_device(config.device)
        self.checkpoint = config.checkpoint or (bundled_checkpoint() if model is None else None)
        self.model = model.to(self.device) if model else load_checkpoint(self.checkpoint, str(self.device))
        if not replica:
            # its mode stays as it is
            bare = LMPNet(self.model.spec, self.model.network, part_head=self.model.part_head)
            self.model = bare.to(self.device)
        self.size = config.size or self.model.spec.input_size
        self.reader = ImageLoader(self.size, self.device, config.batch_size, config.workers, config.max_pixels)
        self.at_once: int | None = None  # pictures that fit into memory, where a whole batch did not
        self.checksum = None if self.checkpoint is None else file_sha256(self.checkpoint)
        # bfloat16 makes neighbouring cells equal, so it is for those who ask for it
        self.bfloat16 = config.precision == "bf16"

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(file name, reason) of the last pass over pictures."""
        return self.reader.skipped

    def checkpoint_record(self) -> dict[str, Any]:
        """Name and checksum of the weights, for the results."""
        return {"name": self.checkpoint and self.checkpoint.name, "sha256": self.checksum}

    def maps(self, pixels: Tensor, change: Callable[[Tensor], Tensor] = lambda images: images) -> LMPNetOutput:
        """Both networks on (B, 3, S, S) bytes; `change` is applied to the normalised images.

        Where memory runs out, the batch is halved, this time and from then on: see `at_once`.

        Raises:
            DeviceError: when memory does not suffice for one picture.
        """
        parts: list[LMPNetOutput] = []
        done = 0
        while done < len(pixels):
            chosen = pixels[done : done + (self.at_once or len(pixels))]
            try:
                parts.append(self._maps(chosen, change))
                done += len(chosen)
            except RuntimeError as error:
                if not _memory_ran_out(error):
                    raise
                if len(chosen) == 1:
                    raise DeviceError(
                        f"The memory of {self.device} does not suffice for one picture. Use a smaller --size, or "
                        "--device cpu."
                    ) from error
                self.at_once = len(chosen) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def _maps(self, pixels: Tensor, change: Callable[[Tensor], Tensor]) -> LMPNetOutput:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = pixels.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            output: LMPNetOutput = self.model(change(self.model.normalize(images)))
        return output

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], LMPNetOutput]]:
        """Readable pictures with their maps; the rest is that of `PictureReader.batches`."""
        with evaluating(self.model):
            told = self.at_once
            for pictures, pixels in self.reader.batches(images, progress, preview):
                maps = self.maps(pixels)
                if self.at_once != told:
                    told = self.at_once
                    progress.warn(
                        f"The memory of {self.device} does not suffice for {len(pixels)} pictures at once: it goes on "
                        f"with {told}. Next time give --batch-size {told}."
                    )
                yield pictures, maps
                del pictures, pixels, maps  # before the next batch takes as much: the same memory serves all
