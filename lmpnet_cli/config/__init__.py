"""One frozen dataclass for each command: the only place where a default stands.

Each checks its own ranges, with messages that name the option.
"""

from lmpnet_cli.config.checks import url_of
from lmpnet_cli.config.convert import FORMATS as CONVERT_FORMATS
from lmpnet_cli.config.convert import ConvertConfig, ReportConfig
from lmpnet_cli.config.discover import ONNX_SUFFIX, VIDEOS, DiscoverConfig, ExportConfig, MergeConfig
from lmpnet_cli.config.keypoints import EvaluateConfig, KeypointConfig, SaliencyConfig, SaliencyHistogramConfig
from lmpnet_cli.config.parts import MatchConfig, PartsConfig
from lmpnet_cli.config.run import MAX_PIXELS, ModelConfig, RunConfig, default_out
from lmpnet_cli.config.train import TrainConfig
from lmpnet_cli.config.visualize import VisualizeConfig

__all__ = [
    "CONVERT_FORMATS",
    "MAX_PIXELS",
    "ONNX_SUFFIX",
    "VIDEOS",
    "ConvertConfig",
    "DiscoverConfig",
    "EvaluateConfig",
    "ExportConfig",
    "KeypointConfig",
    "MatchConfig",
    "MergeConfig",
    "ModelConfig",
    "PartsConfig",
    "ReportConfig",
    "RunConfig",
    "SaliencyConfig",
    "SaliencyHistogramConfig",
    "TrainConfig",
    "VisualizeConfig",
    "default_out",
    "url_of",
]
