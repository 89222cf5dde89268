"""Where the bundled weights and example pictures lie: inside a wheel, or beside the package in a clone."""

from pathlib import Path

from lmpnet_cli.errors import CheckpointError, DatasetError

_PACKAGE = Path(__file__).parent.parent


def _find(relative: str) -> Path | None:
    for base in (_PACKAGE / "bundled", _PACKAGE.parent):
        if (base / relative).exists():
            return base / relative
    return None


def bundled_checkpoint() -> Path:
    """The bundled model, `weights/lmpnet-birds.safetensors`."""
    path = _find("weights/lmpnet-birds.safetensors")
    if path is None:
        raise CheckpointError("This installation holds no bundled weights. Name a checkpoint with --checkpoint FILE.")
    return path


def bundled_examples() -> Path:
    """The annotated example pictures, `examples/birds`, in the CUB layout."""
    path = _find("examples/birds")
    if path is None:
        raise DatasetError("This installation holds no example pictures. Name a folder of your own.")
    return path
