"""timm's pretrained weights: downloaded once, and if that fails, one message in place of the libraries' own."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from lmpnet_cli.errors import CheckpointError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # names of the files in timm's repositories
TIMEOUT = 10.0  # seconds to wait for an answer
LOGGERS = ("huggingface_hub", "timm", "urllib3", "httpx", "httpcore", "httpx2", "httpcore2")


def check_pretrained(name: str) -> None:
    """Check that timm's weights for a network are on this computer or can be downloaded; tries to connect once.

    timm itself would try again and again for a minute.

    Raises:
        CheckpointError: when timm has none, or when there is no connection.
    """
    try:
        source: Any = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # the name has an unknown tag behind its dot
        raise _nonexistent(name) from error
    if source is not None and not source.has_weights:
        raise _nonexistent(name)
    if source is None or not source.hf_hub_id or _is_stored(source):
        return

    try:
        with quiet_libraries():
            get_hf_file_metadata(hf_hub_url(source.hf_hub_id, HUB_FILES[0]), timeout=TIMEOUT)
    except HfHubHTTPError:
        return  # there is an answer, so there is a connection
    except Exception as error:  # its type depends on the version of the library
        raise unavailable(name, error) from error


def unavailable(name: str, error: Exception) -> CheckpointError:
    """Return the error for weights that could not be downloaded."""
    return CheckpointError(
        f"The pretrained weights of {name} are not on this computer and could not be downloaded "
        f"({type(error).__name__}). Connect to the internet once, pass --init FILE with weights on disk, or "
        "--init none to start from random weights."
    )


@contextmanager
def quiet_libraries(names: Sequence[str] = LOGGERS, level: int = logging.CRITICAL) -> Iterator[None]:
    """Suppress what loggers report below a level; by default retries and missing accounts of libraries that download.

    Args:
        names: of the loggers.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _nonexistent(name: str) -> CheckpointError:
    return CheckpointError(
        f"timm has no pretrained weights for {name}. Choose another --backbone, pass --init FILE with weights on disk, "
        "or --init none to start from random weights."
    )


def _is_stored(source: Any) -> bool:
    """Return whether the weights are in the cache of the hub, or in that of torch under their older address."""
    if any(isinstance(try_to_load_from_cache(source.hf_hub_id, file), str) for file in HUB_FILES):
        return True
    older = PurePosixPath(urlparse(source.url or "").path).name
    return bool(older) and (Path(torch.hub.get_dir()) / "checkpoints" / older).is_file()
