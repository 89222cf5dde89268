"""lmpnet: discover keypoints on objects in photos, using only image class labels.

Public names load on first use, so that `import lmpnet_cli` and `lmpnet --help` need neither torch nor cv2.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lmpnet_cli.discovery.discover import discover
    from lmpnet_cli.discovery.match import match
    from lmpnet_cli.discovery.merge import merge
    from lmpnet_cli.discovery.ray.run import discover_on_ray
    from lmpnet_cli.evaluation.evaluate import evaluate
    from lmpnet_cli.evaluation.pck import greedy_pck
    from lmpnet_cli.evaluation.saliency_histogram import salient
    from lmpnet_cli.export.convert import convert
    from lmpnet_cli.export.onnx import export_onnx
    from lmpnet_cli.export.report.report import report
    from lmpnet_cli.filters.visualize import visualize_filters
    from lmpnet_cli.inference.inspect import info
    from lmpnet_cli.io.checkpoints import load_checkpoint
    from lmpnet_cli.keypoints import Keypoints
    from lmpnet_cli.landmarks.fit import fit
    from lmpnet_cli.model.clustering import learnable_clustering
    from lmpnet_cli.model.entropy import feature_map_entropy
    from lmpnet_cli.model.lmpnet import LMPNet
    from lmpnet_cli.model.pooling import LeakyMaxPool2d, leaky_max_pool
    from lmpnet_cli.parts.learn_parts import learn_parts
    from lmpnet_cli.training.train import train

_MODULES = {
    "Keypoints": "keypoints",
    "LMPNet": "model.lmpnet",
    "LeakyMaxPool2d": "model.pooling",
    "convert": "export.convert",
    "discover": "discovery.discover",
    "discover_on_ray": "discovery.ray.run",
    "evaluate": "evaluation.evaluate",
    "export_onnx": "export.onnx",
    "feature_map_entropy": "model.entropy",
    "fit": "landmarks.fit",
    "greedy_pck": "evaluation.pck",
    "info": "inference.inspect",
    "leaky_max_pool": "model.pooling",
    "learn_parts": "parts.learn_parts",
    "learnable_clustering": "model.clustering",
    "load_checkpoint": "io.checkpoints",
    "match": "discovery.match",
    "merge": "discovery.merge",
    "report": "export.report.report",
    "salient": "evaluation.saliency_histogram",
    "train": "training.train",
    "visualize_filters": "filters.visualize",
}

__all__ = [
    "Keypoints",
    "LMPNet",
    "LeakyMaxPool2d",
    "convert",
    "discover",
    "discover_on_ray",
    "evaluate",
    "export_onnx",
    "feature_map_entropy",
    "fit",
    "greedy_pck",
    "info",
    "leaky_max_pool",
    "learn_parts",
    "learnable_clustering",
    "load_checkpoint",
    "match",
    "merge",
    "report",
    "salient",
    "train",
    "visualize_filters",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
