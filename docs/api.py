"""Build the Python API pages in build/api: every public name, and the options of every command.

python docs/api.py
"""

import warnings
from pathlib import Path

import pdoc
import pdoc.render

import lmpnet_cli

if __name__ == "__main__":
    for name in lmpnet_cli.__all__:  # they load on first use, which pdoc does not do
        setattr(lmpnet_cli, name, getattr(lmpnet_cli, name))
    warnings.simplefilter("error", UserWarning)  # an unknown name or a broken link is an error
    pdoc.render.configure(docformat="google")
    target = Path(__file__).parent.parent / "build" / "api"
    pdoc.pdoc("lmpnet_cli", "lmpnet_cli.config", output_directory=target)
    print(f"Open {target / 'lmpnet_cli.html'}")
