"""One frozen dataclass for each command: the only place where an option is declared.

`options.py` says how an option is declared and checked; `method.py` says which options belong to which method.
"""

from lmpnet_cli.config.convert import FORMATS as CONVERT_FORMATS
from lmpnet_cli.config.convert import ConvertConfig, MergeConfig, ReportConfig
from lmpnet_cli.config.discover import FIXED_IN_ONNX, ONNX_SUFFIX, VIDEOS, DiscoverConfig
from lmpnet_cli.config.evaluate import EvaluateConfig, SaliencyHistogramConfig
from lmpnet_cli.config.export import ExportConfig
from lmpnet_cli.config.fit import FitConfig
from lmpnet_cli.config.method import KeypointConfig, Method
from lmpnet_cli.config.options import Paths, as_paths, file_in, takes_options, url_of
from lmpnet_cli.config.parts import MatchConfig, PartsConfig
from lmpnet_cli.config.run import CHECKPOINT, MAX_PIXELS, ModelConfig, RunConfig, default_out
from lmpnet_cli.config.saliency import SaliencyConfig
from lmpnet_cli.config.train import TrainConfig
from lmpnet_cli.config.visualize import VisualizeConfig

__all__ = [
    "CHECKPOINT",
    "CONVERT_FORMATS",
    "FIXED_IN_ONNX",
    "MAX_PIXELS",
    "ONNX_SUFFIX",
    "VIDEOS",
    "ConvertConfig",
    "DiscoverConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FitConfig",
    "KeypointConfig",
    "MatchConfig",
    "MergeConfig",
    "Method",
    "ModelConfig",
    "PartsConfig",
    "Paths",
    "ReportConfig",
    "RunConfig",
    "SaliencyConfig",
    "SaliencyHistogramConfig",
    "TrainConfig",
    "VisualizeConfig",
    "as_paths",
    "default_out",
    "file_in",
    "takes_options",
    "url_of",
]
