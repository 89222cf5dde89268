"""Shared code of all benchmarks: start a program, and report an error that the user can fix as one message."""

import sys
from collections.abc import Callable

from lmpnet_cli.errors import LmpnetError


def run_program(main: Callable[[], None]) -> None:
    """Call `main`; exit with the message alone, without a traceback, when data or options cannot be used."""
    try:
        main()
    except LmpnetError as error:
        sys.exit(f"Error: {error}")
