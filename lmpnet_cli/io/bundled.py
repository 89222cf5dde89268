"""Find the bundled weights and example images: inside a wheel, or beside the package in a clone."""

import json
from pathlib import Path

from safetensors import safe_open

from lmpnet_cli.errors import CheckpointError, DatasetError

_PACKAGE = Path(__file__).parent.parent


def _find(relative: str) -> Path | None:
    for base in (_PACKAGE / "bundled", _PACKAGE.parent):
        if (base / relative).exists():
            return base / relative
    return None


def bundled_checkpoint() -> Path:
    """Return the path of the bundled model, `weights/lmpnet-birds.safetensors`.

    Raises:
        CheckpointError: when this installation has no bundled model.
    """
    path = _find("weights/lmpnet-birds.safetensors")
    if path is None:
        raise CheckpointError(
            "This installation has no bundled weights. Name a checkpoint of `lmpnet train` in place of them."
        )
    return path


def bundled_examples() -> Path:
    """Return the folder of the annotated example images, `examples/birds`, in the CUB layout.

    Raises:
        DatasetError: when this installation has no example images.
    """
    path = _find("examples/birds")
    if path is None:
        raise DatasetError("This installation has no example images. Pass your own folder.")
    return path


def bundled_classes() -> list[str]:
    """Return the names of the classes of the bundled model, without loading what builds networks."""
    with safe_open(bundled_checkpoint(), framework="np") as file:
        header = json.loads(file.metadata()["lmpnet"])
    classes: list[str] = header["spec"]["classes"]
    return classes
