"""Draw a map over the image that it was computed from."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.images import Rgb


def muted(rgb: Rgb) -> Rgb:
    """Return the image mixed with pale grey, so that colours drawn on it stand out."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.asarray((0.25 * rgb + 0.45 * grey + 0.3 * 255).round().astype(np.uint8))


def heat_overlay(rgb: Rgb, activation: NDArray[np.float32], top: float) -> Rgb:
    """Draw a map over an image in warm colours; bilinear interpolation keeps the cell centres in place.

    Args:
        rgb: (h, w, 3) image.
        activation: (H, W) map over the whole image.
        top: the activation that is drawn in the strongest colour; larger ones look the same.
    """
    height, width = rgb.shape[:2]
    resized = cv2.resize(activation, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.clip(resized / max(top, 1e-12), 0, 1)

    heat = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    colors = cv2.cvtColor(heat, cv2.COLOR_BGR2RGB)
    alpha = (0.75 * strength**0.7)[..., None]  # the exponent keeps weak activations visible
    return np.asarray(rgb * (1 - alpha) + colors * alpha).round().astype(np.uint8)
