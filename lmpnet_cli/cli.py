"""The command line: the app, and the one place where errors become messages and exit codes.

Exit codes: 0 done, 1 an error that the user can fix, 2 wrong usage, 130 interrupted.
"""

import errno
import multiprocessing
import os
import signal
import time
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmpnet_cli import __version__, commands
from lmpnet_cli.commands.console import Terminal, print_line
from lmpnet_cli.errors import LmpnetError

EPILOG = "Exit codes: 0 done, 1 an error that you can fix, 2 wrong usage, 130 interrupted."


class _Group(TyperGroup):
    """Print an error that the user can fix as one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LmpnetError as error:
            print_line(f"Error: {error}", "red")
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the program that reads stdout has ended: nobody is left to read a message
                raise
            where = f"{error.filename}: " if error.filename else ""
            print_line(f"Error: {where}{error.strerror or error}. Check the path and its permissions.", "red")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("Interrupted. Earlier results were not changed.", err=True)
            raise


app = typer.Typer(
    cls=_Group,
    name="lmpnet",
    help="Discover keypoints on objects in photos, using only image class labels.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lmpnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


commands.add_to(app)


def _interrupt(*_: object) -> None:
    """End the program as Ctrl-C does, including the processes of a training."""
    for child in multiprocessing.active_children():
        if not child.daemon:  # processes that decode images are daemons and end with this one
            child.terminate()
    raise KeyboardInterrupt


def _use_large_pages() -> None:
    """Make torch ask Linux for large memory pages; call it before torch is loaded.

    The maps of one batch take hundreds of megabytes, which are freed and allocated again for the next batch: with pages
    of 4 KiB that takes a tenth of the time of `discover`. A value that the user has set is kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def main() -> None:
    """Run the `lmpnet` program. SIGTERM, by which schedulers end programs, is handled like Ctrl-C."""
    Terminal.began = time.perf_counter() - time.process_time()  # until here the program did nothing but compute
    signal.signal(signal.SIGTERM, _interrupt)
    _use_large_pages()
    # Pillow's warnings about damaged metadata in images that can be read
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
    app()
