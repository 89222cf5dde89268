"""One frozen dataclass for each command: the only place where a default stands.

Each checks its own ranges, with messages that name the option.
"""

from lmpnet_cli.config.base import MAX_PIXELS, ModelConfig, RunConfig, default_out
from lmpnet_cli.config.checks import url_of
from lmpnet_cli.config.convert import FORMATS as CONVERT_FORMATS
from lmpnet_cli.config.convert import ConvertConfig, ReportConfig
from lmpnet_cli.config.discover import GRAPH_SUFFIX, VIDEOS, DiscoverConfig, ExportConfig, MergeConfig
from lmpnet_cli.config.filters import VisualizeConfig
from lmpnet_cli.config.keypoints import EvaluateConfig, KeypointConfig, SaliencyConfig, SalientConfig
from lmpnet_cli.config.training import TrainConfig
from lmpnet_cli.config.vocabulary import MatchConfig, VocabularyConfig

__all__ = [
    "CONVERT_FORMATS",
    "GRAPH_SUFFIX",
    "MAX_PIXELS",
    "VIDEOS",
    "ConvertConfig",
    "DiscoverConfig",
    "EvaluateConfig",
    "ExportConfig",
    "KeypointConfig",
    "MatchConfig",
    "MergeConfig",
    "ModelConfig",
    "ReportConfig",
    "RunConfig",
    "SaliencyConfig",
    "SalientConfig",
    "TrainConfig",
    "VisualizeConfig",
    "VocabularyConfig",
    "default_out",
    "url_of",
]
