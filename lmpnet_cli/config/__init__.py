"""One frozen dataclass for each command: the only place where a default stands.

Each checks its own ranges, with messages that name the option.
"""

from lmpnet_cli.config.base import ModelConfig, RunConfig, default_out
from lmpnet_cli.config.filters import VisualizeConfig
from lmpnet_cli.config.keypoints import DiscoverConfig, EvaluateConfig, KeypointConfig, SaliencyConfig, SalientConfig
from lmpnet_cli.config.training import TrainConfig

__all__ = [
    "DiscoverConfig",
    "EvaluateConfig",
    "KeypointConfig",
    "ModelConfig",
    "RunConfig",
    "SaliencyConfig",
    "SalientConfig",
    "TrainConfig",
    "VisualizeConfig",
    "default_out",
]
