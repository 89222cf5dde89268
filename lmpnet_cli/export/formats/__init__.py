"""Write keypoints in the formats of other tools, all from one `Document`.

To add a format, write one module here that holds a record `FORMAT = Format(...)` and is named like its value of `--to`
(with _ for -), and add that value to `FormatName` in `config/convert.py`. The names are there because the
command line answers `--help` before it loads anything. `lmpnet convert`, `discover --export`, the lock on the output
and the warnings follow from the record.
"""

from collections.abc import Mapping
from importlib import import_module

from lmpnet_cli.config import CONVERT_FORMATS
from lmpnet_cli.export.formats.document import Document, read_document
from lmpnet_cli.export.formats.format import Destination, Format

__all__ = ["FORMATS", "Destination", "Document", "Format", "read_document"]


def _load(name: str) -> Format:
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    record: Format = module.FORMAT
    return record


FORMATS: Mapping[str, Format] = {name: _load(name) for name in CONVERT_FORMATS}
