"""`python -m lmpnet_cli`."""

from lmpnet_cli.cli import main

main()
