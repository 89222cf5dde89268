"""lmpnet: find the keypoints of things in photographs, from class labels alone.

The public names load on first use, so that `import lmpnet_cli` and `lmpnet --help` need neither torch nor cv2.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lmpnet_cli.checkpoints import load_checkpoint
    from lmpnet_cli.cluster import discover_on_ray
    from lmpnet_cli.converting import convert
    from lmpnet_cli.discovery import discover
    from lmpnet_cli.evaluation import evaluate
    from lmpnet_cli.exporting import export
    from lmpnet_cli.filter_views import visualize_filters
    from lmpnet_cli.inspecting import info
    from lmpnet_cli.keypoints import Keypoints
    from lmpnet_cli.lmp.clustering import learnable_clustering
    from lmpnet_cli.lmp.network import LMPNet
    from lmpnet_cli.lmp.pooling import LeakyMaxPool2d, leaky_max_pool
    from lmpnet_cli.matching import match
    from lmpnet_cli.merging import merge
    from lmpnet_cli.metrics import feature_map_entropy, greedy_pck
    from lmpnet_cli.reporting import report
    from lmpnet_cli.salience import salient
    from lmpnet_cli.training import train
    from lmpnet_cli.vocabularies import vocabulary

__all__ = [
    "Keypoints",
    "LMPNet",
    "LeakyMaxPool2d",
    "convert",
    "discover",
    "discover_on_ray",
    "evaluate",
    "export",
    "feature_map_entropy",
    "greedy_pck",
    "info",
    "leaky_max_pool",
    "learnable_clustering",
    "load_checkpoint",
    "match",
    "merge",
    "report",
    "salient",
    "train",
    "visualize_filters",
    "vocabulary",
]

_HOMES = {
    "Keypoints": "keypoints",
    "LMPNet": "lmp.network",
    "LeakyMaxPool2d": "lmp.pooling",
    "convert": "converting",
    "discover": "discovery",
    "discover_on_ray": "cluster",
    "evaluate": "evaluation",
    "export": "exporting",
    "feature_map_entropy": "metrics",
    "greedy_pck": "metrics",
    "info": "inspecting",
    "leaky_max_pool": "lmp.pooling",
    "learnable_clustering": "lmp.clustering",
    "load_checkpoint": "checkpoints",
    "match": "matching",
    "merge": "merging",
    "report": "reporting",
    "salient": "salience",
    "train": "training",
    "visualize_filters": "filter_views",
    "vocabulary": "vocabularies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
