"""Where keypoints come from: what decided them, as results record it."""

import hashlib
from collections.abc import Iterable, Sequence
from inspect import get_annotations
from typing import Any

from lmpnet_cli.config import DiscoverConfig, SaliencyConfig
from lmpnet_cli.data.listing import ListedImage, absolute
from lmpnet_cli.inference.onnx import OnnxPredictor
from lmpnet_cli.inference.predictor import Predictor
from lmpnet_cli.io.coco import FORMAT_VERSION
from lmpnet_cli.io.run_record import versions

# what a run may differ in when it goes on
_OF_THE_MACHINE = ("out", "overwrite", "resume", "workers", "report", "export", "images")
MEANING = {
    "prominence": "ranks by prominence in each image, not body parts",
    "identity": "the same number is the same part in every image, and no distance thr applies",
}


def describe(predictor: Predictor, config: DiscoverConfig) -> dict[str, Any]:
    """How keypoints were found: `info` of `keypoints.json`, but for the date."""
    return {
        "description": f"Keypoints found by lmpnet: {MEANING[predictor.order]}.",
        "lmpnet_version": versions()["lmpnet-cli"],
        "format_version": FORMAT_VERSION,
        "method": config.method or {"prominence": "lmpnet", "identity": "parts"}[predictor.order],
        "order": predictor.order,
        "k": len(predictor.names),
        "thr": predictor.thresholds([config.thr])[0],
        **predictor.record(),
        "classes": list(predictor.classes),
        "seed": config.seed,
    }


def settings(predictor: Predictor, config: DiscoverConfig) -> dict[str, Any]:
    """The options that decide where keypoints lie and that `describe` does not tell, as they turned out."""
    fixed = predictor.header.options if isinstance(predictor, OnnxPredictor) else {}
    names = ["filters", "margin", "replica", "precision", "max_pixels"]
    if config.method == "saliency":
        names += [name for name in get_annotations(SaliencyConfig) if name not in ("panels", "classifier_weights")]
    return {"size": predictor.reader.size, **{name: fixed.get(name, getattr(config, name)) for name in names}}


def what_decides(predictor: Predictor, config: DiscoverConfig, files: Sequence[ListedImage]) -> dict[str, Any]:
    """What decides the results: it must be the same when a run goes on."""
    options = {name: value for name, value in config.options().items() if name not in _OF_THE_MACHINE}
    return {
        "places": [str(absolute(path)) for path in config.images],
        "images": len(files),
        "names_sha256": names_sha256(file.name for file in files),
        "info": describe(predictor, config),
        # the number of images in a batch is among them: sums of floating point numbers hang on it, in the last digits
        "options": options
        | {"backend": config.backend_used, "bfloat16": predictor.bfloat16, "device": str(predictor.device)},
    }


def names_sha256(names: Iterable[str]) -> str:
    """Checksum of a list of images by their names; no name holds a zero byte."""
    return hashlib.sha256(b"\0".join(map(_encoded, names))).hexdigest()


def _encoded(name: str) -> bytes:
    try:
        return name.encode(errors="surrogateescape")  # bytes of a file name that are no text
    except UnicodeEncodeError:  # no name of a file at all, as a damaged document may have it
        return name.encode(errors="surrogatepass")
