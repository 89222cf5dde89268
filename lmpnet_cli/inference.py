"""A trained model over many pictures: what discover, viz-filters and eval have in common.

1. `Engine` opens the model and decides device, precision and input size.
2. `Engine.batches` decodes pictures in worker processes and yields them with the maps of both networks, in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lmpnet_cli.bundled import bundled_checkpoint
from lmpnet_cli.checkpoints import file_sha256, load_checkpoint
from lmpnet_cli.config import ModelConfig
from lmpnet_cli.images import ListedImage, UnreadableImage, read_image, to_input
from lmpnet_cli.lmp.network import LMPNet, PairMaps
from lmpnet_cli.rendering import Rgb
from lmpnet_cli.runtime import fast_bfloat16, resolve_device, resolve_workers


@dataclass(frozen=True)
class Prepared:
    """One picture as a worker hands it over; `reason` says why where it could not be read.

    Attributes:
        pixels: (3, S, S) bytes, the network input.
        preview: the picture for drawing, at most as large as was asked for.
        width, height: of the file, EXIF orientation applied.
    """

    index: int
    name: str
    pixels: Tensor | None = None
    preview: Rgb | None = None
    width: int = 0
    height: int = 0
    reason: str = ""


class PictureSet(Dataset[Prepared]):
    """Listed images, decoded."""

    def __init__(self, images: Sequence[ListedImage], size: int, max_pixels: int, preview: int | None) -> None:
        """
        Args:
            size: side of the network input in pixels.
            preview: longest side of the picture kept for drawing; None keeps none.
        """
        self.images, self.size, self.max_pixels, self.preview = list(images), size, max_pixels, preview

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Prepared:
        image = self.images[index]
        try:
            picture = read_image(image.path, self.max_pixels, at_least=max(2 * self.size, self.preview or 0))
        except UnreadableImage as error:
            return Prepared(index, image.name, reason=str(error))
        pixels = torch.from_numpy(np.ascontiguousarray(to_input(picture.rgb, self.size).transpose(2, 0, 1)))
        preview = _shrink(picture.rgb, self.preview) if self.preview else None
        return Prepared(index, image.name, pixels, preview, picture.width, picture.height)


def _shrink(rgb: Rgb, longest: int) -> Rgb:
    scale = longest / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


class Engine:
    """A model ready to work."""

    def __init__(self, config: ModelConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: takes the place of the checkpoint that `config` names.

        Raises:
            CheckpointError, DeviceError: when there is no such model or device.
        """
        self.config = config
        self.device = resolve_device(config.device)
        self.checkpoint = config.checkpoint or (bundled_checkpoint() if model is None else None)
        self.model = model or load_checkpoint(self.checkpoint, str(self.device))
        self.size = config.size or self.model.spec.input_size
        fast = self.device.type == "cuda" and fast_bfloat16(self.device)
        self.bfloat16 = config.precision == "bf16" or (config.precision == "auto" and fast)

    def checkpoint_record(self) -> dict[str, Any]:
        """Name and checksum of the weights, for the results."""
        if self.checkpoint is None:
            return {"name": None, "sha256": None}
        return {"name": self.checkpoint.name, "sha256": file_sha256(self.checkpoint)}

    def maps(self, pixels: Tensor, filters: int | None = None) -> PairMaps:
        """Both networks on (B, 3, S, S) bytes."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = pixels.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            pair: PairMaps = self.model(self.model.normalize(images), filters)
        return pair

    def batches(
        self, images: Sequence[ListedImage], filters: int | None = None, preview: int | None = None
    ) -> Iterator[tuple[list[Prepared], PairMaps | None]]:
        """Pictures with their maps, in the order of `images`.

        Yields:
            All pictures of a batch, unreadable ones too, and the maps of the readable ones (None if there is none).
        """
        workers = min(resolve_workers(self.config.workers), len(images))
        dataset = PictureSet(images, self.size, self.config.max_pixels, preview)
        loader = DataLoader(
            dataset,
            self.config.batch_size,
            num_workers=workers,
            collate_fn=list,
            pin_memory=False,
            prefetch_factor=2 if workers else None,
        )
        for batch in loader:
            pixels = [picture.pixels for picture in batch if picture.pixels is not None]
            yield batch, self.maps(torch.stack(pixels), filters) if pixels else None
