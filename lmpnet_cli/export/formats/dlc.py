"""Write DeepLabCut's table of predictions: x, y and likelihood of each keypoint."""

from pathlib import Path

import numpy as np

from lmpnet_cli.export.formats.dlc_table import Table, check_one_animal
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format

SCORER = "lmpnet"
COORDS = ("x", "y", "likelihood")


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the CSV file and, where pandas and tables are installed, the same table as .h5 beside it."""
    check_one_animal(document)
    rows = [np.column_stack([each.xy.round(2), each.scores.round(4)]).reshape(-1) for each in document.results]
    values = np.array(rows, np.float64).reshape(len(rows), len(document.names) * len(COORDS))
    index = [(each.file_name,) for each in document.results]
    return Table(SCORER, document.names, COORDS, index, values).write(destination.path)


FORMAT = Format(
    write=write,
    file_name="keypoints.csv",
    companions=(".h5",),
    next_step='read it with pandas: pandas.read_csv("{out}", header=[0, 1, 2], index_col=0)',
    fixed_parts=True,
)
