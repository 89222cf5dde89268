"""`python -m lmpnet_cli`."""

from lmpnet_cli.cli import main

if __name__ == "__main__":  # processes that are started import this module again
    main()
