"""Give the keypoints of a document what a user knows about them and no run finds out: their names."""

from dataclasses import replace

from lmpnet_cli.config.names import NamesOption
from lmpnet_cli.errors import OptionError
from lmpnet_cli.export.formats import Document


def with_names(document: Document, config: NamesOption) -> Document:
    """Return the document with the names that the options give its keypoints.

    Raises:
        OptionError: when the keypoints are ranks, or have another number.
    """
    if config.names is not None and document.is_ranked:
        raise OptionError(
            f"--names needs parts, but with --method {document.method} index i is a rank in each image. Run "
            "`lmpnet discover` with --method parts first."
        )
    return replace(document, names=config.names_for(document.names))
