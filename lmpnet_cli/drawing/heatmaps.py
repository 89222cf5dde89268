"""A map drawn over the image that it belongs to."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.images import Rgb


def muted(rgb: Rgb) -> Rgb:
    """The picture half-way to pale grey, so that colours drawn on it stand out."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.asarray((0.25 * rgb + 0.45 * grey + 0.3 * 255).round().astype(np.uint8))


def heat_overlay(rgb: Rgb, activation: NDArray[np.float32], top: float) -> Rgb:
    """A map drawn over a picture: bilinear, cell centres in place, warm where it answers most.

    Args:
        rgb: (h, w, 3).
        activation: (H, W) map over the whole picture.
        top: the value that is drawn strongest.
    """
    height, width = rgb.shape[:2]
    share = np.clip(cv2.resize(activation, (width, height), interpolation=cv2.INTER_LINEAR) / max(top, 1e-12), 0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    alpha = (0.75 * share**0.7)[..., None]  # weak answers show, too
    return np.asarray(rgb * (1 - alpha) + colors * alpha).round().astype(np.uint8)
