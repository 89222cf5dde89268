"""What a long run reports while it works: the package calls these methods, and the command line draws them."""


class Progress:
    """Reports nothing: the default of the Python functions, and the base class of what the command line shows."""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin a stage of `total` units; it replaces the stage before."""

    def advance(self, count: int, note: str = "") -> None:
        """Report that `count` more units are done; `note` holds the latest figures."""

    def warn(self, message: str) -> None:
        """Show a warning, such as an image that is skipped."""

    def tell(self, message: str) -> None:
        """Show information that helps before a long wait."""
